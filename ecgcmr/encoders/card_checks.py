"""What `encoder.yaml` may hold, and whose classes may be imported for it: decided before anything is imported or built.

A card comes with weights, perhaps from a stranger. Importing a module runs its code, so only this package's modules are
imported, and those that the caller trusts by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError

HOME = "ecgcmr.encoders"
"""Whose classes need no trust: the encoders alone. Other modules of the package do things when they are imported."""
LOAD_ENCODER = 'load_encoder(folder, trusted=("{module}",)), or --trust {class_path} of ecgcmr export'
MOST_VALUES = 10_000
"""Values of a whole card: init_args are a few numbers, what it was trained for a few per target."""

_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_HEX = re.compile(r"[0-9a-f]{64}")
_TEXT = 300  # characters of a name
_LAYER_COUNTS = ("depth", "depths", "layers", "blocks")
_LARGEST = 2**31


def check_card_entries(content: Mapping[str, Any], path: Path) -> None:
    """Check types and sizes of a card's entries.

    Args:
        content: Entry -> value, as read from the file.
        path: Of the card, for messages.

    Raises:
        UserError: One is of another type, too long or too many; it is named.
    """
    checks = {
        "class_path": _is_class_path,
        "init_args": _is_mapping,
        "input_spec": _is_specification,
        "fingerprint": lambda value: value is None or _is_checksum(value),
        "parent": lambda value: value is None or _is_name(value),
        "code_version": _is_name,
        "sha256": _is_checksum,
        "preparation": lambda value: value is None or _is_mapping(value),
        "training": lambda value: value is None or _is_mapping(value),
    }
    for name, value in content.items():
        if name in checks and not checks[name](value):
            raise UserError(f"{path}: {name} is {str(value)[:60]!r}, which it cannot be; export the encoder again")
    if _count(dict(content), MOST_VALUES) > MOST_VALUES:
        raise UserError(f"{path}: more than {MOST_VALUES} values, too many for an encoder card; export it again")


def check_trusted(class_path: str, trusted: Collection[str], path: Path, how: str = LOAD_ENCODER) -> None:
    """Refuse a class that is neither among this package's encoders nor trusted; nothing is imported.

    Args:
        class_path: What the card names.
        trusted: Modules, packages (with all in them) or class paths.
        path: Of the card, for messages.
        how: How the caller is given more to trust; ``{module}`` and ``{class_path}`` stand for those of the class.

    Raises:
        UserError: The class is of another module.
    """
    if not any(class_path == name or class_path.startswith(f"{name}.") for name in (HOME, *trusted) if name):
        module = class_path.rpartition(".")[0]
        raise UserError(
            f"{path}: class_path {class_path} is no encoder of this package and nothing of it was imported; if you "
            f"trust its code, say so: {how.format(module=module, class_path=class_path)}"
        )


def check_layer_counts(init_args: Mapping[str, Any], tensors: int, path: Path) -> None:
    """Refuse numbers of layers that the weights cannot have, before layers are built one by one.

    Args:
        init_args: Of the encoder's class.
        tensors: Tensors in the weights file; every layer has one at least.
        path: Of the card, for messages.

    Raises:
        UserError: A number is larger than that, or any number larger than 2^31.
    """
    for name, value in init_args.items():
        if isinstance(value, Mapping):
            check_layer_counts(value, tensors, path)
        for number in value if isinstance(value, list) else [value]:
            most = tensors if name in _LAYER_COUNTS else _LARGEST
            if isinstance(number, int) and abs(number) > most:
                limit = f"the weights file holds {tensors} tensors" if most == tensors else f"{_LARGEST} at most"
                raise UserError(f"{path}: init_args.{name} is {number}, {limit}; export the encoder again")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _TEXT


def _is_class_path(value: Any) -> bool:
    return _is_name(value) and _CLASS_PATH.fullmatch(value) is not None


def _is_checksum(value: Any) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_specification(value: Any) -> bool:
    return _is_mapping(value) and isinstance(value.get("kind"), str)


def _count(value: Any, most: int) -> int:
    """Return how many values there are, or a number above ``most``."""
    total, left = 0, [value]
    while left and total <= most:
        current = left.pop()
        total += 1
        if isinstance(current, dict):
            left += current.values()
        elif isinstance(current, list):
            left += current
    return total
