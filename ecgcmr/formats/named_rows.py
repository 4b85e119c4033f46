"""Signals in text with a row per lead, under its name in the row's first cell: a table of columns on its side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.cardiosoft import parse_samples
from ecgcmr.formats.lead_columns import is_time, lead_columns, other_names
from ecgcmr.formats.lead_names import shown
from ecgcmr.formats.limits import MAX_LEADS, check_size
from ecgcmr.formats.loaded_signal import LoadedSignal
from ecgcmr.formats.text_cells import SPACE, are_numbers, cells_of_row, is_row_of_a_lead

_TITLES = ("lead", "leads", "channel", "channels", "signal", "name", "ableitung", "derivation")
_ENOUGH = 100
"""Cells from which on a row is one of samples, and times say by what they grow."""


def is_row_of_times(cells: Sequence[str], separator: str) -> bool:
    """Tell whether a row is the header of such a table: a word for leads or times, then their numbers or times."""
    title = shown(cells[0]).lower()
    return len(cells) > _ENOUGH and (title in _TITLES or is_time(title)) and are_numbers(cells[1:], separator)


def parse_named_rows(content: bytes, separator: str, declared: tuple[str, ...]) -> LoadedSignal | None:
    """Parse a table whose rows begin with the name of their lead; the row above the first of them may hold times.

    Args:
        content: From the first row on.
        separator: Of the first row's cells.
        declared: The leads declared; empty if none are.

    Returns:
        The signal in the file's unit; None if neither the first row nor the one below it begins with a lead's name.

    Raises:
        UserError: Rows of different length, one without a name, a cell that is no number, or leads that are not known.
    """
    lines = [line for line in content.split(b"\n", 2 * MAX_LEADS) if line.strip() and not line.startswith(b"#")]
    heads = [cells_of_row(line, separator)[1] for line in lines[:2]]
    start = next((row for row, cells in enumerate(heads) if is_row_of_a_lead(cells, separator)), None)
    if start is None:
        return None
    header = heads[0] if start else []
    lines = lines[start:]
    check_size(len(lines), 1)
    split = [line.split(None if separator == SPACE else separator.encode(), 1) for line in lines]
    names = [shown(parts[0].decode("utf-8", "replace")) for parts in split]
    for name, parts in zip(names, split, strict=True):
        if len(parts) < 2 or are_numbers([name], separator):
            raise UserError("holds a row that does not begin with a lead's name, and others that do")
    chosen = lead_columns(names, declared)
    samples = len(heads[start]) - 1
    check_size(len(chosen), samples)
    values = [_samples(split[row.position][1], separator, samples, row.lead) for row in chosen]
    if any(len(row) != samples for row in values):
        raise UserError("has rows of different length, probably cut off or damaged")
    units = tuple(dict.fromkeys(row.unit for row in chosen if row.unit is not None))
    leads = tuple(row.lead for row in chosen)
    times = header or next((cells for cells in heads if is_time(shown(cells[0]))), [])
    return LoadedSignal(leads, np.stack(values), units, _step(times, separator), other_names(names, chosen))


def _samples(line: bytes, separator: str, samples: int, lead: str) -> npt.NDArray[np.float64]:
    text = line.decode("iso-8859-1")
    if separator == SPACE:
        text = " ".join(text.split())
    text = text if separator == "," else text.replace(",", ".").replace(separator, ",")
    return parse_samples(text, samples, lead)


def _step(times: Sequence[str], separator: str) -> float | None:
    """Return by what a row of times grows, from the first and the last; None if there are none, or few."""
    if len(times) <= _ENOUGH:
        return None
    try:
        first, last = (float(cell if separator == "," else cell.replace(",", ".")) for cell in (times[1], times[-1]))
    except ValueError:
        return None
    return (last - first) / (len(times) - 2)
