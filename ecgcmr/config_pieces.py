"""A config out of several files: what a file is laid over, the pieces that it names by path, values it refers to.

    base: demo.yaml                        # the settings of this file are laid over those of demo.yaml
    model:
      init_args:
        encoder: ../encoders/ecg_cnn.yaml  # a piece: class_path and init_args of one part
        mask_ratio: 0.7
    trainer:
      base: ../trainers/demo.yaml          # any part may be laid over a file
      max_epochs: ${model.optimiser.warmup_epochs}

Paths start beside the file that names them; a config that comes with the program is named without one, such as
``encoders/ecg_cnn``.
Every file is read within bounds, which hold over all of them together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.shipped_configs import close_names, config_at, in_a_shipped_room, is_shipped
from ecgcmr.text import printable
from ecgcmr.yaml_file import MOST_VALUES, parse_yaml, read_yaml

SUFFIXES = (".yaml", ".yml", ".json")
BASE = "base"
_MOST_FILES = 100
_MOST_TAKEN = 1000
_LONGEST_PATH = 4096
_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w+-]*(?:\.[\w+-]+)*)\}")


class Whole(dict[str, Any]):
    """A part that was given whole, by path or on the command line: it replaces what it is laid over."""


class ConfigReader:
    """Reads config files and all that they name.

    Attributes:
        unread: Text that looks like the path of a piece and names none -> why, for messages.
    """

    def __init__(self) -> None:
        self.unread: dict[str, str] = {}
        self._files: set[Path] = set()
        self._taken = 0
        self._values = 0

    def config(self, path: Path, within: tuple[Path, ...] = ()) -> dict[str, Any]:
        """Read a config: what it is laid over, its own settings, its pieces in their places.

        Raises:
            UserError: A file is missing, no sound YAML (see ``read_yaml``) or names itself, or all are too much.
        """
        content: dict[str, Any] = self._filled(self._content(path, within, dict), path, (*within, path.resolve()))
        return content

    def part(self, text: str, within: tuple[Path, ...] = ()) -> Whole | list[Any] | str:
        """Return the part that a text names or spells out, such as an encoder; any other text as it stands.

        A file that holds the candidates of a search, a list of ``name`` and ``set``, is a part too.

        Args:
            text: A path, or YAML such as ``{class_path: ...}``.
            within: Files that are being read; paths start beside the last one, else from the current folder.

        Raises:
            UserError: As of ``config``; or the text names a pipe or device, which would be waited for.
        """
        if text.lstrip().startswith("{") and "class_path" in text:
            content = parse_yaml(text, "config")
            if isinstance(content, dict) and "class_path" in content:
                return Whole(self._filled(content, Path("command line"), within))
        if not 0 < len(text) <= _LONGEST_PATH or "\n" in text or "\0" in text:
            return text
        folder = within[-1].parent if within else Path()
        path = folder / text
        try:
            exists, ordinary, is_file = path.exists(), path.is_file() or path.is_dir(), path.is_file()
        except OSError:  # a name too long for the file system is no file's
            return text
        if exists and not ordinary:
            raise UserError(f"{printable(path)}: is a pipe or device, which would be waited for; give a file")
        if not exists and is_shipped(text):
            path = config_at(text, folder) or path
        elif path.suffix not in SUFFIXES or not is_file:
            if path.suffix in SUFFIXES or (not exists and in_a_shipped_room(text)):
                self.unread[text] = f"there is no file {text} in {folder.resolve()}{close_names(text)}"
            return text
        content = self._filled(self._content(path, within, None), path, (*within, path.resolve()))
        if isinstance(content, dict) and "class_path" in content:
            return Whole(content)
        if _are_candidates(content):
            return list(content)
        # Its reader knows whether it is a part of another kind, or a file that a class reads by itself.
        self.unread[text] = f"{path} holds no class_path"
        return str(path.resolve()) if within and exists else text

    def _content(self, path: Path, within: tuple[Path, ...], root: type | None) -> Any:
        place = path.resolve()
        if place in within:
            raise UserError(f"{path}: is named by what it names itself; leave one of them out")
        self._files.add(place)
        if len(self._files) > _MOST_FILES:
            raise UserError(f"{path}: more than {_MOST_FILES} config files name each other")
        self._taken += 1
        if self._taken > _MOST_TAKEN:
            raise UserError(f"{path}: names pieces more than {_MOST_TAKEN:,} times, with all that they name in turn")
        content = read_yaml(path, what="config", root=root)
        self._values += sum(1 for _ in _values(content))
        if self._values > MOST_VALUES:
            raise UserError(f"{path}: with all that it names more than {MOST_VALUES:,} values; is it the right file?")
        return content

    def _filled(self, value: Any, path: Path, within: tuple[Path, ...]) -> Any:
        """Return a value with what it is laid over below it, and the pieces that its texts name in their places."""
        if isinstance(value, dict):
            above = {key: self._filled(inner, path, within) for key, inner in value.items() if not _is_base(key, inner)}
            if len(above) == len(value):
                return above
            joined = laid_over(self._below(value[BASE], path, within), above)
            return Whole(joined) if "class_path" in joined else joined
        if isinstance(value, list):
            return [self._filled(inner, path, within) for inner in value]
        return self.part(value, within) if isinstance(value, str) else value

    def _below(self, names: str | list[str], path: Path, within: tuple[Path, ...]) -> dict[str, Any]:
        """Return what lies below a mapping: the files that it names as its base, one laid over the other."""
        below: dict[str, Any] = {}
        for name in [names] if isinstance(names, str) else names:
            folder = within[-1].parent if within else Path()
            base = config_at(name, folder)
            if base is None:
                missing = f"there is no file {printable(name, 200)} in {(folder / name).parent.resolve()}"
                raise UserError(f"{path}: {BASE}: {missing}{close_names(name)}")
            below = laid_over(below, self.config(base, within))
        return below


def _are_candidates(content: Any) -> bool:
    """Return whether a file's content is a list of the candidates of a search."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(entry, dict) and set(entry) == {"name", "set"} for entry in content)
    )


