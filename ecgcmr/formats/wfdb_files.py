"""The signal files of a WFDB record: checked against the header before anything is read, then decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.limits import check_size, check_values
from ecgcmr.formats.matlab_file import MATLAB_4, MATLAB_5, matlab_4, matlab_matrix
from ecgcmr.formats.regular_file import require_regular
from ecgcmr.formats.wfdb_header import HeaderSignal, is_plain
from ecgcmr.formats.wfdb_samples import BYTES, Steps, bytes_for, decode

_MATLAB_TYPES = {"16": 30, "32": 20}  # of a little-endian matrix; the header calls them by their WFDB format


def read_signals(
    folder: Path, file: str, signals: list[HeaderSignal], samples: int | None, notes: list[str]
) -> list[Steps]:
    """Read one signal file.

    Args:
        folder: Where header and signal files lie.
        file: Name of the file.
        signals: All signals that it holds, in the order of the header.
        samples: Frames; None if the header does not say.
        notes: Remarks are put here.

    Returns:
        For each signal (frames, samples in a frame) converter steps.

    Raises:
        UserError: The file lies elsewhere, is missing, of a format that is not read, or shorter than the header says.
    """
    if not is_plain(file):
        raise UserError("names a signal file outside its own folder")
    kind = signals[0].format
    if kind not in BYTES:
        raise UserError(f"has a signal in a format that is not read ({kind}); write it in format 16")
    if any(signal.per_frame < 1 for signal in signals):
        raise UserError("has a signal with no samples in a frame")
    path = folder / file
    if not path.exists():
        raise UserError("the signal file named in the header is missing")
    require_regular(path)
    if len({signal.format for signal in signals}) > 1:
        raise UserError("has signals of different formats in one file")
    with path.open("rb") as stream:
        head = stream.read(MATLAB_4.size + 64)
    if head.startswith(MATLAB_5):
        return _rows_of_matrix(path, signals, samples)
    offset = _offset(head, signals, notes)
    per_frame = [signal.per_frame for signal in signals]
    held = max(int((path.stat().st_size - offset) / (sum(per_frame) * BYTES[kind]) + 1e-9), 0)
    if held < (samples or 1):
        raise UserError("its signal file is shorter than the header says, probably cut off")
    frames = samples or held
    check_size(len(signals), frames * max(per_frame))
    check_values(frames * sum(per_frame))
    with path.open("rb") as stream:
        stream.seek(offset)
        content = stream.read(bytes_for(kind, frames * sum(per_frame)))
    return [steps[:frames] for steps in decode(content, kind, per_frame, [signal.initial for signal in signals])]


def _offset(head: bytes, signals: list[HeaderSignal], notes: list[str]) -> int:
    """Return where the samples begin: as stated, or after the head of a MATLAB file where the header forgets it."""
    offset = signals[0].offset
    matrix = matlab_4(head)
    if matrix is None or matrix[1] != len(signals):
        return offset
    kind, _, _, length = matrix
    if kind != _MATLAB_TYPES.get(signals[0].format):
        raise UserError(
            f"its MATLAB file does not hold the integers of format {signals[0].format}; save them as int16, version 4"
        )
    if offset == 0:
        notes.append("the header does not state where the samples of its MATLAB file begin; its head was left out")
        return MATLAB_4.size + length
    return offset


def _rows_of_matrix(path: Path, signals: list[HeaderSignal], samples: int | None) -> list[Steps]:
    """Read the steps out of a MATLAB file of version 5 to 7, which the formats of WFDB do not describe."""
    matrix = matlab_matrix(path)
    if len(matrix) != len(signals) or any(signal.per_frame != 1 for signal in signals):
        raise UserError("its MATLAB file does not hold a row for each signal")
    if matrix.shape[1] < (samples or 1):
        raise UserError("its MATLAB file is shorter than the header says, probably cut off")
    if not np.array_equal(matrix, np.rint(matrix)):
        raise UserError("its MATLAB file does not hold converter steps, which are whole numbers")
    return list(matrix[:, : samples or matrix.shape[1], None].astype(np.int64))
