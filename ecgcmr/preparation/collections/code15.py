"""CODE-15 % and SaMi-Trop: telehealth ECGs of Minas Gerais in HDF5 files, with findings and time to death.

Ribeiro et al., Nature Communications 2020 (CODE); Zenodo 4916206 and 4905618. Of CODE-15 % the table is in no order of
the files: each of the 18 parts says itself whose exam a row is. SaMi-Trop has one file, whose rows are those of its
table. In both, shorter recordings lie between zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.array_rows import HDF5Row, RowContent, hdf5_dataset
from ecgcmr.formats.limits import naming
from ecgcmr.formats.plain_table import find_file, numbers, read_plain_table, require_file
from ecgcmr.formats.regular_file import require_regular
from ecgcmr.label_declarations import EVENT, YES_NO, DeclaredLabel
from ecgcmr.preparation.collections.inside import is_inside
from ecgcmr.preparation.collections.label_frames import label_rows, yes_no
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.folder_checks import require_folder
from ecgcmr.preparation.labels import AGE, SEX
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.shards.layout import LEADS

EXAMS = "exams.csv"
WHOLE = "exams.hdf5"
"""The one file of SaMi-Trop."""
TRACINGS, EXAM_IDS = "tracings", "exam_id"
CONTENT = RowContent(LEADS, sampling_rate=400.0, is_zero_padded=True)
PADDING_ROW = 0
"""Exam id of the row of zeros that ends each part."""
FINDINGS = {
    "avb_1d": ("1davb", "First-degree AV block"),
    "rbbb": ("rbbb", "Right bundle branch block"),
    "lbbb": ("lbbb", "Left bundle branch block"),
    "sb": ("sb", "Sinus bradycardia"),
    "st": ("st", "Sinus tachycardia"),
    "af": ("af", "Atrial fibrillation"),
}
"""Label -> column, title. A label's name cannot begin with a digit."""
LARGEST_CHUNKS = 32 * 2**20
"""Bytes that may have to be unpacked for one recording before the user hears of it."""


class Code15Collection:
    """The recordings of a CODE-15 % or a SaMi-Trop folder."""

    def __init__(self, options: PrepareOptions) -> None:
        """Take the folder from ``options.ecg``.

        Raises:
            UserError: There is no such folder.
        """
        self.folder = require_folder(options.ecg or Path(), "--ecg")
        self.whole = find_file(self.folder, WHOLE)

    def labels(self) -> Sequence[DeclaredLabel]:
        """Return findings (not of SaMi-Trop), whether the ECG is normal, death with its time, age and sex."""
        findings = () if self.whole is not None else FINDINGS.items()
        return (
            *(DeclaredLabel(name, YES_NO, group="findings", title=title) for name, (_, title) in findings),
            DeclaredLabel("normal_ecg", YES_NO, group="normal", title="Normal ECG"),
            DeclaredLabel("death", EVENT, group="mortality", title="death", time="timey"),
            AGE,
            SEX,
        )

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate an exam; no signal is opened.

        Raises:
            UserError: The table or every part is missing, one is damaged, or rows of both do not fit each other.
        """
        path = require_file(self.folder, "--ecg", EXAMS)
        columns: tuple[str, ...] = ("exam_id", "age", "is_male", "normal_ecg", "death", "timey")
        if self.whole is None:
            columns += ("patient_id", "trace_file", *(column for column, _ in FINDINGS.values()))
        table = read_plain_table(path, columns)
        notes.files.append(path.name)
        table["exam"] = numbers(table["exam_id"])
        if table["exam"].isna().any() or table["exam"].duplicated().any():
            raise UserError(f"{path.name}: an exam_id is missing, no number or there twice; download the table again")
        labels = label_rows(_values(table), self.labels(), notes.counts)
        if self.whole is not None:
            yield from self._of_whole(self.whole, table, labels, path.name, notes)
        else:
            yield from self._of_parts(table, labels, path.name, notes)

    def _of_whole(
        self, path: Path, table: pd.DataFrame, labels: npt.NDArray[np.float32], name: str, notes: SearchNotes
    ) -> Iterator[Candidate]:
        """Yield SaMi-Trop's exams, one a patient: row i of the file is row i of the table."""
        rows, _ = _rows_of(path, notes, has_ids=False)
        if rows != len(table):
            raise UserError(
                f"{path.name}: has {rows} rows and {name} {len(table)}; they are joined by position alone, so take "
                "both from one download"
            )
        for row, exam in enumerate(table["exam"].astype("int64")):
            yield _candidate(path, row, exam, str(exam), labels[row])

    def _of_parts(
        self, table: pd.DataFrame, labels: npt.NDArray[np.float32], name: str, notes: SearchNotes
    ) -> Iterator[Candidate]:
        """Yield CODE-15 %'s exams, each from the row of its part that bears its id."""
        found = 0
        absent = 0
        for part, exams in table.groupby("trace_file", sort=True, dropna=False):
            path = find_file(self.folder, part) if isinstance(part, str) and is_inside(part) else None
            if path is None:
                notes.skip(str(part)[:60], f"missing, so that {len(exams)} exams are left out")
                continue
            found += 1
            _, ids = _rows_of(path, notes, has_ids=True)
            row_of = {int(exam): row for row, exam in enumerate(ids) if exam != PADDING_ROW}
            if len(row_of) < int((ids != PADDING_ROW).sum()):
                raise UserError(f"{path.name}: an exam_id is there twice; download the part again")
            for place, exam, patient in zip(exams.index, exams["exam"], exams["patient_id"], strict=True):
                row = row_of.get(int(exam))
                if row is None or not isinstance(patient, str):
                    absent += 1
                    continue
                yield _candidate(path, row, int(exam), patient.removesuffix(".0"), labels[place])
        if not found:
            raise UserError(f"--ecg {self.folder}: holds none of the parts that {name} names; unpack exams_part*.zip")
        if absent:
            notes.remarks.append(f"{name}: {absent} exams are in no row of their part, or of no patient")


