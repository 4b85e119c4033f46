"""Signals in text: a column (or a row) per lead, with commas, semicolons, tabs or white space in between."""

from __future__ import annotations

import re
import warnings
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.cardiosoft import parse_samples
from ecgcmr.formats.lead_columns import is_time, lead_columns, other_names
from ecgcmr.formats.limits import MAX_LEADS, check_size
from ecgcmr.formats.loaded_signal import LoadedSignal
from ecgcmr.formats.named_rows import is_row_of_times, parse_named_rows
from ecgcmr.formats.plain_text import first_row, plain_lines
from ecgcmr.formats.text_cells import SPACE, are_numbers, are_units, cells_of_row, is_row_of_a_lead, name_a_lead

_FLAG = re.compile(rb"true|false", re.IGNORECASE)
_FLAGS = ["true", "false", "True", "False", "TRUE", "FALSE"]
_EVEN = 1e-3
_ENOUGH = 100


def is_signal_table(head: bytes, *, any_header: bool = False) -> bool:
    """Tell whether the first bytes are a table of numbers, under a header row with lead names if there is one.

    Args:
        head: The first bytes of a file.
        any_header: Whether other names may stand in the header row.
    """
    content = plain_lines(head)
    begin, after = first_row(content)
    if b"\0" in content:
        return False
    separator, first = cells_of_row(content[begin:after])
    if len(first) < 2:
        return False
    if after == len(content):  # the row may go on beyond these bytes
        first = first[:-1]
    if are_numbers(first, separator) or is_row_of_times(first, separator):
        return True
    if len(first) > _ENOUGH and is_row_of_a_lead(first, separator):
        return True
    named = name_a_lead(first)
    if separator != SPACE and named:
        return True
    _, second = cells_of_row(content[slice(*first_row(content, after))], separator)
    if separator == SPACE and named:  # in a sentence "I" is a word
        return len(first) == len(second) and (are_numbers(second, separator) or are_units(second))
    return any_header and len(first) == len(second) and are_numbers(second, separator)


def parse_table(content: bytes, declared: tuple[str, ...]) -> LoadedSignal:
    """Parse a table of samples in text.

    Tab, semicolon, comma or white space separate the cells; beside the others than commas the decimal sign may be a
    comma. A header row with lead names chooses the columns, and a row of units may follow it; a column of times is
    left out. Rows that begin with a lead's name are leads (``named_rows``). Without names, leads are columns or rows,
    in the order declared. An empty cell is a missing sample.

    Args:
        content: The file's bytes.
        declared: The leads declared; empty if none are.

    Returns:
        The signal in the file's unit.

    Raises:
        UserError: No table, rows of different length, a cell that is no number, or leads that are not known.
    """
    content = plain_lines(content)
    if b"\0" in content:
        raise UserError("is no text")
    begin, after = first_row(content)
    separator, first = cells_of_row(content[begin:after])
    if len(first) < 2:
        raise UserError("is no table of numbers with tab, semicolon, comma or white space between them")
    rows = parse_named_rows(content[begin:], separator, declared)
    if rows is not None:
        return rows
    if are_numbers(first, separator):
        return _without_header(content[begin:], separator, len(first), declared)
    check_size(len(first), 1)
    chosen = lead_columns(first, declared)
    units = [column.unit for column in chosen if column.unit is not None]
    content = content[after:]
    begin, after = first_row(content)
    _, second = cells_of_row(content[begin:after], separator)
    if len(second) == len(first) and are_units(second):
        units += [second[column.position] for column in chosen if second[column.position]]
        content = content[after:]
    values = _columns(content, separator, len(first), [column.position for column in chosen])
    times = next((i for i, name in enumerate(first) if is_time(name)), None)
    step = None if times is None else _step(content, separator, times, values.shape[1])
    leads = tuple(column.lead for column in chosen)
    return LoadedSignal(leads, values, tuple(dict.fromkeys(units)), step, other_names(first, chosen))


