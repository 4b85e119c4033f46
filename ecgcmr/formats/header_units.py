"""Units that a table states beside a column's name, ``EDV [mL]``: never another one than is declared."""

from __future__ import annotations

import re

from ecgcmr.errors import UserError
from ecgcmr.text import printable

_UNITS = frozenset({
    "%", "1", "m", "cm", "mm", "um", "nm", "l", "dl", "ml", "ul", "kg", "g", "mg", "ug", "ng", "pg", "t", "mol",
    "mmol", "umol", "nmol", "pmol", "iu", "mmhg", "kpa", "hpa", "pa", "bar", "cmh2o", "s", "ms", "us", "min", "h", "hr",
    "d", "w", "y", "yr", "day", "days", "week", "weeks", "month", "months", "year", "years", "bpm", "beats", "hz",
    "khz", "v", "mv", "uv", "k", "c", "f", "j", "kcal", "met", "kw", "lb", "lbs", "oz", "in", "ft", "st",
})  # fmt: skip
_SAME = {"yr": "years", "y": "years", "year": "years", "month": "months", "day": "days", "d": "days", "hr": "h"}


def split_header(header: str) -> tuple[str, str]:
    """Return a column's name in lower case and its unit: ``EDV [mL]`` and ``EDV (mL)`` are ``edv`` and ``mL``.

    What stands in brackets and is no unit, as in ``Age (at scan)``, belongs to the name.
    """
    match = re.fullmatch(r"(?P<name>.*\S)\s*(?:\[(?P<square>[^\[\]]+)\]|\((?P<round>[^()]+)\))", header.strip())
    unit = (match["square"] or match["round"]) if match else ""
    if match is None or not _is_unit(unit):
        return header.strip().lower(), ""
    return match["name"].lower(), unit.strip()


def check_header_unit(table: str, header: str, label: str, declared: str) -> None:
    """Refuse a column of numbers whose header states another unit than is declared for the label.

    Args:
        table: The table's own name.
        header: The column's name in the file.
        label: The label that is read from it.
        declared: The label's unit; empty if none is declared.

    Raises:
        UserError: The units differ, or none is declared.
    """
    unit = split_header(header)[1]
    if unit and _plain(unit) != _plain(declared):
        stated = f"in {printable(declared, 20)}" if declared else "without a unit"
        raise UserError(
            f"{table}: column {printable(header, 60)} is in {printable(unit, 20)}, and label {label} is declared "
            f"{stated}; declare the unit of the column, or convert the values"
        )


def _plain(unit: str) -> str:
    plain = unit.strip().lower().replace("\N{SUPERSCRIPT TWO}", "2").replace("\N{SUPERSCRIPT THREE}", "3")
    plain = re.sub("[\N{MICRO SIGN}\N{GREEK SMALL LETTER MU}]", "u", plain)
    plain = re.sub(r"[\s^*\N{MIDDLE DOT}]+", "", plain)
    return _SAME.get(plain, plain)


def _is_unit(text: str) -> bool:
    """Tell whether every part of a text is a unit with its power, or a number such as ``1e-3``."""
    parts = [part for part in re.split(r"[/*\N{MIDDLE DOT}\s]+", text.strip()) if part]
    return bool(parts) and all(
        re.sub(r"\^?-?[0-9]$", "", _plain(part)) in _UNITS or re.fullmatch(r"[\d.]+(e-?\d+)?", part) for part in parts
    )