def _values(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the values of labels, as texts of numbers."""

    def truth(column: str) -> pd.Series:
        return yes_no(table[column], ("true", "1", "1.0"), ("false", "0", "0.0"))

    # Death and its time are known of a patient's first exam alone, and elsewhere neither yes nor no.
    values = {"normal_ecg": truth("normal_ecg"), "death": truth("death"), "death_years": table["timey"]}
    values |= {"age": table["age"], "sex": truth("is_male")}
    return values | {name: truth(column) for name, (column, _) in FINDINGS.items() if column in table}


def _candidate(path: Path, row: int, exam: int, subject: str, labels: npt.NDArray[np.float32]) -> Candidate:
    return Candidate(
        subject=subject,
        ecg=path,
        labels=labels,
        id=str(exam),
        ecg_name=f"{path.name}, row {row}",
        read_by=HDF5Row(row, TRACINGS, CONTENT),
    )


def _rows_of(path: Path, notes: SearchNotes, *, has_ids: bool) -> tuple[int, npt.NDArray[np.int64]]:
    """Return how many recordings a file has and, if it has them, the exam id of each row.

    Raises:
        UserError: The file is damaged, or its ids and recordings differ in number.
    """
    import h5py

    with naming(path):
        require_regular(path)
        try:
            with h5py.File(path, "r", locking=False) as file:
                tracings = hdf5_dataset(file, TRACINGS)
                CONTENT.check(tracings.shape, tracings.dtype)
                rows = tracings.shape[0]
                ids = np.empty(0, dtype=np.int64)
                if has_ids:
                    stored = hdf5_dataset(file, EXAM_IDS)
                    if stored.shape != (rows,) or stored.dtype.kind not in "iuf":
                        raise UserError(f"has {rows} recordings and exam_id of shape {stored.shape}")
                    ids = _whole_numbers(np.asarray(stored[:]))
                if _unpacked_for_a_row(tracings.shape, tracings.chunks, tracings.dtype.itemsize) > LARGEST_CHUNKS:
                    notes.remarks.append(
                        f"{path.name}: its chunks lie across recordings, so that each is slow to read; h5repack -l "
                        f"{TRACINGS}:CONTI makes it fast"
                    )
        except UserError:
            raise
        except Exception as error:  # h5py meets a damaged file with whatever its library happens to say
            raise UserError(f"cannot be read as HDF5 ({type(error).__name__})") from error
    return rows, ids


def _whole_numbers(ids: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Return exam ids as whole numbers.

    Raises:
        UserError: One is none: rounded, it would be somebody else's.
    """
    exact = ids.astype(np.float64)
    if not (np.isfinite(exact) & (exact == np.floor(exact))).all():
        raise UserError(f"an {EXAM_IDS} is missing or no whole number; download the part again")
    return ids.astype(np.int64)


def _unpacked_for_a_row(shape: tuple[int, ...], chunks: tuple[int, ...] | None, itemsize: int) -> int:
    """Return how many bytes of chunks one row touches."""
    if chunks is None:
        return 0
    across = [-(-size // chunk) for size, chunk in zip(shape[1:], chunks[1:], strict=True)]
    return int(np.prod([*chunks, *across], dtype=np.float64)) * itemsize
