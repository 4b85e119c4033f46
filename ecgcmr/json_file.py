"""The one reader of JSON files that a user can hand in: bounded, strict, and refused in one line."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.text import printable
from ecgcmr.yaml_file import read_text

MOST_BYTES = 256_000_000
"""Results of thousands of targets by dozens of methods stay below a tenth of this."""


def read_json(path: Path | str, *, what: str = "JSON file", most: int = MOST_BYTES) -> Any:
    """Read one JSON document.

    Args:
        path: The file.
        what: What it should be, for messages, such as "results".
        most: Bytes that it may have.

    Raises:
        UserError: In one line with the file's name: it is missing, a folder, a pipe, too large, no UTF-8, no JSON,
            nested too deeply, gives a key twice, or holds NaN or Infinity, which JSON does not have.
    """
    path = Path(path)
    where = f"{path}: {what}"
    content = read_text(path, where, most)
    try:
        return json.loads(content, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_unique)
    except RecursionError as error:
        raise UserError(f"{where} is nested too deeply; is it the right file?") from error
    except ValueError as error:
        raise UserError(f"{where} cannot be read as JSON: {printable(error, 200)}") from error


def recall_json(path: Path | str, *, most: int = MOST_BYTES) -> Any:
    """Read a note that this program left for itself; None where there is none or it is damaged.

    For notes whose loss costs time alone: what they stand for is then done anew.

    Args:
        path: The file.
        most: Bytes that it may have.
    """
    try:
        return read_json(path, what="note", most=most)
    except UserError:
        return None


def finite_number(value: Any) -> bool:
    """Tell whether a value of a JSON document is a number that a float can have: no ``true``, NaN, infinity, 1e400."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max  # an integer of 400 digits too can be compared


def _no_number(token: str) -> float:
    raise ValueError(f"it holds {token}, which JSON does not have; a missing number is null")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {printable(digits, 40)} is too large")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in content if names.count(name) > 1)
        raise ValueError(f"'{printable(twice, 60)}' is given twice in one object")
    return content
