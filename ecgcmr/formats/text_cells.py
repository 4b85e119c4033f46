"""Rows of a text table as cells: which mark parts them, and whether they are numbers, names of leads or units."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from ecgcmr.errors import UserError
from ecgcmr.formats.lead_names import lead_and_unit
from ecgcmr.formats.limits import MAX_SAMPLES
from ecgcmr.formats.units import millivolts_per
from ecgcmr.leads import LEADS

SPACE = " "
"""Stands for white space of any length between cells."""
_SEPARATORS = ("\t", ";", ",")
_MISSING = ("", "nan", "na", "null")
_TIME_CELLS = ("", "s", "sec", "ms", "us", "hh:mm:ss", "hh:mm:ss.mmm", "seconds", "-")
_LONGEST_HEADER = 64 * 1024
_MOST_NAMES = 1000


def cells_of_row(line: bytes, separator: str = "") -> tuple[str, list[str]]:
    """Split a row at the separator, by default at the one that makes it numbers or lead names.

    A row of more cells than any recording has samples is not split.
    """
    text = line.decode("utf-8", errors="replace").strip("\n\r ")
    counted = sorted(_SEPARATORS, key=text.count, reverse=True)
    candidates = [separator] if separator else [mark for mark in (*counted, SPACE) if mark in text]
    rows = {mark: _split(text, mark) for mark in candidates}
    for mark, cells in rows.items():
        if len(candidates) > 1 and (are_numbers(cells, mark) or name_a_lead(cells) or is_row_of_a_lead(cells, mark)):
            return mark, cells
    return next(iter(rows.items()), (",", [text]))


def _split(text: str, separator: str) -> list[str]:
    if separator == SPACE:
        return text.split() if len(text) < 8 * MAX_SAMPLES else [text]
    if text.count(separator) > MAX_SAMPLES:
        return [text]
    if '"' in text and len(text) < _LONGEST_HEADER:  # a quoted name may hold the separator
        cells = next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
    else:
        cells = text.split(separator)
    return [cell.strip().strip("\"'").strip() for cell in cells]


def name_a_lead(cells: Sequence[str]) -> bool:
    """Tell whether any cell is the name of a lead; a row of over a thousand cells has none."""
    return len(cells) <= _MOST_NAMES and any(lead_and_unit(cell)[0] in LEADS for cell in cells)


def is_row_of_a_lead(cells: Sequence[str], separator: str) -> bool:
    """Tell whether a row is the name of a lead and then numbers alone, two or more."""
    return len(cells) > 2 and lead_and_unit(cells[0])[0] in LEADS and are_numbers(cells[1:], separator)


def are_numbers(cells: Sequence[str], separator: str) -> bool:
    """Tell whether all cells are numbers or missing, and at least one is a number."""
    numbers = 0
    for cell in cells:
        if cell.lower() in _MISSING:
            continue
        try:
            float(cell if separator == "," else cell.replace(",", "."))
        except ValueError:
            return False
        numbers += 1
    return numbers > 0


def are_units(cells: Sequence[str]) -> bool:
    """Tell whether all cells are units of voltage or of time, or empty, and at least one is a voltage."""
    voltages = 0
    for cell in cells:
        text = cell.strip("()[] ")
        if text.lower() in _TIME_CELLS:
            continue
        try:
            millivolts_per(text)
        except UserError:
            return False
        voltages += 1
    return voltages > 0
