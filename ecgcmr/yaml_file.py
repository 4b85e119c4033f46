"""The one reader of YAML: bounded before anything is built from it, so that no file can fill the memory or hang.

A few lines of YAML can stand for millions of values, through aliases that name aliases. Size, depth and the number of
values, each alias counted as often as it is used, are checked on the parser's events, which need no memory.
"""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ecgcmr.errors import UserError
from ecgcmr.text import printable

MOST_BYTES = 4_000_000
"""Larger than any config: the codes of all diseases are some ten thousand bytes."""

MOST_VALUES = 200_000
DEEPEST = 60

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where there is one: 20 times as fast
MALFORMED = (ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError, RecursionError)
"""What the constructors of YAML's types raise at a value that is none, such as ``!!int x`` or a 13th month."""


def read_yaml(
    path: Path | str,
    *,
    what: str = "YAML file",
    root: type | tuple[type, ...] | None = None,
    most: int = MOST_BYTES,
    shown: str | None = None,
) -> Any:
    """Read one YAML document.

    Args:
        path: The file.
        what: What it should be, for messages, such as "experiment".
        root: Type that the whole must have, such as ``dict``; None for any.
        most: Bytes that it may have.
        shown: How messages name the file; None for the path as given.

    Raises:
        UserError: In one line with the file's name: it is missing, a folder, a pipe, too large, no UTF-8, no YAML,
            nested too deeply, has too many values, gives a key twice or is of another type.
    """
    path = Path(path)
    name = str(path) if shown is None else shown
    loaded = parse_yaml(read_text(path, f"{name}: {what}", most), f"{name}: {what}")
    if root is not None and not isinstance(loaded, root):
        wanted = " or ".join(
            _TITLES.get(kind, kind.__name__) for kind in (root if isinstance(root, tuple) else (root,))
        )
        raise UserError(f"{name}: {what} must hold {wanted}, found {_TITLES.get(type(loaded), 'a single value')}")
    return loaded


_TITLES: dict[type, str] = {dict: "'key: value' entries", list: "a list", str: "a text", type(None): "nothing"}


def mapping_at(content: Any, *keys: str) -> dict[str, Any]:
    """Return the mapping that lies under some keys of a document; empty where there is none, or something else."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def read_text(path: Path, where: str, most: int = MOST_BYTES) -> str:
    """Return a text file of at most ``most`` bytes; ``where`` begins messages.

    Raises:
        UserError: The file is missing, no regular file (a pipe would be waited for), too large or no UTF-8.
    """
    try:
        # Opened without waiting, and looked at only then: between a look and an open the file could be another one.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name cannot be one"
        raise UserError(f"{where} cannot be read: {reason}") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
            raise UserError(f"{where} cannot be read: this is {kind}, give a file")
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            data = stream.read(most + 1)
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise UserError(f"{where} is larger than {most:,} bytes; is it the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = data[: error.start].count(b"\n") + 1
        raise UserError(f"{where} is no UTF-8 text, see line {place}; save it as UTF-8") from error


def parse_yaml(content: str, where: str, loader: Any = _Loader) -> Any:
    """Return what a YAML text holds.

    Args:
        content: One document.
        where: Start of messages.
        loader: A safe loader class.

    Raises:
        UserError: As of ``read_yaml``.
    """
    try:
        check_bounds(content, where)
        return yaml.load(content, Loader=loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise UserError(f"{where}: {_problem(error)}") from error
    except MALFORMED as error:
        raise UserError(f"{where}: a value is not what its tag or form says ({printable(error, 100)})") from error


def check_bounds(content: str, where: str) -> None:
    """Check depth, number of values and keys of a YAML text without building anything.

    Raises:
        UserError: One is beyond bounds, a key is given twice in one mapping (YAML would take the last in silence), or
            an alias stands within what it names.
        yaml.YAMLError: The text is no YAML.
    """
    if len(content) > MOST_BYTES:
        raise UserError(f"{where} is larger than {MOST_BYTES:,} bytes")
    total = 0
    values: dict[str, tuple[int, int]] = {}  # anchor -> values and levels that it stands for
    nodes: list[_Open] = []
    for event in yaml.parse(io.StringIO(content), Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            if nodes:
                nodes[-1].children += 1
            nodes.append(_Open(event.anchor, total, isinstance(event, yaml.MappingStartEvent)))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = nodes.pop()
            if closed.anchor is not None:
                values[closed.anchor] = (total - closed.before, closed.levels)
            if nodes:
                nodes[-1].levels = max(nodes[-1].levels, closed.levels + 1)
        elif isinstance(event, yaml.NodeEvent):  # an alias or a scalar
            is_alias = isinstance(event, yaml.AliasEvent)
            if is_alias and any(node.anchor == event.anchor for node in nodes):
                raise UserError(f"{where}: *{printable(event.anchor, 60)} stands within what it names, without end")
            count, levels = values.get(event.anchor or "", (1, 0)) if is_alias else (1, 0)
            total += count
            if nodes:
                nodes[-1].levels = max(nodes[-1].levels, levels + 1)
                nodes[-1].add(event, where)
            if not is_alias and event.anchor is not None:
                values[event.anchor] = (1, 0)
        if nodes and len(nodes) + nodes[-1].levels > DEEPEST:
            raise UserError(f"{where}: nested deeper than {DEEPEST} levels; is it the right file?")
        if total > MOST_VALUES:
            raise UserError(f"{where}: stands for more than {MOST_VALUES:,} values; is it the right file?")


@dataclass
class _Open:
    """A list or mapping that has begun: how many values came before, how deep it is so far, and its keys."""

    anchor: str | None
    before: int
    is_mapping: bool
    levels: int = 1
    children: int = 0
    keys: set[tuple[str, bool]] = field(default_factory=set)

    def add(self, event: yaml.NodeEvent, where: str) -> None:
        """Count a child that is an alias or a scalar; of a mapping every second is a key."""
        is_key = self.is_mapping and self.children % 2 == 0
        self.children += 1
        if not is_key or not isinstance(event, yaml.ScalarEvent) or event.value == "<<":
            return
        key = (event.value, bool(event.implicit[0]))
        if key in self.keys:
            line = event.start_mark.line + 1 if event.start_mark is not None else 0
            raise UserError(f"{where}: '{printable(event.value, 60)}' is given twice (line {line}); keep one")
        self.keys.add(key)


def _problem(error: yaml.YAMLError) -> str:
    """Return a parser's complaint in one line, with the place."""
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or error
    mark = getattr(error, "problem_mark", None)
    place = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
    return f"cannot be read as YAML: {printable(what, 200)}{place}"
