"""Config files of ``fit`` and its siblings, composed and checked before jsonargparse reads them.

jsonargparse expands aliases without bound, takes the last of two equal keys, waits for a pipe, and lays an encoder over
another so that arguments of both are mixed. So the files that the command line names become one config here, with all
pieces in their places; whatever else jsonargparse takes for YAML goes through a loader with the same bounds. References
such as ``${data.samples}`` are resolved by jsonargparse, after the settings of the command line.
"""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import _loaders_dumpers
from omegaconf.errors import OmegaConfBaseException

from ecgcmr.config_pieces import ConfigReader, Whole, check_references, laid_over, place_in, value_at
from ecgcmr.errors import UserError
from ecgcmr.parser_words import UNKNOWN
from ecgcmr.shipped_configs import find_config
from ecgcmr.text import printable
from ecgcmr.training.encoder_source import add_networks, names_weights
from ecgcmr.yaml_file import MALFORMED, check_bounds

CONFIG_FLAGS = ("-c", "--config")
_NAMED = ("model", "data")
_PARTS = ("--model", "--data", "--trainer")


class Composition:
    """The settings of a command line: config files joined into one, parts that are given whole, all other words.

    Args:
        command: Below which jsonargparse keeps the settings.
        arguments: After the command.

    Attributes:
        config: What the files say, one laid over the other.
        parts: Flag -> part that is given whole, such as an encoder by the path of its file.
        words: The other arguments in their order.
        unread: Text that looks like the path of a piece and names none -> why.

    Raises:
        UserError: A file is missing, no file, no sound YAML or too much, or a reference is none.
    """

    def __init__(self, command: str, arguments: Sequence[str]) -> None:
        bound_what_jsonargparse_reads()
        reader, self._command = ConfigReader(), command
        self.config: dict[str, Any] = {}
        self.parts: dict[str, Whole] = {}
        self.words: list[str] = []
        self.unread = reader.unread
        self._has_config = False
        emptied: dict[str, list[str]] = {}
        words = list(arguments)
        while words:
            word = words.pop(0)
            flag, equals, value = word.partition("=")
            value = value if equals else next(iter(words), "")
            if flag in CONFIG_FLAGS and value:
                self._add_config(find_config(value), reader)
            elif flag == "--search" and isinstance(part := reader.part(value), list):
                self.words.append(f"{flag}={as_yaml(part)}")
            elif flag.split(".")[0].rstrip("+") in _PARTS and isinstance(part := reader.part(value), Whole):
                self._put(flag)
                self.parts[flag] = part
            elif flag.startswith("--model.") and flag.endswith("encoder") and value == "null":
                self._put(flag, None)
                emptied[flag.rsplit(".", 1)[-1]] = [f"{flag}=null"]
            else:
                if equals or not flag.startswith("-"):
                    reader.part(value if equals else word)  # for its bounds
                if self._names_another_class(flag, value):
                    self._put(flag)
                self.words.append(word)
                continue
            if not equals:
                words.pop(0)
        self._check_overlay()
        for argument in emptied.keys() - self._add_networks():
            self.words += emptied[argument]  # the stage says what it makes of none
        given, self._below = self.config, f"{command}."
        self.config = check_references(given, below=self._below)
        self.parts = {
            flag: Whole(check_references(part, given, flag, self._below)) for flag, part in self.parts.items()
        }

    def arguments(self) -> list[str]:
        """Return the command line for jsonargparse: one config, then parts given whole, then single settings."""
        config = ["--config", as_yaml(self.config)] if self._has_config else []
        return [*config, *(f"{flag}={as_yaml(part)}" for flag, part in self.parts.items()), *self._checked_words()]

    @contextmanager
    def parsing(self) -> Iterator[None]:
        """Surround the parsing of ``arguments``: say of a piece or a reference that leads nowhere why.

        Raises:
            UserError: There was one.
        """
        try:
            yield
        except OmegaConfBaseException as error:
            key = str(getattr(error, "full_key", "")).removeprefix(self._below)
            reason = str(error).splitlines()[0].replace(self._below, "")
            raise UserError(f"{key}: {reason}; a reference names another setting, such as ${{data.samples}}") from error
        except ArgumentError as error:
            unread = {text: reason for text, reason in self.unread.items() if text in str(error)}
            reasons = list(unread.values())
            if str(error).startswith(UNKNOWN):  # a word that belongs to no option
                bare = [printable(text, 80) for text in unread if f" {text} " in f"{error} "]
                if bare:
                    raise UserError(f"{bare[0]}: a config is named by -c {bare[0]}") from error
                raise
            if not reasons:
                raise
            if 'key "search"' in str(error):
                raise UserError(
                    f"search: {printable(next(iter(unread)), 200)} holds no candidates: they are a list, each a name "
                    "and a set of dotted settings alone"
                ) from error
            raise UserError(
                f"{reasons[0]}; a part, such as an encoder, is a file with class_path and init_args"
            ) from error

    def _add_config(self, path: Path, reader: ConfigReader) -> None:
        config = reader.config(path)
        if "class_path" in config:
            raise UserError(f"{path}: is a part and no config; give it in its place, such as --model.encoder {path}")
        for part in _NAMED:
            if _only_changes(self.config, part) and not _only_changes({part: {}, **config}, part):
                raise UserError(
                    f"{path}: names the class of {part}, which a config before it only changes; give {path} first, and "
                    "the changes after it"
                )
        self.config = laid_over(self.config, config)
        self._has_config = True

    def _check_overlay(self) -> None:
        """Refuse files that only change a stage or data which nothing names."""
        flags = {*self.parts, *(word.partition("=")[0] for word in self.words)}
        for part in _NAMED:
            if _only_changes(self.config, part) and not flags & {f"--{part}", f"--{part}.class_path"}:
                raise UserError(
                    f"config: {part} has no class_path, so these are changes to another config; give that before: "
                    "-c mae/demo -c ..."
                )

    def _names_another_class(self, flag: str, value: str) -> bool:
        """Return whether a flag names a class where the config has one of another name."""
        part = value_at(self.config, place_in(self.config, flag.lstrip("-")))
        known = str(part["class_path"]) if isinstance(part, dict) and "class_path" in part else None
        is_name = all(word.isidentifier() for word in value.split("."))
        return known is not None and is_name and value.rpartition(".")[2] != known.rpartition(".")[2]

    def _put(self, flag: str, *value: None) -> None:
        """Empty a place of the config, or take it out: nothing of it is to be mixed with what a flag gives."""
        *keys, last = place_in(self.config, flag.lstrip("-"))
        part = value_at(self.config, keys)
        if isinstance(part, dict):
            part.pop(last, None)
            part.update(dict.fromkeys([last], *value) if value else {})

    def _add_networks(self) -> set[str]:
        """Put in the networks that the config leaves to the folders of their weights."""
        folders = {}
        for word, after in zip(self.words, [*self.words[1:], ""], strict=False):
            flag, equals, value = word.partition("=")
            if flag.startswith("--model.") and names_weights(flag.rsplit(".", 1)[-1]):
                folders[flag.rsplit(".", 1)[-1]] = value if equals else after
        if "model" not in self.config:
            return set()
        loads = self._command == "fit" and not any(word.startswith("--ckpt_path") for word in self.words)
        given = {flag.rsplit(".", 1)[-1] for flag in self.parts}
        return add_networks(self.config, folders, given, loads=loads and not self.config.get("ckpt_path"))

    def _checked_words(self) -> list[str]:
        """Return the single settings with their references checked."""
        checked = []
        for word in self.words:
            flag, equals, value = word.partition("=")
            text = value if equals else word
            if "${" in text:
                where = flag if equals else "command line"
                text = check_references(text, self.config, where, self._below)
            checked.append(f"{flag}={text}" if equals else text)
        return checked


def _only_changes(config: Mapping[str, Any], part: str) -> bool:
    """Return whether a config says something of a stage or data without naming its class."""
    return isinstance(config.get(part), dict) and "class_path" not in config[part]


def as_yaml(content: Any) -> str:
    """Return YAML of plain values."""
    return yaml.safe_dump(_plain(content), sort_keys=False, default_flow_style=True, width=10**9, allow_unicode=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


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