def _is_base(key: Any, value: Any) -> bool:
    """Return whether an entry names what its mapping is laid over; a class may have an argument of the same name."""
    names = value if isinstance(value, list) else [value]
    return key == BASE and bool(names) and all(isinstance(name, str) and _is_file_name(name) for name in names)


def _is_file_name(text: str) -> bool:
    return text.endswith(SUFFIXES) or is_shipped(text)


def read_config(path: Path, root: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings of one config file, with what it is laid over and all pieces in their places.

    Args:
        path: The file.
        root: What its references refer to; None for the file itself.

    Raises:
        UserError: See ``ConfigReader.config`` and ``check_references``.
    """
    config: dict[str, Any] = check_references(ConfigReader().config(path), root)
    return config


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config laid over another: settings join, the later one holds; another class begins anew.

    A class that is named anew keeps nothing of the one before: an argument of the same name may mean something else.
    """
    joined = dict(below)
    for key, value in above.items():
        under = joined.get(key)
        if isinstance(value, dict) and isinstance(under, dict) and not _begins_anew(under, value):
            joined[key] = laid_over(under, value)
        else:
            joined[key] = value
    return joined


def _begins_anew(under: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    known, named = under.get("class_path"), value.get("class_path")
    return isinstance(value, Whole) or None not in (known, named) and known != named


def place_in(config: Mapping[str, Any], name: str) -> list[str]:
    """Return the keys under which a dotted setting lies, ``init_args`` of classes put in where it leaves them out."""
    keys: list[str] = []
    node: Any = config
    for part in name.split("."):
        if isinstance(node, dict) and "class_path" in node and part not in ("class_path", "init_args", "dict_kwargs"):
            keys.append("init_args")
            node = node.get("init_args")
        keys.append(part)
        node = node.get(part) if isinstance(node, dict) else None
    return keys


def value_at(config: Mapping[str, Any], keys: list[str]) -> Any:
    """Return what lies under some keys, None where there is nothing."""
    node: Any = config
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def check_references(config: Any, root: Mapping[str, Any] | None = None, where: str = "config", below: str = "") -> Any:
    """Return a config whose references to other settings are checked and spelled out in full.

    A reference is the whole of a value and names a single value, so that no chain of them can grow; functions, such as
    those that read the environment, are refused.

    Args:
        config: What holds them.
        root: The whole config that they refer to; None for ``config`` itself.
        where: Start of messages.
        below: What the references are to begin with, such as ``fit.`` where a command's settings lie below ``fit``.

    Raises:
        UserError: A reference is something else, or leads back to itself.
    """
    if isinstance(config, dict):
        given = config if root is None else root
        return {
            key: check_references(inner, given, f"{where}.{printable(key, 60)}", below) for key, inner in config.items()
        }
    if isinstance(config, list):
        return [check_references(inner, root, where, below) for inner in config]
    if isinstance(config, str) and "${" in config:
        return f"${{{below}{_reference(config, root or {}, where)}}}"
    return config


def _reference(text: str, root: Mapping[str, Any], where: str) -> str:
    """Return the full name of the setting that a text refers to."""
    seen: list[str] = []
    target: Any = text
    while isinstance(target, str) and "${" in target:
        match = _REFERENCE.fullmatch(target)
        if match is None:
            raise UserError(
                f"{where}: '{printable(target, 80)}' is not read: a reference stands alone and names another setting, "
                "such as ${data.samples}; nothing in a config reads the environment or calls a function"
            )
        name = ".".join(place_in(root, match[1]))
        if name in seen:
            raise UserError(f"{where}: {text} leads back to itself, through {' and '.join(seen)}; write a value")
        seen.append(name)
        target = value_at(root, name.split("."))
    if isinstance(target, dict) or (isinstance(target, list) and any("${" in str(item) for item in target)):
        raise UserError(f"{where}: {text} names a part; a reference names a single value")
    return seen[0]


def _values(content: Any) -> Iterator[Any]:
    yield content
    for inner in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _values(inner)
