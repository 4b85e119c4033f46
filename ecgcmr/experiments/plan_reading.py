"""How an experiment file becomes typed objects: overrides of the command line, types by OmegaConf, mistakes by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from ecgcmr.config_pieces import SUFFIXES, ConfigReader, Whole
from ecgcmr.errors import UserError
from ecgcmr.shipped_configs import close_names, config_at
from ecgcmr.text import printable
from ecgcmr.yaml_file import parse_yaml

T = TypeVar("T")

_NAMED = ("stages", "encoders", "tasks", "supervised", "stack", "cohorts")
"""Mappings whose keys are names of the user's own."""
_CONFIGS = ("config", "finetune")
_FOR_FIT = ("set", "encoder")
"""Entries that are passed on to ``fit``, which resolves the references in them."""
_PASSED_ON = (*_FOR_FIT, "space")
"""With what a sweep draws from."""


def with_overrides(content: Mapping[str, Any], overrides: Sequence[str], where: str) -> dict[str, Any]:
    """Return an experiment's entries with those of the command line in their place.

    Args:
        content: As the file has them.
        overrides: ``NAME=VALUE`` with a dotted name, such as ``stages.mae.set.trainer.max_epochs=2``; the value is
            YAML. Null takes a stage, a task or a network out. Paths start from the current folder.
        where: Start of messages.

    Raises:
        UserError: One has no ``=``, is no YAML or names a stage, task or network that there is not.
    """
    changed = _copied(content)
    for word in overrides:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UserError(f"{printable(word, 80)}: write an override as NAME=VALUE, such as evaluation.windows=1")
        keys = _keys(changed, name, f"{where}: {name}")
        _put(changed, keys, _from_here(keys, parse_yaml(text, f"{where}: {name}")), f"{where}: {name}")
    return changed


