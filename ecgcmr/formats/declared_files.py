"""Recordings that are a file each, of which a collection says what the file does not: leads, rate, unit, a factor."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.array_rows import RowContent, hdf5_dataset
from ecgcmr.formats.ecg_file import ecg_files, read_ecg
from ecgcmr.formats.limits import check_size, naming, read_content
from ecgcmr.formats.record import MILLIVOLTS, ECGRecord, ecg_record
from ecgcmr.formats.regular_file import require_regular
from ecgcmr.formats.signal_declaration import SignalDeclaration


@dataclass(frozen=True)
class DeclaredFile:
    """A table of a column a lead, as ``--declare`` would say it.

    Attributes:
        leads: Names in the order of the columns; those of the columns themselves count first.
        sampling_rate: In Hz.
        stored_unit: A unit of voltage, after a factor if need be: ``0.061 uV``.
    """

    leads: tuple[str, ...]
    sampling_rate: float
    stored_unit: str

    place = ""
    unit = MILLIVOLTS

    def files(self, path: Path) -> list[Path]:
        """Return the file alone: a declaration beside it does not count."""
        return [path]

    def read(self, path: Path) -> ECGRecord:
        """Read the file.

        Raises:
            UserError: It is missing, damaged, or does not fit what is declared.
        """
        return read_ecg(path, SignalDeclaration(self.leads, self.stored_unit, self.sampling_rate))


@dataclass(frozen=True)
class LeadRowsFile:
    """Separated text without names, a row a lead.

    Attributes:
        content: What the rows are; time comes last.
    """

    content: RowContent

    place = ""

    @property
    def unit(self) -> str:
        """What the record is in."""
        return self.content.unit

    def files(self, path: Path) -> list[Path]:
        """Return the file alone."""
        return [path]

    def read(self, path: Path) -> ECGRecord:
        """Read the file.

        Raises:
            UserError: It is missing or damaged, or has another number of rows than leads.
        """
        with naming(path):
            require_regular(path)
            content = read_content(path)
            leads = len(self.content.leads)
            check_size(leads, 1 + content.count(b",") // leads)
            try:
                values = np.loadtxt(io.BytesIO(content), delimiter=",", dtype=np.float64, ndmin=2)
            except ValueError as error:
                raise UserError("holds no table of numbers, a row for each lead") from error
            return self.content.record(values)


@dataclass(frozen=True)
class WholeHDF5:
    """One data set of an HDF5 file, which is the whole recording.

    Attributes:
        dataset: Its name; empty for the only one of the file.
        content: What its axes are.
    """

    dataset: str
    content: RowContent

    @property
    def place(self) -> str:
        """The data set's name, where one is given."""
        return self.dataset

    @property
    def unit(self) -> str:
        """What the record is in."""
        return self.content.unit

    def files(self, path: Path) -> list[Path]:
        """Return the HDF5 file alone."""
        return [path]

    def read(self, path: Path) -> ECGRecord:
        """Read the data set.

        Raises:
            UserError: The file is missing or damaged, has no such data set, or it is no recording.
        """
        import h5py

        with naming(path):
            require_regular(path)
            try:
                with h5py.File(path, "r", locking=False) as file:
                    found = hdf5_dataset(file, self.dataset or self._only(list(file)))
                    leads = len(self.content.leads)
                    check_size(leads, max(1, int(np.prod(found.shape, dtype=np.float64)) // leads))
                    return self.content.record(np.asarray(found[()]))
            except (OSError, RuntimeError, KeyError, ValueError) as error:
                raise UserError(f"cannot be read as HDF5 ({type(error).__name__})") from error

    def _only(self, names: list[str]) -> str:
        if len(names) != 1:
            raise UserError(f"holds {len(names)} data sets, not one recording alone")
        return names[0]


@dataclass(frozen=True)
class ScaledFile:
    """A file of any kind whose own unit is wrong by a factor that its publisher's users have found.

    Attributes:
        factor: By which its millivolts are multiplied.
    """

    factor: float

    place = ""
    unit = MILLIVOLTS

    def files(self, path: Path) -> list[Path]:
        """Return the file and those that it names."""
        return ecg_files(path)

    def read(self, path: Path) -> ECGRecord:
        """Read the file and multiply.

        Raises:
            UserError: It is missing, damaged or of no known kind.
        """
        record = read_ecg(path)
        with naming(path):
            return ecg_record(record.signal * self.factor, record.leads, record.sampling_rate, others=record.others)
