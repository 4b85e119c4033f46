"""Config files of ``fit`` and its siblings, checked before jsonargparse reads them.

jsonargparse expands aliases without bound, takes the last of two equal keys and waits for a pipe. The files that the
command line names, and those that they name in turn, are read by this project's reader first; whatever else
jsonargparse takes for YAML, such as a text within a config, goes through a loader with the same bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import _loaders_dumpers

from ecgcmr.errors import UserError
from ecgcmr.text import printable
from ecgcmr.yaml_file import MALFORMED, check_bounds, read_yaml

_SUFFIXES = (".yaml", ".yml", ".json")
_MOST_FILES = 100
_LONGEST_PATH = 4096


def check_config_files(arguments: Sequence[str]) -> None:
    """Read every config file that the arguments name, and every one that these name.

    Args:
        arguments: Of the command line, after the command.

    Raises:
        UserError: One is missing, no file, or no sound YAML (see ``read_yaml``).
    """
    bound_what_jsonargparse_reads()
    seen: set[Path] = set()
    for position, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag in ("-c", "--config"):
            given = value if equals else next(iter(arguments[position + 1 : position + 2]), "")
            if not given:
                continue  # the parser says that a value is missing
            if not Path(given).exists():
                raise UserError(f"there is no config file {printable(given)}")
            _check(Path(given), seen, dict)
        else:
            _check_named(value if equals else argument, Path(), seen)


def bound_what_jsonargparse_reads() -> None:
    """Give jsonargparse a loader with bounds, once; it has no public way that covers texts within values."""
    known = _loaders_dumpers.get_yaml_default_loader()
    if hasattr(known, "has_bounds"):
        return

    class Bounded(known):  # type: ignore[misc, valid-type]
        """jsonargparse's loader, with bounds; a value that is not what its tag says is an error of YAML."""

        has_bounds = True

        def __init__(self, stream: Any) -> None:
            check_bounds(stream if isinstance(stream, str) else stream.read(), "config")
            super().__init__(stream)

        def get_single_data(self) -> Any:
            try:
                return super().get_single_data()
            except MALFORMED as error:
                raise yaml.YAMLError(f"a value is not what its tag or form says ({printable(error, 100)})") from error

    _loaders_dumpers.yaml_default_loader = Bounded  # type: ignore[assignment]


def _check(path: Path, seen: set[Path], root: type | None = None) -> None:
    place = path.resolve()
    if place in seen:
        return
    seen.add(place)
    if len(seen) > _MOST_FILES:
        raise UserError(f"{path}: more than {_MOST_FILES} config files name each other")
    for text in dict.fromkeys(_texts(read_yaml(path, what="config", root=root))):
        _check_named(text, path.parent, seen)


def _check_named(text: str, folder: Path, seen: set[Path]) -> None:
    """Check the file that a value names, if it names one that would be read as a config."""
    if not 0 < len(text) <= _LONGEST_PATH or "\n" in text or "\0" in text:
        return
    for path in dict.fromkeys((folder / text, Path(text))):
        try:
            exists, ordinary = path.exists(), path.is_file() or path.is_dir()
        except OSError:  # a name too long for the file system is no file's
            continue
        if exists and not ordinary:
            raise UserError(f"{printable(path)}: is a pipe or device, which would be waited for; give a file")
        if exists and path.is_file() and path.suffix in _SUFFIXES:
            _check(path, seen)


def _texts(content: Any) -> Iterator[str]:
    """Give every text among the values; the reader bounds how many and how deep."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)
