"""Matrices in MATLAB files, versions 4 to 7: the form in which the PhysioNet Challenges hand out recordings.

Such a file holds a matrix ``val`` of converter steps, a row a lead; what they mean stands in a WFDB header beside it,
or is declared as for NumPy arrays. The file is read by scipy in a process of its own, within bounds.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.library_process import library_process
from ecgcmr.formats.limits import MAX_FILE_BYTES, check_size, read_content
from ecgcmr.formats.loaded_signal import LoadedSignal, leads_are_rows

MATLAB_5 = b"MATLAB 5.0"
MATLAB_4 = struct.Struct("<5i")
"""Type, rows, columns, whether it is complex, length of the variable's name."""
_TYPES = (0, 10, 20, 30, 40, 50)  # of full matrices of numbers, little-endian


def is_matlab(head: bytes) -> bool:
    """Tell from the first bytes whether a file is one of MATLAB, version 4 to 7, that begins with a matrix."""
    return head.startswith(MATLAB_5) or matlab_4(head) is not None


def matlab_4(head: bytes) -> tuple[int, int, int, int] | None:
    """Return type, rows, columns and the length of the name of the matrix with which a file of version 4 begins."""
    if len(head) < MATLAB_4.size:
        return None
    kind, rows, columns, imaginary, length = MATLAB_4.unpack_from(head)
    name = head[MATLAB_4.size : MATLAB_4.size + max(length, 0)]
    plain = name.endswith(b"\0") and name[:-1].replace(b"_", b"").isalnum()
    if kind in _TYPES and rows > 0 and columns > 0 and imaginary == 0 and 2 <= length <= 64 and plain:
        return kind, rows, columns, length
    return None


def header_of(path: Path) -> Path | None:
    """Return the WFDB header beside a file, if there is one."""
    header = path.with_suffix(".hea")
    return header if header.is_file() else None


def load_matlab(path: Path, declared: tuple[str, ...]) -> LoadedSignal:
    """Load a matrix, (leads, T) or (T, leads), told apart by the number of leads declared.

    Raises:
        UserError: Damaged, no such matrix, or of another number of leads.
    """
    matrix = matlab_matrix(path)
    in_rows = leads_are_rows((len(matrix), matrix.shape[1]), declared)
    return LoadedSignal(declared, np.ascontiguousarray(matrix if in_rows else matrix.T))


def matlab_matrix(path: Path) -> npt.NDArray[np.float64]:
    """Return the matrix ``val``, or the only matrix of numbers that a file holds.

    Raises:
        UserError: Damaged, too large, or without such a matrix.
    """
    answer = library_process().ask({"do": "matrix"}, read_content(path, MAX_FILE_BYTES))
    fault = answer.found.get("fault")
    if fault == "size":
        check_size(1, 10**12)
    if fault == "no matrix":
        raise UserError("holds no matrix `val`, nor a single other one of numbers; save the recording as `val`")
    if fault is not None:
        raise UserError(f"cannot be read as a MATLAB file ({fault}), probably damaged")
    rows, columns = answer.found["shape"]
    check_size(min(rows, columns), max(rows, columns))
    return answer.values.reshape(rows, columns)
