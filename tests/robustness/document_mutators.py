"""Changes to the structure of YAML and JSON documents, and of nested dictionaries in general."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import yaml

Generator = np.random.Generator

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 1e308, -1e308, 1e-320, float("nan"),
    float("inf"),
    "", " ", "nan", "-1", "1e3", "null", "x" * 70_000,
    "a\x1b[31mb", "a\x00b", "a\nb", "\u202e", "名前", "\ud800", "{}", "%s", "$HOME",
    "os.system", "lightning.Trainer", "torch.nn.Linear", [], {}, [[]], [None], [1, "a", None], {"": 0},
    {"class_path": "os.getpid"},
    {"class_path": "torch.nn.Linear", "init_args": {"in_features": -1}}, [0] * 5000, list("ab"), {"a": {"a": {"a": 1}}},
)  # fmt: skip
"""What stands in place of a value: other types, extremes, odd text. No paths: nothing is to be written elsewhere."""


def places(document: Any, at: tuple = ()) -> list[tuple]:
    """The paths of all nodes below a document's root, depth first."""
    found = []
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found += [(*at, key), *places(value, (*at, key))]
    return found


def _parent(document: Any, place: tuple) -> Any:
    for key in place[:-1]:
        document = document[key]
    return document


def nested(depth: int) -> Any:
    """Lists and mappings within each other."""
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def change_node(document: Any, rng: Generator, values: tuple[Any, ...] = VALUES) -> Any:
    """Return a document with one node replaced, removed, renamed, repeated, nested or exchanged with another."""
    found = places(document)
    if not found:
        return values[rng.integers(len(values))]
    changed = copy.deepcopy(document)
    shallow = [place for place in found if len(place) <= 2]
    chosen = shallow if shallow and rng.random() < 0.4 else found
    place = chosen[rng.integers(len(chosen))]
    parent, key = _parent(changed, place), place[-1]
    way = rng.choice(
        ["value", "remove", "rename", "repeat", "nest", "exchange", "wrap"], p=[0.5, 0.15, 0.1, 0.05, 0.05, 0.1, 0.05]
    )
    if way == "remove":
        del parent[key]
    elif way == "rename" and isinstance(parent, dict):
        parent[("", "\x1b[31m", "x" * 5000, f"{key}\n", f"{key}2", "名前", "__class__")[rng.integers(7)]] = parent.pop(
            key
        )
    elif way == "repeat" and isinstance(parent, list):
        parent[key:key] = [parent[key]] * int(rng.choice([1, 2, 1000]))
    elif way == "nest":
        parent[key] = nested(int(rng.choice([3, 30, 200])))
    elif way == "exchange":
        other = found[rng.integers(len(found))]
        parent[key] = copy.deepcopy(_parent(document, other)[other[-1]])
    elif way == "wrap":
        parent[key] = [parent[key]] if rng.random() < 0.5 else {"value": parent[key]}
    else:
        parent[key] = values[rng.integers(len(values))]
    return changed


def _written(document: Any, write: Callable[[Any], str], fallback: bytes) -> bytes:
    try:
        return write(document).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError, yaml.YAMLError):
        return fallback


def yaml_node(content: bytes, rng: Generator) -> bytes:
    """A YAML file with one node changed."""
    document = change_node(yaml.safe_load(content), rng)
    return _written(document, lambda value: yaml.safe_dump(value, sort_keys=False, allow_unicode=True), content[:-5])


def json_node(content: bytes, rng: Generator) -> bytes:
    """A JSON file with one node changed."""
    return _written(change_node(json.loads(content), rng), json.dumps, content[:-5])


def _below_a_key(content: bytes, rng: Generator, value: bytes) -> bytes:
    """Text put in place of the value of one of the keys at the left margin, or behind the document."""
    rows = content.split(b"\n")
    tops = [number for number, row in enumerate(rows) if row[:1].isalpha() and b":" in row]
    if not tops:
        return content + b"\n" + value
    place = tops[rng.integers(len(tops))]
    end = next((number for number in tops if number > place), len(rows))
    rows[place:end] = [rows[place].split(b":")[0] + b": " + value]
    return b"\n".join(rows)


def alias_bomb(content: bytes, rng: Generator) -> bytes:
    """Anchors that refer to each other: two, eight or nine hundred levels."""
    width, levels = ((10, 9), (2, 30), (2, 900))[rng.integers(3)]
    bomb = b"&b0 [x, x]\n" + b"".join(
        b"z%d: &b%d [%s]\n" % (level, level, b", ".join([b"*b%d" % (level - 1)] * width)) for level in range(1, levels)
    )
    return _below_a_key(content, rng, bomb)


def merged_bomb(content: bytes, rng: Generator) -> bytes:
    """Mappings merged into each other."""
    bomb = b"&m0 {a: 1, b: 2}\n" + b"".join(
        b"y%d: &m%d {k%d: [*m%d, *m%d], <<: *m%d}\n" % (n, n, n, n - 1, n - 1, n - 1) for n in range(1, 28)
    )
    return _below_a_key(content, rng, bomb)


_YAML_TEXTS = (
    b"[" * 20_000, b"{a: " * 5000, b"- " * 5000, b"&a [*a]", b"!!python/object/apply:os.getpid []",
    b"!!binary |\n  AAAA", b"!!set {a, b}",
    b"!!timestamp 9999-99-99", b"2001-02-30", b"---\nb: 1\n---\nc: 2", b"? [a, b]\n: 1", b"*nothing", b"<<: 3",
    b"!!float x", b"|\n" + b"  x\n" * 3,
    b"!unknown 3", b"%YAML 9.9", b"0b" + b"1" * 9000, b"1:2:3:4:5:6", b"!!omap [a: 1]", b"'unclosed", b"\t- a",
    b"a" * 200_000,
)  # fmt: skip
_JSON_TEXTS = (
    b"[" * 100_000, b'{"a":' * 50_000, b"NaN", b"-Infinity", b"1" + b"0" * 6000, b'"\\ud800"', b"{} {}",
    b"[1,]", b"'a'",
    b'{"a": 1, "a": 2}', b"1e999", b"\xef\xbb\xbf{}", b'"' + b"x" * 300_000 + b'"', b"true", b"12", b'"text"',
)  # fmt: skip


def yaml_text(content: bytes, rng: Generator) -> bytes:
    """YAML that no serialiser writes, as the whole file or in place of a value."""
    text = _YAML_TEXTS[rng.integers(len(_YAML_TEXTS))]
    return text if rng.random() < 0.3 else _below_a_key(content, rng, text)


def json_text(content: bytes, rng: Generator) -> bytes:
    """JSON that no serialiser writes, as the whole file or in place of a value."""
    text = _JSON_TEXTS[rng.integers(len(_JSON_TEXTS))]
    colons = [place for place, letter in enumerate(content[:20_000]) if letter == ord(":")]
    if not colons or rng.random() < 0.4:
        return text
    place = colons[rng.integers(len(colons))] + 1
    ends = [end for end in (content.find(mark, place) for mark in (b",", b"\n", b"}")) if end >= 0]
    return content[:place] + text + content[min(ends, default=place) :]
