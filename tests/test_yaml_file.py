"""The bounded reader of YAML: what would fill the memory, hang or be misread ends in one line."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from ecgcmr.errors import UserError
from ecgcmr.yaml_file import DEEPEST, MOST_BYTES, MOST_VALUES, parse_yaml, read_yaml


def bomb(levels: int = 12) -> str:
    """Return lines of aliases that stand for 9 to the power of ``levels`` values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_a_bomb_of_aliases_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    path = tmp_path / "encoder.yaml"
    path.write_text(bomb())
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"encoder\.yaml: card: stands for more than 200,000 values"):
        read_yaml(path, what="card")
    assert time.perf_counter() - start < 5
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.slow
def test_aliases_count_wherever_they_stand() -> None:
    merges = "a: &a {x: 1, y: 2}\n" + "b: [" + ", ".join(["{<<: *a}"] * (MOST_VALUES // 4)) + "]"
    with pytest.raises(UserError, match="values"):
        parse_yaml(merges, "f")
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: *a", "f") == {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 1}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * (DEEPEST + 1), "nested deeper than 60 levels"),
        ("- " * 3000, "nested deeper"),
        ("a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40, "nested deeper"),
        ("a: &x [*x]", "without end"),
        ("a: 1\nb: {c: 1,\n c: 2}", r"'c' is given twice \(line 3\)"),
        ("a: !!int x", "a value is not what its tag or form says"),
        ("a: !!timestamp x", "a value is not"),
        ("a: !!bool x", "a value is not"),
        ("a: 2024-13-45", "month"),
        ("a: " + "9" * 5000, "a value is not"),
        ("a: [", "line 2"),
        ("a: 1\n---\nb: 1", "another document"),
        ("!!python/object/apply:os.system [echo]", "python/object"),
        ("{[a]: 1}", "unhashable"),
        ("a: \x00", "cannot be read as YAML"),
        ("x" * (MOST_BYTES + 1), "larger"),
    ],
)
def test_what_is_no_sound_document_is_refused_in_one_line(content: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_yaml(content, "fit.yaml: config")
    assert str(caught.value).startswith("fit.yaml: config")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_files_that_are_no_text_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin.yaml").write_bytes("a: 1\nb: Grö".encode("latin-1"))
    (tmp_path / "large.yaml").write_bytes(b"#" * (MOST_BYTES + 1))
    (tmp_path / "mark.yaml").write_bytes("\ufeffa: Größe".encode())
    for name, message in (
        ("pipe", "a pipe or device"),
        ("", "this is a folder"),
        ("latin.yaml", r"no UTF-8 text, see line 2"),
        ("large.yaml", "larger than 4,000,000 bytes"),
        ("none.yaml", "No such file"),
        ("a\0b", "its name cannot be one"),
    ):
        with pytest.raises(UserError, match=message):
            read_yaml(tmp_path / name, what="experiment")
    assert read_yaml(tmp_path / "mark.yaml", root=dict) == {"a": "Größe"}


def test_the_whole_must_be_of_the_type_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("- 1")
    with pytest.raises(UserError, match=r"plan\.yaml: experiment must hold 'key: value' entries, found a list"):
        read_yaml(path, what="experiment", root=dict)
    path.write_text("")
    with pytest.raises(UserError, match="found nothing"):
        read_yaml(path, what="experiment", root=dict)
