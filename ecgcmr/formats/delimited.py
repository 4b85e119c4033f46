"""Signals in text: CSV and TSV files with a column (or a row) per lead."""

from __future__ import annotations

import codecs
import warnings
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.cardiosoft import parse_samples
from ecgcmr.formats.limits import MAX_LEADS, check_size
from ecgcmr.formats.record import LEADS, standard_lead

_SEPARATORS = ("\t", ";", ",")
_NOT_LEADS = ("", "time", "t", "seconds", "sec", "ms", "sample", "index")
_MISSING = ("", "nan", "na", "null")


def is_signal_table(head: bytes, *, any_header: bool = False) -> bool:
    """Tell whether the first bytes are a table of numbers, under a header row with lead names if there is one.

    Args:
        head: The first bytes of a file.
        any_header: Whether other names may stand in the header row.
    """
    content = _plain_lines(head)
    begin, after = _first_row(content)
    separator, first = _cells(content[begin:after])
    if b"\0" in content or len(first) < 2:
        return False
    if after == len(content):  # the row may go on beyond these bytes
        first = first[:-1]
    if _numeric(first, separator) or any(standard_lead(cell) in LEADS for cell in first):
        return True
    _, second = _cells(content[slice(*_first_row(content, after))], separator)
    return any_header and len(first) == len(second) and _numeric(second, separator)


def lead_columns(names: Sequence[str], declared: tuple[str, ...]) -> list[tuple[int, str]]:
    """Choose the columns that are leads.

    Args:
        names: The names of all columns.
        declared: The leads declared, standard spelling; empty if none are.

    Returns:
        Position and lead of each.

    Raises:
        UserError: The names tell no leads and the declaration does not fit them.
    """
    columns = [(i, standard_lead(name)) for i, name in enumerate(names) if name.strip().lower() not in _NOT_LEADS]
    if any(lead in LEADS for _, lead in columns):
        wanted = declared or LEADS
        lacking = [lead for lead in declared if lead not in (name for _, name in columns)]
        if lacking:
            raise UserError(f"has no column for the declared lead {lacking[0]}")
        return [(i, lead) for i, lead in columns if lead in wanted]
    if not declared:
        raise UserError("has no header row with lead names; declare `leads` in ecg.yaml beside it")
    if len(columns) != len(declared):
        raise UserError(f"has {len(columns)} columns of signal but {len(declared)} declared leads")
    return [(i, lead) for (i, _), lead in zip(columns, declared, strict=True)]


def parse_table(content: bytes, declared: tuple[str, ...]) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Parse a CSV or TSV file.

    Tab, semicolon or comma separate the cells; beside tabs or semicolons the decimal sign may be a comma. A header row
    with lead names chooses the columns; a column of times is left out. Without header row, leads are columns or rows,
    in the order declared. An empty cell is a missing sample.

    Args:
        content: The file's bytes.
        declared: The leads declared; empty if none are.

    Returns:
        Lead names and (leads, T) float64 in the file's unit.

    Raises:
        UserError: No table, rows of different length, a cell that is no number, or leads that are not known.
    """
    if b"\0" in content:
        raise UserError("is no text")
    content = _plain_lines(content)
    begin, after = _first_row(content)
    separator, first = _cells(content[begin:after])
    if len(first) < 2:
        raise UserError("is no table of numbers with tab, semicolon or comma between them")
    if not _numeric(first, separator):
        columns = lead_columns(first, declared)
        content = content[after:]
    elif len(first) > MAX_LEADS:
        return declared, _rows(content[begin:], separator, declared)
    else:
        columns = lead_columns([f"column {i}" for i in range(len(first))], declared)
        content = content[begin:]
    return tuple(lead for _, lead in columns), _columns(content, separator, len(first), [i for i, _ in columns])


def _plain_lines(content: bytes) -> bytes:
    return content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _first_row(content: bytes, start: int = 0) -> tuple[int, int]:
    """Return where the first row begins, after comments and empty lines, and where the line after it does."""
    begin = start
    while True:
        end = content.find(b"\n", begin)
        line = content[begin : end if end >= 0 else None].strip()
        after = end + 1 if end >= 0 else len(content)
        if end < 0 or (line and not line.startswith(b"#")):
            return begin, after
        begin = after


def _cells(line: bytes, separator: str = "") -> tuple[str, list[str]]:
    """Split a row at the separator, by default at the one that occurs most often in it."""
    text = line.decode("utf-8", errors="replace")
    separator = separator or max(_SEPARATORS, key=text.count)
    return separator, [cell.strip().strip('"').strip() for cell in text.split(separator)]


def _numeric(cells: Sequence[str], separator: str) -> bool:
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


def _columns(content: bytes, separator: str, cells: int, wanted: list[int]) -> npt.NDArray[np.float64]:
    """Parse rows of numbers, one per sample, into (leads, T)."""
    rows = content.count(b"\n") + 1
    check_size(cells, rows)
    decimal_comma = separator != "," and b"," in content and b"." not in content
    try:
        with warnings.catch_warnings():  # of rows that are too long; they are found below
            warnings.simplefilter("ignore")
            frame = pd.read_csv(
                BytesIO(content), sep=separator, header=None, usecols=wanted, names=list(range(cells)),
                index_col=False, dtype=np.float64, decimal="," if decimal_comma else ".", encoding="iso-8859-1",
            )  # fmt: skip
    except (ValueError, OverflowError) as error:  # what pandas raises for a bad cell, row or an empty table
        raise UserError("holds a cell that is not a number or rows of different length") from error
    if content.count(separator.encode()) != len(frame) * (cells - 1):
        raise UserError("has rows of different length, probably cut off or damaged")
    return np.ascontiguousarray(frame[wanted].to_numpy(np.float64).T)


def _rows(content: bytes, separator: str, declared: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Parse rows of numbers, one per lead, into (leads, T)."""
    lines = [line for line in content.split(b"\n", MAX_LEADS * 2) if line.strip()]
    if not declared:
        raise UserError("has no header row with lead names; declare `leads` in ecg.yaml beside it")
    if len(lines) != len(declared):
        raise UserError(f"is a table of long rows, but not of one row for each of the {len(declared)} declared leads")
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