def _without_header(content: bytes, separator: str, cells: int, declared: tuple[str, ...]) -> LoadedSignal:
    if cells > MAX_LEADS:
        return LoadedSignal(declared, _rows(content, separator, declared))
    if declared and cells == len(declared) + 1:
        values = _columns(content, separator, cells, list(range(cells)))
        steps = np.diff(values[0])
        if len(steps) and steps[0] > 0 and np.ptp(steps) <= _EVEN * steps.mean() + 1e-9 * np.abs(values[0]).max():
            return LoadedSignal(declared, values[1:], step=float(steps.mean()))
    columns = lead_columns([f"column {i}" for i in range(cells)], declared)
    return LoadedSignal(declared, _columns(content, separator, cells, [column.position for column in columns]))


def _columns(content: bytes, separator: str, cells: int, wanted: list[int]) -> npt.NDArray[np.float64]:
    """Parse rows of numbers, one per sample, into (leads, T)."""
    import pandas as pd  # takes half a second, so only where a table is met

    rows = content.count(b"\n") + 1
    check_size(cells, rows)
    options: dict[str, Any] = {"sep": r"\s+" if separator == SPACE else separator, "header": None, "usecols": wanted,
               "names": list(range(cells)), "index_col": False, "encoding": "iso-8859-1"}  # fmt: skip
    decimal_comma = separator != "," and b"," in content and b"." not in content
    try:
        with warnings.catch_warnings():  # of rows that are too long; they are found below
            warnings.simplefilter("ignore")
            frame = pd.read_csv(BytesIO(content), dtype=np.float64, decimal="," if decimal_comma else ".", **options)
            flags = _FLAG.search(content) and pd.read_csv(BytesIO(content), dtype=str, **options).isin(_FLAGS)
    except (ValueError, OverflowError) as error:  # what pandas raises for a bad cell, row or an empty table
        raise UserError("holds a cell that is not a number or rows of different length") from error
    if flags is not None and flags.to_numpy().any():  # which pandas would take for 1 and 0
        raise UserError("holds a cell that is not a number but true or false")
    held = len(content.split()) if separator == SPACE else content.count(separator.encode()) + len(frame)
    if held != len(frame) * cells:
        raise UserError("has rows of different length, probably cut off or damaged")
    return np.ascontiguousarray(frame[wanted].to_numpy(np.float64).T)


def _rows(content: bytes, separator: str, declared: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Parse rows of numbers, one per lead, into (leads, T)."""
    lines = [line for line in content.split(b"\n", MAX_LEADS * 2) if line.strip()]
    if not declared:
        raise UserError("has no header row with lead names; declare `leads` in ecg.yaml beside it")
    if len(lines) != len(declared):
        raise UserError(f"is a table of long rows, but not of one row for each of the {len(declared)} declared leads")
    if separator == SPACE:
        lines = [b" ".join(line.split()) for line in lines]
    samples = lines[0].count(separator.encode()) + 1
    check_size(len(lines), samples)
    signal = []
    for line, lead in zip(lines, declared, strict=True):
        text = line.decode("iso-8859-1")
        text = text if separator == "," else text.replace(",", ".").replace(separator, ",")
        signal.append(parse_samples(text, samples, lead))
    if any(len(values) != samples for values in signal):
        raise UserError("has rows of different length, probably cut off or damaged")
    return np.stack(signal)


def _step(content: bytes, separator: str, position: int, samples: int) -> float | None:
    """Return by what the times grow from sample to sample, from the first and the last; None if they are no numbers."""
    if samples < _ENOUGH:  # rounded times say little about few samples
        return None
    lines = content.strip()
    ends = (lines.split(b"\n", 1)[0], lines.rsplit(b"\n", 1)[-1])
    try:
        cells = [cells_of_row(line, separator)[1][position] for line in ends]
        first, last = (float(cell if separator == "," else cell.replace(",", ".")) for cell in cells)
    except (ValueError, IndexError):
        return None
    return (last - first) / (samples - 1)
