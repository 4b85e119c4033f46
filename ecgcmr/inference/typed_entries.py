"""From entries of a YAML file to dataclasses: types as declared, nothing converted, every mistake named."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ecgcmr.errors import UserError
from ecgcmr.text import printable

T = TypeVar("T")
LONGEST_TEXT = 1000
_TITLES: dict[Any, str] = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"
}  # fmt: skip


def typed_entries(kind: type[T], content: Any, where: str) -> T:
    """Make a dataclass of the entries of a mapping.

    Args:
        kind: The dataclass; its fields may be texts, numbers, ``Literal``, lists and mappings of these, other
            dataclasses, ``Any``, and each of them or None.
        content: As read from a file.
        where: Start of messages.

    Raises:
        UserError: An entry is missing, unknown, of another type, or a number that is not finite.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"{where}: is {_shown(content)}; it must hold 'key: value' entries")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = [key for key in content if key not in known]
    if unknown:
        raise UserError(f"{where}: unknown entry {_shown(unknown[0])}; it may hold {', '.join(known)}")
    needed = [name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING]
    missing = [name for name in needed if name not in content]
    if missing:
        raise UserError(f"{where}: missing {', '.join(missing)}")
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints[name], value, f"{where}: {name}") for name, value in content.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return _plain(value, where)
    if origin in (Union, types.UnionType):
        others = [choice for choice in inner if choice is not type(None)]
        return None if value is None and len(others) < len(inner) else _value(others[0], value, where)
    if origin is Literal:
        return value if type(value) is str and value in inner else _refuse(f"one of {', '.join(inner)}", value, where)
    if is_dataclass(kind):
        return typed_entries(kind, value, where)  # type: ignore[arg-type]
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            return _refuse("a mapping of texts", value, where)
        return {_text(key, where): _value(inner[1], entry, f"{where}.{_shown(key)}") for key, entry in value.items()}
    if origin in (list, tuple):
        if not isinstance(value, list):
            return _refuse("a list", value, where)
        if origin is tuple and inner[-1] is not Ellipsis and len(value) != len(inner):
            return _refuse(f"a list of {len(inner)}", value, where)
        return origin(_value(inner[0], entry, f"{where}[{number}]") for number, entry in enumerate(value))
    if kind is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if type(value) is not kind:
        return _refuse(_TITLES[kind], value, where)
    return _plain(value, where)


def _plain(value: Any, where: str) -> Any:
    """Return a plain value of any kind, its texts short and its numbers finite."""
    if isinstance(value, dict):
        return {_text(key, where): _plain(entry, where) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry, where) for entry in value]
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}: holds {value}; it must be finite")
    if value is None or type(value) in (bool, int, float):
        return value
    return _refuse("a text, a number, a list or a mapping", value, where)  # YAML knows dates, sets and bytes


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        _refuse(f"a text of at most {LONGEST_TEXT} characters", value, where)
    return str(value)


def _refuse(wanted: str, value: Any, where: str) -> Any:
    raise UserError(f"{where}: is {_shown(value)}; it must be {wanted}")


def _shown(value: Any) -> str:
    return f"'{printable(value, 60)}'" if isinstance(value, str) else printable(value, 60)
