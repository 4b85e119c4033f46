"""WFDB recordings: a text header ``NAME.hea`` beside its signal files, as PhysioNet distributes them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.limits import naming, read_content
from ecgcmr.formats.record import ECGRecord, ecg_record, standard_lead
from ecgcmr.formats.units import millivolts_per
from ecgcmr.formats.wfdb_header import MAX_HEADER_BYTES, check_header, is_wfdb_header

if TYPE_CHECKING:
    import wfdb

_DEFAULT_UNIT = "mV"  # by the format where a header states none


def read_wfdb(path: Path) -> ECGRecord:
    """Read a WFDB recording in physical units.

    Args:
        path: The header, with or without its ``.hea``.

    Returns:
        All signals in mV, NaN where the file marks a sample as invalid.

    Raises:
        UserError: Header or signal file is missing or damaged, the header claims more than the files hold, or a unit
            is not a voltage.
    """
    stem = path.with_suffix("") if path.suffix == ".hea" else path
    header = stem.with_name(stem.name + ".hea")
    if not header.is_file():
        raise UserError(f"{header.name}: no such header")
    with naming(header):
        return wfdb_record(header)


def wfdb_record(header: Path) -> ECGRecord:
    """Read a recording by its header, without the file's name in messages; see ``read_wfdb``."""
    content = read_content(header, MAX_HEADER_BYTES)
    if not is_wfdb_header(content):
        raise UserError("is not a WFDB header")
    if header.suffix != ".hea":
        raise UserError("is a WFDB header, but its name does not end in .hea")
    units = check_header(content, header.parent)
    scales = np.array([millivolts_per(unit or _DEFAULT_UNIT) for unit in units])
    import wfdb  # takes about a second, so only where a WFDB file is met

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record = wfdb.rdrecord(str(header.with_suffix("")), physical=False)
            voltages = record.dac()
    except Exception as error:  # the library meets damage with whatever its parsing happens to raise
        raise UserError(f"cannot be read as WFDB ({type(error).__name__}), probably damaged") from error
    signal = np.ascontiguousarray(voltages.T, dtype=np.float64) * scales[:, None]
    leads = tuple(standard_lead(name or "") for name in record.sig_name)
    notes = [f"the checksum of lead {leads[i]} is wrong" for i in _wrong_checksums(record)]
    if None in units:
        notes.append("the header states no unit, mV assumed")
    return ecg_record(signal, leads, float(record.fs), tuple(notes))


def _wrong_checksums(record: wfdb.Record) -> list[int]:
    """Return the signals whose 16-bit sum of samples is not the one in the header, where the header states one."""
    if any(samples != 1 for samples in record.samps_per_frame):  # their samples were averaged
        return []
    sums = record.d_signal.sum(axis=0, dtype=np.int64)
    stated = enumerate(record.checksum)
    return [i for i, checksum in stated if checksum is not None and (sums[i] - checksum) % 65536]