def with_entries(content: Mapping[str, Any], entries: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return an experiment's entries with others of the same file in their place.

    Args:
        content: As the file has them.
        entries: Dotted name, as of ``with_overrides`` -> value, whose paths start beside the file.
        where: Start of messages.

    Raises:
        UserError: One names a stage, task or network that there is not.
    """
    changed = _copied(content)
    for name, value in entries.items():
        _put(changed, _keys(changed, name, f"{where}: {name}"), _copied(value), f"{where}: {name}")
    return changed


def _put(content: dict[str, Any], keys: Sequence[str], value: Any, where: str) -> None:
    """Set one entry; null takes what bears a name of the user's own out, a task with what others published of it."""
    node: Any = content
    for depth, key in enumerate(keys[:-1]):
        node = node.setdefault(key, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise UserError(f"{where}: {'.'.join(keys[: depth + 1])} holds no entries")
    if value is None and len(keys) > 1 and keys[-2] in _NAMED:
        node.pop(keys[-1], None)
        if keys[-2] == "tasks":
            _forget_published(content, keys[-1])
    else:
        node[keys[-1]] = value


def _forget_published(content: dict[str, Any], task: str) -> None:
    """Take a task's scores out of ``published``, and whoever has none of another; mistakes are left for the check."""
    published = content.get("published")
    if not isinstance(published, list):
        return
    for entry in published[:]:
        scores = entry.get("scores") if isinstance(entry, dict) else None
        if isinstance(scores, dict) and scores.pop(task, None) is not None and not scores:
            published.remove(entry)


def network(value: Any, within: tuple[Path, ...], where: str) -> Any:
    """Return an encoder that an entry names by the path of its file, or spells out; pieces in their places.

    Args:
        value: Of the entry.
        within: The file that it stands in; none for the command line, where paths start from the current folder.
        where: Start of messages.

    Raises:
        UserError: There is no such file, or it holds no class_path.
    """
    if not isinstance(value, str):
        return value
    reader = ConfigReader()
    part = reader.part(value, within)
    if not isinstance(part, Whole):
        reason = reader.unread.get(value, f"{printable(value, 80)} is no file with class_path and init_args")
        raise UserError(f"{where}: {reason}")
    return dict(part)


def search_named(value: Any, within: tuple[Path, ...], where: str) -> Any:
    """Return the candidates of a search that an entry names by the path of their file; others as they stand.

    Args:
        value: Of the entry.
        within: The file that it stands in; paths start beside it.
        where: Start of messages.

    Raises:
        UserError: There is no such file, or it holds no candidates.
    """
    if not isinstance(value, str):
        return value
    reader = ConfigReader()
    part = reader.part(value, within)
    if not isinstance(part, list):
        missing = reader.unread.get(value, "").startswith("there is no file")
        reason = reader.unread[value] if missing else f"{printable(value, 80)} is no list of candidates"
        raise UserError(f"{where}: {reason}; name a file of name and set, such as searches/from_scratch")
    return part


def pieces_named(settings: Mapping[str, Any], within: tuple[Path, ...], where: str) -> dict[str, Any]:
    """Return settings for ``fit`` with the pieces that they name by path in their places.

    What a piece holds is thereby a part of what a stage is recognised by, and no longer looked for in the folder that
    a training happens to run in.

    Args:
        settings: Of an entry ``set``: dotted name -> value.
        within: As of ``network``.
        where: Start of messages.

    Raises:
        UserError: There is no such file.
    """
    reader, found = ConfigReader(), dict[str, Any]()
    for name, value in settings.items():
        if name == "search":
            found[name] = search_named(value, within, f"{where}.{name}")
            continue
        found[name] = reader.part(value, within) if isinstance(value, str) else value
        if isinstance(found[name], Whole):
            found[name] = dict(found[name])
        elif isinstance(value, str) and reader.unread.get(value, "").startswith("there is no file"):
            raise UserError(f"{where}.{printable(name, 60)}: {reader.unread[value]}")
    return found


def typed(kind: type[T], content: Mapping[str, Any], where: str) -> T:
    """Make a typed object of entries.

    Raises:
        UserError: An entry is unknown, missing or of another type; it is named, with the nearest valid name.
    """
    _check_mappings(kind, content, where)
    _refuse_references(content, where)
    try:
        # References are kept as they stand: fit resolves them, in the config of each stage.
        made: T = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), _escaped(content)))  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise UserError(f"{where}: {_reason(kind, content, error)}") from error
    return made


def _check_mappings(kind: type, content: Mapping[str, Any], where: str) -> None:
    """Refuse what is no mapping where entries belong, at any depth: OmegaConf has no words for it."""
    for name, value in content.items():
        declared = get_type_hints(kind).get(name)
        choices = [declared, *get_args(declared)]
        entries = next((choice for choice in choices if is_dataclass(choice) and isinstance(choice, type)), None)
        several = any(get_origin(choice) is dict for choice in choices)
        if entries is not None and any(get_origin(choice) is list for choice in choices):
            _check_list(entries, value, f"{where}: {name}")
            continue
        if (entries is not None or several) and not isinstance(value, dict | None):
            raise UserError(f"{where}: {name}: expected a mapping, found {type(value).__name__}")
        if entries is None and isinstance(value, dict):
            _check_lists(name, value, declared, where)
        if entries is None or value is None:
            continue
        if not several:
            _check_mappings(entries, value, f"{where}: {name}")
            continue
        for key, inner in value.items():
            if not isinstance(inner, dict | None):
                found = type(inner).__name__
                raise UserError(f"{where}: {name}.{printable(key, 60)}: expected a mapping, found {found}")
            _check_mappings(entries, inner or {}, f"{where}: {name}.{printable(key, 60)}")


def _check_lists(name: str, value: Mapping[str, Any], declared: Any, where: str) -> None:
    """Refuse a mapping where a list belongs, by itself or under names of the user's own."""
    choices = [declared, *get_args(declared)]
    named = next((get_args(choice)[1] for choice in choices if get_origin(choice) is dict), None)
    if named is None and any(get_origin(choice) is list for choice in choices):
        raise UserError(f"{where}: {name}: expected a list, found a mapping")
    wrong = [key for key, inner in value.items() if get_origin(named) is list and isinstance(inner, dict)]
    if wrong:
        raise UserError(f"{where}: {name}.{printable(wrong[0], 60)}: expected a list, found a mapping")
    several = [key for key, inner in value.items() if named is str and isinstance(inner, list | dict)]
    if several:
        raise UserError(f"{where}: {name}.{printable(several[0], 60)}: expected one name, found several")


