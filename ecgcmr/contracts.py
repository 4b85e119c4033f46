"""What a Protocol asks for, read off the Protocol itself, so that a check and its message never lag behind it."""

from __future__ import annotations

import inspect
from functools import cache

_NOTHING = object()


@cache
def members(contract: type) -> dict[str, str]:
    """Return the public members of a Protocol and of those that it extends, and what each must be.

    Args:
        contract: A ``typing.Protocol``.

    Returns:
        Name -> first line of its docstring, empty where there is none; in the order in which they are written.
    """
    found: dict[str, str] = {}
    for base in reversed(contract.__mro__):
        if base.__module__ in ("builtins", "typing"):
            continue
        for name in dict.fromkeys([*base.__dict__.get("__annotations__", ()), *vars(base)]):
            if not name.startswith("_"):
                text = (inspect.getdoc(vars(base)[name]) or "") if name in vars(base) else ""
                found[name] = text[:1].lower() + text.partition("\n")[0][1:].rstrip(".")
    return found


def lacking(candidate: object, contract: type) -> list[str]:
    """Return the public members of a Protocol that a candidate has not; no property of it is computed."""
    return [name for name in members(contract) if not _has(candidate, name)]


def _has(candidate: object, name: str) -> bool:
    # A property would be run by hasattr, and that of a DataModule reads its cohort.
    return inspect.getattr_static(candidate, name, _NOTHING) is not _NOTHING or hasattr(candidate, name)
