"""Bare signals in CSV, TSV, NumPy and Parquet files, whose unit, rate and leads are declared beside them.

Such files say neither what a number means nor how fast samples follow. A small YAML file ``ecg.yaml`` in the same
folder does, for all files of the folder::

    leads: [I, II, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6]
    unit: mV
    sampling_rate: 500

``leads`` may be left out where the file's columns carry lead names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.delimited import lead_columns, parse_table
from ecgcmr.formats.limits import MAX_FILE_BYTES, MAX_LEADS, check_rate, check_size, naming, read_content
from ecgcmr.formats.record import ECGRecord, ecg_record, standard_lead
from ecgcmr.formats.units import millivolts_per
from ecgcmr.yaml_file import read_yaml

DECLARATION_FILE = "ecg.yaml"
_MAX_DECLARATION_BYTES = 16 * 1024
_MAX_THRIFT = 2**20
_MAX_ROW_GROUPS = 10_000
_FIELDS = ("leads", "unit", "sampling_rate")
Loaded = tuple[tuple[str, ...], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class SignalDeclaration:
    """What a bare signal file does not say of itself.

    Attributes:
        leads: Lead names in the order of the file; may be empty where the file's columns carry lead names.
        unit: V, mV, uV or nV.
        sampling_rate: In Hz, 1 to 100,000.

    Raises:
        UserError: A unit that is no voltage, a rate out of bounds, a lead twice or too many leads.
    """

    leads: tuple[str, ...]
    unit: str
    sampling_rate: float

    def __post_init__(self) -> None:
        millivolts_per(self.unit)
        check_rate(self.sampling_rate)
        leads = tuple(standard_lead(name) for name in self.leads)
        if len(set(leads)) < len(leads) or "" in leads or len(leads) > MAX_LEADS:
            raise UserError(f"declared leads must be at most {MAX_LEADS} different names")
        object.__setattr__(self, "leads", leads)


def load_declaration(path: str | Path) -> SignalDeclaration:
    """Read a declaration from a YAML file with the fields ``leads``, ``unit`` and ``sampling_rate``.

    Raises:
        UserError: The file is missing or malformed, or a field is missing, unknown or out of bounds.
    """
    path = Path(path)
    fields = read_yaml(path, what="declaration", most=_MAX_DECLARATION_BYTES, shown=path.name)
    with naming(path):
        return _declaration(fields)


def _declaration(fields: Any) -> SignalDeclaration:
    if not isinstance(fields, dict):
        raise UserError(f"must hold the fields {', '.join(_FIELDS)}")
    unknown = [str(name)[:20] for name in fields if name not in _FIELDS]
    if unknown:
        raise UserError(f"unknown field {unknown[0]!r}; the fields are {', '.join(_FIELDS)}")
    leads, unit, rate = (fields.get(name) for name in _FIELDS)
    if not isinstance(leads or [], list) or not all(isinstance(name, str) for name in leads or []):
        raise UserError("`leads` must be a list of lead names")
    if not isinstance(unit, str):
        raise UserError("`unit` is missing; state V, mV, uV or nV")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not math.isfinite(rate):
        raise UserError("`sampling_rate` is missing or not a number of Hz")
    return SignalDeclaration(tuple(leads or ()), unit, float(rate))


def find_declaration(path: Path) -> Path | None:
    """Return the declaration that lies beside a file, if there is one."""
    beside = path.with_name(DECLARATION_FILE)
    return beside if beside.is_file() else None


def signal_record(
    path: Path, load: Callable[[Path, tuple[str, ...]], Loaded], declaration: SignalDeclaration | None
) -> ECGRecord:
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
    leads, values = load(path, declaration.leads)
    return ecg_record(values * millivolts_per(declaration.unit), leads, declaration.sampling_rate)


def load_table(path: Path, declared: tuple[str, ...]) -> Loaded:
    """Load a CSV or TSV file: lead names and (leads, T) float64 in the file's unit."""
    return parse_table(read_content(path), declared)


def load_npy(path: Path, declared: tuple[str, ...]) -> Loaded:
    """Load a two-dimensional NumPy array, (leads, T) or (T, leads), told apart by the number of leads declared.

    The header is held against the length of the file before anything is read; objects are never unpickled.

    Returns:
        Lead names and (leads, T) float64 in the file's unit.

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
    if dtype.kind not in "iuf" or len(shape) != 2:
        raise UserError("must hold a two-dimensional array of integers or floating-point numbers")
    rows, columns = shape
    if (rows == len(declared)) == (columns == len(declared)):
        raise UserError(f"has shape {rows} x {columns}, of which one must be the {len(declared)} declared leads")
    check_size(len(declared), columns if rows == len(declared) else rows)
    if path.stat().st_size < offset + rows * columns * dtype.itemsize:
        raise UserError("is shorter than its header says, probably cut off")
    stored = np.memmap(path, dtype, mode="r", offset=offset, shape=shape, order="F" if columns_first else "C")
    values = stored if rows == len(declared) else stored.T
    return declared, np.array(values, dtype=np.float64, order="C", subok=False)


def load_parquet(path: Path, declared: tuple[str, ...]) -> Loaded:
    """Load a Parquet table with a column per lead; its metadata is held against the bounds before anything is read.

    Returns:
        Lead names and (leads, T) float64 in the file's unit.

    Raises:
        UserError: The file is damaged, too large or has no numeric lead columns.
    """
    import pyarrow.parquet as parquet

    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"is larger than {MAX_FILE_BYTES // 2**20} MB, which no resting ECG of this kind is")
    try:
        with parquet.ParquetFile(
            path, thrift_string_size_limit=_MAX_THRIFT, thrift_container_size_limit=_MAX_THRIFT
        ) as file:
            names = file.schema_arrow.names
            columns = lead_columns(names, declared)
            samples = file.metadata.num_rows
            check_size(len(columns), samples)
            # The metadata of single columns stays unread: pyarrow 26 ends the process where that is damaged.
            if len(set(names)) < len(names) or file.metadata.num_row_groups > _MAX_ROW_GROUPS:
                raise UserError("has two columns of the same name, or too many row groups for an ECG")
            table = file.read(columns=[names[i] for i, _ in columns], use_threads=False)
            values = [table.column(names[i]).to_numpy().astype(np.float64) for i, _ in columns]
    except UserError:
        raise
    except Exception as error:  # the library meets damage with errors of many kinds
        raise UserError(f"cannot be read as Parquet ({type(error).__name__}), or holds no plain numbers") from error
    if {len(column) for column in values} != {samples}:
        raise UserError("has columns of different length, probably damaged")
    return tuple(lead for _, lead in columns), np.stack(values)