def _check_list(kind: type, value: Any, where: str) -> None:
    """Refuse what is no list of mappings where a list of entries belongs."""
    if not isinstance(value, list):
        raise UserError(f"{where}: expected a list of mappings, found {type(value).__name__}")
    for number, inner in enumerate(value):
        if not isinstance(inner, dict):
            raise UserError(f"{where}[{number}]: expected a mapping, found {type(inner).__name__}")
        _check_mappings(kind, inner, f"{where}[{number}]")


def _reason(kind: type, content: Mapping[str, Any], error: OmegaConfBaseException) -> str:
    """Return what OmegaConf complains of, by the name of the entry."""
    key = "" if error.full_key is None else str(error.full_key)
    if key.isdigit():  # of a list of numbers or texts it says the position alone
        key = next(
            (name for name, value in _lists(content) if any(type(item) not in (int, str) for item in value)), key
        )
    place, _, entry = key.rpartition(".")
    start = f"{place}: " if place else ""
    if isinstance(error, ConfigKeyError):
        of = fields(error.object_type) if is_dataclass(error.object_type) else ()
        known = [field.name for field in of if field.name != "path"]  # of the file itself
        close = difflib.get_close_matches(entry, known, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else f"; it may hold {', '.join(known)}"
        return f"{start}unknown entry '{printable(entry, 60)}'{hint}"
    if isinstance(error, MissingMandatoryValue) and is_dataclass(error.object_type):
        given = _at(content, place) if place else content
        needed = [field for field in fields(error.object_type) if field.default is MISSING]
        names = [field.name for field in needed if field.default_factory is MISSING and field.name not in given]
        return f"{start}missing {', '.join(names)}"
    named = _at(content, place) if place else content
    odd = [name for name in named if not isinstance(name, str)] if isinstance(named, dict) else []
    value = _at(content, key.split("[")[0])
    odd += [name for name in value if not isinstance(name, str)] if isinstance(value, dict) else []
    if odd:
        return f"{start}{printable(odd[0], 60)} is no text, as every name must be; write it in quotes"
    return f"{start}{entry} is {printable(repr(value), 80)}; expected {_in_words(_declared(kind, key))}"


_WORDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false", "None": "null"}


def _in_words(declared: str) -> str:
    """Return a declared type as people say it, such as ``list[int | str] | None``."""
    inner = re.fullmatch(r"list\[([\w |]+)\]( \| None)?", declared)
    if inner is not None:
        words = [_WORDS.get(one, "entries").removeprefix("a ") for one in inner[1].split(" | ")]
        each = " or ".join(f"{word}s" if word in ("whole number", "number", "text") else word for word in words)
        return f"a list of {each}" + (" or null" if inner[2] else "")
    if declared.startswith("list["):
        return "a list"
    if declared.startswith("dict["):
        return "entries"
    return " or ".join(_WORDS.get(one, "entries") for one in declared.split(" | "))


def _at(content: Any, key: str) -> Any:
    for part in key.replace("[", ".").replace("]", "").split("."):
        if isinstance(content, list) and part.isdigit():
            content = content[int(part)] if int(part) < len(content) else None
        else:
            content = content.get(part) if isinstance(content, dict) else content
    return content


def _lists(content: Any, place: str = "") -> Iterator[tuple[str, list[Any]]]:
    for key, value in content.items() if isinstance(content, dict) else ():
        name = f"{place}.{key}" if place else str(key)
        if isinstance(value, list):
            yield name, value
        elif key not in _PASSED_ON:
            yield from _lists(value, name)


def _declared(kind: Any, key: str) -> str:
    """Return the declared type of a dotted entry, as it is written."""
    found = "entries"
    for part in key.split("[")[0].split("."):
        if get_origin(kind) is dict:  # an entry by a name of the user's own, such as a stage
            kind = get_args(kind)[1]
            found = kind.__name__ if isinstance(kind, type) and kind in (int, float, str, bool) else str(kind)
            continue
        kind = next((choice for choice in (kind, *get_args(kind)) if is_dataclass(choice)), None)
        if kind is None:
            break
        found = {field.name: str(field.type) for field in fields(kind)}.get(part, found)
        kind = get_type_hints(kind).get(part)
    return found


def _refuse_references(content: Any, where: str) -> None:
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(value, str) and "${" in value:
            raise UserError(
                f"{where}: {printable(key, 60)}: '{printable(value, 80)}' is not read: references to other settings "
                f"stand in {' and '.join(_FOR_FIT)} alone"
            )
        if isinstance(value, dict | list) and key not in _PASSED_ON:
            _refuse_references(value, f"{where}: {printable(key, 60)}" if isinstance(key, str) else where)


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value


def _copied(value: Any) -> Any:
    """Return a copy in which entries that an anchor of YAML ties together are apart: an override changes one alone."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _keys(content: Mapping[str, Any], name: str, where: str) -> list[str]:
    """Return the keys of a dotted name: what stands after ``set`` is one, and so is a name with dots that is known."""
    keys: list[str] = []
    node: Any = content
    parts = name.split(".")
    while parts:
        known = node if isinstance(node, dict) else {}
        if keys and keys[-1] == "set":
            length = len(parts)
        else:
            length = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), 1)
        key = ".".join(parts[:length])
        if keys and keys[-1] in _NAMED and key not in known:
            close = difflib.get_close_matches(key, map(str, known), n=1)
            if close and len(parts) > length:
                raise UserError(f"{where}: there is no '{key}'; did you mean '{close[0]}'?")
        keys.append(key)
        parts, node = parts[length:], known.get(key)
    return keys


def _from_here(keys: list[str], value: Any) -> Any:
    """Return an override's value with paths from the current folder; in the file they start beside it."""
    if keys[-1] == "set" and isinstance(value, dict):
        return {name: _from_here([*keys, name], inner) for name, inner in value.items()}
    if keys[-2:-1] == ["set"] and keys[-1] != "search" and isinstance(value, str):
        return _piece_from_here(keys, value)
    if keys[-1] == "encoder":
        return network(value, (), ".".join(keys))
    if isinstance(value, str) and (keys[-1] in _CONFIGS or keys[-2:] == ["set", "search"]):
        file = config_at(value)
        if file is None:
            missing = f"there is no file {printable(value, 200)} in {printable(Path.cwd())}"
            raise UserError(f"{'.'.join(keys)}: {missing}{close_names(value)}")
        return str(file.resolve())
    if isinstance(value, str) and keys[0] == "encoders" and keys[2:] == ["weights"]:
        return str(Path(value).resolve())
    prepared = keys[:2] == ["cohort", "prepare"] or (keys[:1] == ["cohorts"] and keys[2:3] == ["prepare"])
    if isinstance(value, str) and (keys[-1] == "root" or (prepared and Path(value).exists())):
        return str(Path(value).resolve())
    if isinstance(value, list) and prepared:
        return [_from_here(keys, item) for item in value]
    if isinstance(value, dict) and keys[0] in ("cohort", "cohorts"):
        return {name: _from_here([*keys, str(name)], inner) for name, inner in value.items()}
    return value


def _piece_from_here(keys: Sequence[str], value: str) -> Any:
    """Return a value under ``set`` with the piece that it names; the whole path of another file of settings."""
    found = pieces_named({keys[-1]: value}, (), ".".join(keys[:-1]))[keys[-1]]
    is_settings = found == value and value.endswith(SUFFIXES) and Path(value).is_file()
    return str(Path(value).resolve()) if is_settings else found
