"""Recordings as rows of one large array: of an .npy file, mapped into memory, or of a data set of an HDF5 file.

A row is read alone, so that a file of many gigabytes costs no more memory than one recording.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.limits import check_size, naming
from ecgcmr.formats.record import MILLIVOLTS, Z_SCORE, ECGRecord, ecg_record
from ecgcmr.formats.regular_file import require_regular
from ecgcmr.formats.units import millivolts_per

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True)
class RowContent:
    """What every row of an array is: (T, leads), or (leads, T).

    Attributes:
        leads: Lead names in their order.
        sampling_rate: In Hz.
        stored_unit: A unit of voltage such as ``mV`` or ``uV``, or ``z-score``.
        time_first: Whether time is the axis before the leads.
        is_zero_padded: Whether zeros of all leads at both ends are no recording.
    """

    leads: tuple[str, ...]
    sampling_rate: float
    stored_unit: str = MILLIVOLTS
    time_first: bool = True
    is_zero_padded: bool = False

    @property
    def unit(self) -> str:
        """``mV`` or ``z-score``: what the records are in."""
        return Z_SCORE if self.stored_unit == Z_SCORE else MILLIVOLTS

    def check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Refuse an array of which no row can be such a recording, before any is read.

        Args:
            shape: Of the whole array, rows first; axes of length one before time and leads do not count.
            dtype: Its type.

        Raises:
            UserError: Its rows are of another shape, or no numbers.
        """
        if dtype.kind not in "fiu":
            raise UserError(f"its rows are no numbers, but of type {dtype}")
        axes = list(shape[1:])
        while len(axes) > 2 and axes[0] == 1:
            axes = axes[1:]
        if len(axes) != 2 or axes[1 if self.time_first else 0] != len(self.leads):
            raise UserError(f"its rows are of shape {shape[1:]}, not {self._wanted}")

    @property
    def _wanted(self) -> str:
        return f"(T, {len(self.leads)})" if self.time_first else f"({len(self.leads)}, T)"

    def record(self, values: npt.NDArray[np.generic]) -> ECGRecord:
        """Turn a row into a record.

        Args:
            values: (T, leads) or (leads, T); axes of length one before them do not count.

        Raises:
            UserError: It is of another shape, no numbers, or nothing but zeros.
        """
        shape = values.shape
        while values.ndim > 2 and values.shape[0] == 1:
            values = values[0]
        if values.dtype.kind not in "fiu":
            raise UserError("its rows are no numbers")
        if values.ndim != 2 or values.shape[1 if self.time_first else 0] != len(self.leads):
            raise UserError(f"its rows are of shape {shape}, not {self._wanted}")
        signal = np.array(values.T if self.time_first else values, dtype=np.float64)
        if self.is_zero_padded:
            signal = _without_padding(signal)
        if self.unit == MILLIVOLTS:
            signal *= millivolts_per(self.stored_unit)
        return ecg_record(signal, self.leads, self.sampling_rate, unit=self.unit)


def _without_padding(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    recorded = np.flatnonzero((signal != 0).any(axis=0))
    if not len(recorded):
        raise UserError("holds nothing but zeros")
    return signal[:, recorded[0] : recorded[-1] + 1]


class _ArrayRow:
    """What rows of both kinds have in common."""

    row: int
    content: RowContent
    title: ClassVar[str]

    @property
    def place(self) -> str:
        """Number of the row, as text."""
        return f"row {self.row}"

    @property
    def unit(self) -> str:
        """What the record is in."""
        return self.content.unit

    def files(self, path: Path) -> list[Path]:
        """Return the file that holds the array."""
        return [path]

    def _record(self, shape: tuple[int, ...], read: Callable[[], npt.NDArray[np.generic]]) -> ECGRecord:
        """Read the row once its size is known to be that of a recording."""
        if not shape or not 0 <= self.row < shape[0]:
            raise UserError(f"has {shape[0] if shape else 0} rows and no row {self.row}")
        leads = len(self.content.leads)
        check_size(leads, -(-math.prod(shape[1:]) // leads))
        return replace(self.content.record(read()), format=self.title)


@dataclass(frozen=True)
class NpyRow(_ArrayRow):
    """One row of an .npy file.

    Attributes:
        row: Its number, from 0.
        content: What the rows are.
    """

    row: int
    content: RowContent

    title: ClassVar[str] = "rows of a NumPy array"

    def read(self, path: Path) -> ECGRecord:
        """Read the row, and no other.

        Raises:
            UserError: The file is missing or damaged, has no such row, or the row is no recording.
        """
        with naming(path), np.errstate(all="ignore"):
            array = npy_array(path)
            return self._record(array.shape, lambda: np.array(array[self.row]))


@dataclass(frozen=True)
class HDF5Row(_ArrayRow):
    """One row of a data set of an HDF5 file.

    Attributes:
        row: Its number, from 0.
        dataset: Name of the data set.
        content: What the rows are.
    """

    row: int
    dataset: str
    content: RowContent

    title: ClassVar[str] = "rows of an HDF5 data set"

    def read(self, path: Path) -> ECGRecord:
        """Read the row, and no other.

        Raises:
            UserError: The file is missing or damaged, has no such data set or row, or the row is no recording.
        """
        import h5py

        with naming(path), np.errstate(all="ignore"):
            require_regular(path)
            try:
                with h5py.File(path, "r", locking=False) as file:
                    found = hdf5_dataset(file, self.dataset)
                    return self._record(found.shape, lambda: np.asarray(found[self.row]))
            except UserError:
                raise
            except Exception as error:  # h5py meets a damaged file with whatever its library happens to say
                raise UserError(f"cannot be read as HDF5 ({type(error).__name__})") from error


def npy_array(path: Path) -> npt.NDArray[np.generic]:
    """Map an .npy file into memory; nothing of it is unpickled, and no row is read yet.

    Raises:
        UserError: It is missing, damaged, shorter than its header says or holds objects; the message is without its
            name.
    """
    require_regular(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy meets a damaged header with whatever Python's own parser happens to raise
        raise UserError(f"cannot be read as an .npy array ({type(error).__name__})") from error
    if not isinstance(array, np.ndarray):
        raise UserError("is no .npy array")
    return array


def hdf5_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a data set that lies in the file itself.

    Raises:
        UserError: There is none of that name, or its values lie in other files.
    """
    import h5py

    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise UserError(f"holds no data set {name}")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise UserError(f"{name} is no data set whose values lie in this file")
    return found
