"""What a collection of recordings is: where they are, whose they are, what is known of them, and in which split.

A collection of the user's own is a class with two methods; ``ecgcmr prepare --collection package.module:Class`` takes
it (docs/extending.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ecgcmr.formats.image_files import ImageFiles
from ecgcmr.formats.record_reader import RecordReader
from ecgcmr.label_declarations import DeclaredLabel
from ecgcmr.preparation.label_columns import LabelColumn, LabelCounts
from ecgcmr.preparation.table_use import TableUse


@dataclass(frozen=True)
class Candidate:
    """What may become a row: an ECG, images, or both, of one subject.

    Attributes:
        subject: The subject's id at the source; it leaves the program as a keyed hash alone.
        ecg: The ECG file, if there is one; of a WFDB record the header.
        cmr: The folder of NIfTI files or zip of DICOM files, or the images file by file, if there are any.
        labels: Name of a declared label -> number, truth value, text or None for missing; of an event also
            ``{name}_years`` in the declared unit of time. Or all columns of all labels in their order, (L,).
        split: ``train``, ``val`` or ``test``, the same for all of a subject; None leaves it to the subject's hash.
        id: Tells several recordings of one subject apart; a row is known by subject and id from run to run.
        ecg_name: What reports call the ECG file; empty for its own name.
        cmr_name: The same of the images.
        read_by: What reads the recording out of ``ecg``, such as a row of an array of many recordings
            (``ecgcmr.formats.array_rows``); None leaves it to the file's content.
    """

    subject: str = field(repr=False)
    ecg: Path | None = field(default=None, repr=False)
    cmr: Path | ImageFiles | None = field(default=None, repr=False)
    labels: Mapping[str, object] | npt.NDArray[np.float32] = field(default_factory=dict, repr=False)
    split: str | None = None
    id: str = field(default="", repr=False)
    ecg_name: str = field(default="", repr=False)
    cmr_name: str = field(default="", repr=False)
    read_by: RecordReader | None = field(default=None, repr=False)

    @property
    def identity(self) -> str:
        """The text of whose hash the row is made."""
        return f"{self.subject}\n{self.id}" if self.id else self.subject

    @property
    def place(self) -> str:
        """Where in the ECG file the recording lies; empty where it is the whole file."""
        return "" if self.read_by is None else self.read_by.place

    @property
    def files(self) -> list[tuple[str, str, Path]]:
        """(``ecg`` or ``cmr``, name for reports, path) of what it has."""
        images = self.cmr.folder if isinstance(self.cmr, ImageFiles) else self.cmr
        both = (("ecg", self.ecg_name, self.ecg, self.place), ("cmr", self.cmr_name, images, ""))
        return [
            (part, name or (f"{path.name}, {place}" if place else path.name), path)
            for part, name, path, place in both
            if path is not None
        ]

    def whereabouts(self, part: str, path: Path) -> tuple[Path, str]:
        """Return what no other candidate has: a path, and the place within it."""
        return path, self.place if part == "ecg" else ""


@dataclass
class SearchNotes:
    """What a collection found besides its candidates; all of it goes into the report.

    Attributes:
        skipped: (name, reason) of files that are left out.
        remarks: What the user should know of the whole.
        files: Names of further files that were read, such as tables.
        counts: What was wrong with label values.
        tables: What became of each table.
        without_row: Subjects with an ECG or images that stand in no table.
        split_rule: How subjects were divided, for the record in the shards; empty where that follows from the
            candidates.
    """

    skipped: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    counts: LabelCounts = field(default_factory=LabelCounts)
    tables: list[TableUse] = field(default_factory=list)
    without_row: int = 0
    split_rule: dict[str, object] = field(default_factory=dict)

    def skip(self, name: str, reason: str) -> None:
        """Note a file that is left out, by its own name, and why."""
        self.skipped.append((name, reason))


@runtime_checkable
class Collection(Protocol):
    """A data set. Its class takes what it needs, such as a folder, as arguments of its constructor."""

    def labels(self) -> Sequence[DeclaredLabel | LabelColumn]:
        """Return the labels that candidates may have, in the order of the cohort's columns."""
        ...

    def candidates(self, notes: SearchNotes) -> Iterable[Candidate]:
        """Yield everything there is; signals are not opened.

        Args:
            notes: Where to say what was left out and why.
        """
        ...
