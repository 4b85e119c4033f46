"""The compiled loop that copies records from files into a batch's buffer, outside Python's global lock.

Because the loop holds no lock, threads read side by side and beside the training step, and a batch costs one call
instead of one per record.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types

GOOD, UNREAD, NOT_FINITE = 0, 1, 2
"""What can be said of a record after reading."""

AVAILABLE = hasattr(ctypes.CDLL(None), "preadv") and ctypes.sizeof(ctypes.c_void_p) == 8
"""Whether this system has the call the loop is built on; without it records are read through HDF5."""

_preadv = types.ExternalFunction("preadv", types.intp(types.intc, types.uintp, types.intc, types.int64))


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with numba; where no cache folder can be written, compile anew in every process."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found neither __pycache__, NUMBA_CACHE_DIR nor a user cache to write to
        return numba.njit(nogil=True)(function)


@_compile
def copy_records(files: Any, offsets: Any, buffer: Any, pieces: int, stride: int, scratch: Any, status: Any) -> None:
    """Fill row i of ``buffer`` with ``pieces`` equally long parts of a file that start ``stride`` bytes apart.

    A lead's crop is one part; what lies between two crops is read into ``scratch``, which stays in the processor's
    cache: one call for the whole record is faster than one for each lead.

    Args:
        files: (n,) int32 file descriptors.
        offsets: (n,) int64 bytes from the start of the file to the first part.
        buffer: (n, bytes) uint8, contiguous; ``bytes`` is a multiple of ``pieces``.
        pieces: Parts of a record.
        stride: Bytes from the start of a part to the start of the next.
        scratch: (at least stride - piece,) uint8.
        status: (n,) uint8; set to ``UNREAD`` where not all bytes came.
    """
    piece = buffer.shape[1] // pieces
    vector = np.empty((2 * pieces - 1, 2), np.int64)  # struct iovec: address, length
    for k in range(pieces - 1):
        vector[2 * k + 1, 0] = scratch.ctypes.data
        vector[2 * k + 1, 1] = stride - piece
    wanted = stride * (pieces - 1) + piece
    for i in range(files.shape[0]):
        for k in range(pieces):
            vector[2 * k, 0] = buffer[i].ctypes.data + k * piece
            vector[2 * k, 1] = piece
        if _preadv(files[i], vector.ctypes.data, vector.shape[0], offsets[i]) != wanted:
            status[i] = UNREAD


@_compile
def mark_not_finite(words: Any, magnitude: Any, infinity: Any, status: Any) -> None:
    """Set ``status`` to ``NOT_FINITE`` where a record holds NaN or infinity.

    An IEEE number is one of them if its magnitude, read as an integer, is at least that of infinity. Comparing
    integers costs a tenth of what asking each number costs.

    Args:
        words: (n, values) unsigned integers: the records' bits.
        magnitude: Mask of all bits but the sign, of the words' own type (another would widen the loop's vectors).
        infinity: Bits of infinity, of the same type.
        status: (n,) uint8.
    """
    for i in range(words.shape[0]):
        found = False
        for j in range(words.shape[1]):
            found |= (words[i, j] & magnitude) >= infinity
        if found:
            status[i] = NOT_FINITE
