"""The signal files of a WFDB record: checked against the header before anything is read, then decoded."""

from __future__ import annotations

import struct
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.limits import check_size, check_values
from ecgcmr.formats.regular_file import require_regular
from ecgcmr.formats.wfdb_header import HeaderSignal, is_plain
from ecgcmr.formats.wfdb_samples import BYTES, Steps, bytes_for, decode

_MATLAB_4 = struct.Struct("<5i")  # type, rows, columns, imaginary, length of the variable's name
_MATLAB_TYPES = {"16": 30, "32": 20}  # of a little-endian matrix; the header calls them by their WFDB format
_MATLAB_5 = b"MATLAB 5.0"


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
    offset = _offset(path, signals, notes)
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


def _offset(path: Path, signals: list[HeaderSignal], notes: list[str]) -> int:
    """Return where the samples begin: as stated, or after the head of a MATLAB file where the header forgets it."""
    with path.open("rb") as stream:
        head = stream.read(_MATLAB_4.size + 64)
    if head.startswith(_MATLAB_5):
        raise UserError("its signal file is a MATLAB file of version 5; save it as version 4 or write format 16")
    offset = signals[0].offset
    if len(head) < _MATLAB_4.size:
        return offset
    kind, rows, columns, imaginary, length = _MATLAB_4.unpack_from(head)
    name = head[_MATLAB_4.size : _MATLAB_4.size + max(length, 0)]
    is_matlab = (
        kind in (0, 10, 20, 30, 40, 50) and rows == len(signals) and columns > 0 and imaginary == 0
        and 2 <= length <= 64 and name.endswith(b"\0") and name[:-1].isalnum()
    )  # fmt: skip
    if not is_matlab:
        return offset
    wanted = _MATLAB_TYPES.get(signals[0].format)
    if kind != wanted:
        raise UserError(
            f"its MATLAB file does not hold the integers of format {signals[0].format}; save them as int16, version 4"
        )
    if offset == 0:
        notes.append("the header does not state where the samples of its MATLAB file begin; its head was left out")
        return _MATLAB_4.size + length
    return offset
