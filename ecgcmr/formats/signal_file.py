"""Bare signals in CSV, TSV, NumPy and Parquet files, whose unit, rate and leads are declared beside them.

Such files say neither what a number means nor how fast samples follow; see ``signal_declaration``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.delimited import parse_table
from ecgcmr.formats.lead_columns import lead_columns, other_names
from ecgcmr.formats.limits import MAX_FILE_BYTES, check_size, read_content
from ecgcmr.formats.loaded_signal import LoadedSignal, leads_are_rows
from ecgcmr.formats.record import ECGRecord, ecg_record
from ecgcmr.formats.signal_declaration import DECLARATION_FILE, SignalDeclaration, find_declaration, load_declaration
from ecgcmr.formats.units import millivolts_per

_MAX_THRIFT = 2**20
_MAX_ROW_GROUPS = 10_000
_KINDS = {
    "b": "booleans", "c": "complex numbers", "O": "Python objects, which are never unpickled", "U": "text", "S": "text",
    "M": "dates", "m": "durations", "V": "records",
}  # fmt: skip


Load = Callable[[Path, tuple[str, ...]], LoadedSignal]
"""Reads the numbers of a file, given the leads that are declared."""


def signal_record(path: Path, load: Load, declaration: SignalDeclaration | None) -> ECGRecord:
    """Give the numbers of a bare signal file their meaning, without the file's name in messages.

    Args:
        path: The file.
        load: ``load_table``, ``load_npy`` or ``load_parquet``.
        declaration: By default the one that lies beside the file.

    Raises:
        UserError: Nothing is declared, the file is damaged, or it does not fit the declaration.
    """
    if declaration is None:
        beside = find_declaration(path)
        if beside is None:
            raise UserError(f"does not state its unit and rate; declare them in {DECLARATION_FILE} beside it")
        declaration = load_declaration(beside)
    loaded = load(path, declaration.leads)
    loaded.check(declaration)
    signal = loaded.values * millivolts_per(declaration.unit)
    return ecg_record(signal, loaded.leads, declaration.sampling_rate, others=loaded.others)


def load_table(path: Path, declared: tuple[str, ...]) -> LoadedSignal:
    """Load a CSV or TSV file."""
    return parse_table(read_content(path), declared)


def load_npy(path: Path, declared: tuple[str, ...]) -> LoadedSignal:
    """Load a two-dimensional NumPy array, (leads, T) or (T, leads), told apart by the number of leads declared.

    The header is checked against the length of the file before anything is read; objects are never unpickled.

    Raises:
        UserError: Damaged, not two-dimensional numbers, or of another number of leads.
    """
    if not declared:
        raise UserError(f"an array names no leads; declare `leads` in {DECLARATION_FILE} beside it")
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, columns_first, dtype = readers[version](file)
        except Exception as error:  # numpy meets a damaged header with whatever Python's own parser happens to raise
            raise UserError("is not a NumPy file that can be read, probably damaged") from error
        offset = file.tell()
    if dtype.kind not in "iuf":
        raise UserError(
            f"holds {_KINDS.get(dtype.kind, 'no numbers')}; it must hold a two-dimensional array of integers or "
            "floating-point numbers"
        )
    if len(shape) != 2:
        raise UserError(
            f"holds an array of {len(shape)} axes; it must be two-dimensional, (leads, samples) of one recording a file"
        )
    rows, columns = shape
    in_rows = leads_are_rows((rows, columns), declared)
    check_size(len(declared), columns if in_rows else rows)
    if path.stat().st_size < offset + rows * columns * dtype.itemsize:
        raise UserError("is shorter than its header says, probably cut off")
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(rows * columns * dtype.itemsize)
    stored = np.frombuffer(content, dtype).reshape(shape, order="F" if columns_first else "C")
    values = stored if in_rows else stored.T
    return LoadedSignal(declared, np.array(values, dtype=np.float64, order="C", subok=False))


def load_parquet(path: Path, declared: tuple[str, ...]) -> LoadedSignal:
    """Load a Parquet table with a column per lead; its metadata is checked against the bounds before anything is read.

    Raises:
        UserError: The file is damaged, too large or has no numeric lead columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"is larger than {MAX_FILE_BYTES // 2**20} MB, which no resting ECG of this kind is")
    try:
        with (
            path.open("rb") as stream,
            parquet.ParquetFile(
                stream, thrift_string_size_limit=_MAX_THRIFT, thrift_container_size_limit=_MAX_THRIFT
            ) as file,
        ):
            schema = file.schema_arrow
            names = schema.names
            columns = lead_columns(names, declared)
            samples = file.metadata.num_rows
            check_size(len(columns), samples)
            for column in columns:
                _require_numbers(column.lead, schema.types[column.position], pa.types)
            # The metadata of single columns stays unread: pyarrow 26 ends the process where that is damaged.
            if len(set(names)) < len(names) or file.metadata.num_row_groups > _MAX_ROW_GROUPS:
                raise UserError("has two columns of the same name, or too many row groups for an ECG")
            table = file.read(columns=[names[c.position] for c in columns], use_threads=False)
            values = [table.column(names[c.position]).to_numpy().astype(np.float64) for c in columns]
    except UserError:
        raise
    except Exception as error:  # the library meets damage with errors of many kinds
        raise UserError(f"cannot be read as Parquet ({type(error).__name__}), or holds no plain numbers") from error
    if {len(column) for column in values} != {samples}:
        raise UserError("has columns of different length, probably damaged")
    units = tuple(dict.fromkeys(column.unit for column in columns if column.unit is not None))
    leads = tuple(column.lead for column in columns)
    return LoadedSignal(leads, np.stack(values), units, others=other_names(names, columns))


def _require_numbers(lead: str, kind: Any, types: Any) -> None:
    """Refuse a column that Arrow would turn into numbers without its being any: flags, dates, text."""
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        raise UserError(f"column {lead} holds no plain numbers but values of type {str(kind)[:30]}, no voltages")
