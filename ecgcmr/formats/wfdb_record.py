"""WFDB recordings: a text header ``NAME.hea`` beside its signal files, as PhysioNet distributes them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.record import ECGRecord, quality_notes, standard_lead

_MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "nv": 1e-6}
_RECORD_LINE = re.compile(rb"^[^\s/]+(/\d+)?\s+\d+(\s|$)")


def is_wfdb_header(content: bytes) -> bool:
    """Tell whether the first line that is no comment is a record line: a name and a number of signals."""
    for line in content.splitlines():
        if line.strip() and not line.startswith(b"#"):
            return _RECORD_LINE.match(line.strip()) is not None
    return False


def read_wfdb(path: Path) -> ECGRecord:
    """Read a WFDB recording in physical units.

    Args:
        path: The header, with or without its ``.hea``.

    Returns:
        All signals in mV, NaN where the file marks a sample as invalid.

    Raises:
        UserError: Header or signal file is missing or damaged, the record has no signals, or a unit is not a voltage.
    """
    import wfdb  # takes about a second, so only where a WFDB file is met

    stem = path.with_suffix("") if path.suffix == ".hea" else path
    header = stem.with_name(stem.name + ".hea")
    if not header.is_file():
        raise UserError(f"{header.name}: no such header")
    if not is_wfdb_header(header.read_bytes()):
        raise UserError(f"{header.name}: is not a WFDB header")
    try:
        record = wfdb.rdrecord(str(stem))
    except FileNotFoundError as error:
        raise UserError(f"{header.name}: the signal file named in the header is missing") from error
    except Exception as error:  # the library meets damage with whatever its parsing happens to raise
        raise UserError(f"{header.name}: cannot be read as WFDB ({type(error).__name__}), probably damaged") from error
    if record.p_signal is None or record.p_signal.size == 0:
        raise UserError(f"{header.name}: holds no signal")
    scales = [_MILLIVOLTS.get(unit.strip().lower()) for unit in record.units]
    for unit, scale in zip(record.units, scales, strict=True):
        if scale is None:
            raise UserError(f"{header.name}: unit {unit[:20]!r} is not a voltage")
    leads = tuple(standard_lead(name) for name in record.sig_name)
    if len(set(leads)) < len(leads):
        raise UserError(f"{header.name}: holds a lead twice")
    signal = np.ascontiguousarray(record.p_signal.T, dtype=np.float64) * np.array(scales, dtype=np.float64)[:, None]
    return ECGRecord(signal, leads, float(record.fs), quality_notes(signal, leads))
