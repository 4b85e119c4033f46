"""Subjects to rows: each member's files are read, cleaned and measured; what fails is told and costs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.ecg_file import read_ecg
from ecgcmr.formats.ecg_reader import NamedReader
from ecgcmr.formats.image_files import ImageFiles
from ecgcmr.formats.record import MILLIVOLTS, ECGRecord
from ecgcmr.formats.record_reader import RecordReader
from ecgcmr.formats.short_axis_file import cine_notes, read_cmr
from ecgcmr.formats.signal_declaration import SignalDeclaration
from ecgcmr.preparation.beats import BeatMarks, mark_beats, measure_beats
from ecgcmr.preparation.cine import frames_and_masks
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.preparation.clipping import clipped_of
from ecgcmr.preparation.ecg import StandardECG, StandardOptions, standard_windows
from ecgcmr.preparation.lead_quality import assess_leads
from ecgcmr.preparation.stored_ecg import stored_ecg
from ecgcmr.preparation.t_end import t_end_of
from ecgcmr.shards.layout import MASK_UNKNOWN, WAVES, Layout
from ecgcmr.shards.shard import Beats, LeadQuality, ShardRows


@dataclass(frozen=True)
class Member:
    """One row to be: a subject with an ECG, images, or both.

    Attributes:
        row: Keyed hash of the row, for good.
        subject: Keyed hash of the subject.
        split: ``train``, ``val`` or ``test``.
        labels: (L,) float32, those that come from tables.
        ecg: The ECG file, if there is one.
        cmr: The folder or zip of images, or the images file by file, if there are any.
        read_by: What reads the recording out of a file of many; None where the file's content decides.
    """

    row: str
    subject: str
    split: str
    labels: npt.NDArray[np.float32] = field(repr=False)
    ecg: Path | None = field(repr=False)
    cmr: Path | ImageFiles | None = field(repr=False)
    read_by: RecordReader | None = field(default=None, repr=False)

    def read_ecg(self, declaration: SignalDeclaration | None, reader: NamedReader | None) -> ECGRecord:
        """Read the member's recording.

        Raises:
            UserError: The file is missing or damaged, or the recording has another unit than was announced.
            ValueError: The member has no ECG.
        """
        if self.ecg is None:
            raise ValueError("the member has no ECG")
        if self.read_by is None:
            record, unit = read_ecg(self.ecg, declaration, reader), MILLIVOLTS
        else:
            record, unit = self.read_by.read(self.ecg), self.read_by.unit
        if record.unit != unit:
            raise UserError(f"{self.ecg.name}: is in {record.unit}, not in {unit}")
        return record


@dataclass(frozen=True)
class Remark:
    """Something to report of one member.

    Attributes:
        member: Position among the task's members.
        part: ``ecg`` or ``cmr``.
        file: The file's name within the subject's folder, or empty.
        text: Reason or note.
    """

    member: int
    part: str
    file: str
    text: str


@dataclass(frozen=True)
class Reading:
    """How files are read, see ``ShardTask``."""

    layout: Layout
    standard: StandardOptions
    cine: CineOptions | None
    view: str
    declaration: SignalDeclaration | None
    reader: NamedReader | None


@dataclass
class Row:
    """One row in the types of storage; parts that are absent are None.

    Attributes:
        member_number: Position of its member among the task's.
        member: Whose it is.
        ecg: (12, samples).
        cmr: (F, H, W) uint8.
        cmr_mask: (F, H, W) uint8.
        marks: The beats.
        flags: (12,) uint8.
        quality: (12,) float32.
        measured: Measurement's name -> value.
    """

    member_number: int
    member: Member
    ecg: npt.NDArray | None = None
    cmr: npt.NDArray[np.uint8] | None = None
    cmr_mask: npt.NDArray[np.uint8] | None = None
    marks: BeatMarks | None = None
    flags: npt.NDArray[np.uint8] | None = None
    quality: npt.NDArray[np.float32] | None = None
    measured: dict[str, float] = field(default_factory=dict)


class RowBuilder:
    """Collects the rows of one shard; a failure of one file becomes a remark.

    Attributes:
        rows: So far, in order of the members; a long recording may have given several.
        problems: Files that could not be used.
        notes: Remarks on files that were used.
        clipped: For each recording how many leads the cleaning clipped, and what share of all samples.
        formats: What the ECG files were that gave a recording -> how many.
    """

    def __init__(self, reading: Reading) -> None:
        """Prepare the cleaning; nothing is read."""
        self.reading = reading
        self.rows: list[Row] = []
        self.problems: list[Remark] = []
        self.notes: list[Remark] = []
        self.clipped: list[tuple[int, float]] = []
        self.formats: Counter[str] = Counter()
        recipe = reading.layout.preparation.get("ecg")
        self._cleaning = None if recipe is None else Cleaning.from_dict(recipe["cleaning"])

    def add(self, number: int, member: Member) -> None:
        """Read one member's files; frames go to the first of several windows of its recording."""
        rows: list[Row] = []
        if member.ecg is not None and self.reading.layout.ecg is not None:
            with self._reporting(number, "ecg", member.ecg.name):
                rows = self._ecg_rows(number, member)
        if member.cmr is not None and self.reading.cine is not None:
            with self._reporting(number, "cmr", member.cmr.name):
                images = read_cmr(member.cmr, self.reading.view)
                made = frames_and_masks(images, self.reading.cine)
                rows = rows or [Row(number, member)]
                rows[0].cmr, rows[0].cmr_mask = made.frames, made.masks
                notes = (*cine_notes(images), *([made.note] if made.note else []))
                self.notes += [Remark(number, "cmr", "", note) for note in notes]
        self.rows += rows

    def _ecg_rows(self, number: int, member: Member) -> list[Row]:
        record = member.read_ecg(self.reading.declaration, self.reading.reader)
        windows = standard_windows(record, self.reading.standard)
        rows = [self._ecg_row(number, member, window) for window in windows]
        self.formats[record.format or "no stated format"] += 1
        notes = (*record.notes, *(note for window in windows for note in window.notes))
        self.notes += [Remark(number, "ecg", "", note) for note in notes]
        return rows

    def _ecg_row(self, number: int, member: Member, window: StandardECG) -> Row:
        layout = self.reading.layout.ecg
        if layout is None or self._cleaning is None:
            raise ValueError("the layout has no ECG")
        row = Row(number, member, ecg=stored_ecg(window, self._cleaning, layout.dtype))
        clipped = clipped_of(window.signal, self._cleaning, layout.sampling_rate)
        if clipped is not None:
            self.clipped.append((len(clipped.leads), clipped.share))
        if layout.max_beats:
            row.marks = mark_beats(window.signal, layout.sampling_rate, layout.max_beats, t_end_of(self.reading.layout))
            assessed = assess_leads(
                window.signal, layout.sampling_rate, row.marks.r_peaks, window.derived, unit=window.unit
            )
            row.flags, row.quality = assessed.flags, assessed.index
            row.measured = measure_beats(row.marks, layout.sampling_rate, assessed.index)
        return row

    def shard_rows(self) -> ShardRows:
        """Stack the rows as a shard takes them."""
        layout, rows = self.reading.layout, self.rows
        has_ecg = np.array([row.ecg is not None for row in rows])
        has_cmr = np.array([row.cmr is not None for row in rows])
        beats = quality = None
        if layout.ecg is not None and layout.ecg.max_beats:
            beats = stack_beats([row.marks for row in rows], layout.ecg.max_beats)
        if layout.ecg is not None and layout.ecg.quality:
            leads = len(layout.ecg.leads)
            quality = LeadQuality(
                np.stack([np.zeros(leads, np.uint8) if row.flags is None else row.flags for row in rows]),
                np.stack([np.full(leads, np.nan, np.float32) if row.quality is None else row.quality for row in rows]),
            )
        masks = None
        if layout.cmr is not None and layout.cmr.mask:
            masks = _stack([row.cmr_mask for row in rows], layout.cmr.shape, layout.cmr.dtype, MASK_UNKNOWN)
        return ShardRows(
            subject=[row.member.subject for row in rows],
            split=[row.member.split for row in rows],
            ecg=None if layout.ecg is None else _stack([row.ecg for row in rows], layout.ecg.shape, layout.ecg.dtype),
            has_ecg=has_ecg,
            cmr=None if layout.cmr is None else _stack([row.cmr for row in rows], layout.cmr.shape, layout.cmr.dtype),
            has_cmr=has_cmr,
            labels=np.stack([self._labels(row) for row in rows]),
            beats=beats,
            quality=quality,
            cmr_mask=masks,
        )

    def _labels(self, row: Row) -> npt.NDArray[np.float32]:
        names = self.reading.layout.label_names[len(row.member.labels) :]
        measured = [row.measured.get(name, np.nan) for name in names]
        return np.concatenate([row.member.labels, np.array(measured, dtype=np.float32)]).astype(np.float32)

    @contextmanager
    def _reporting(self, member: int, part: str, name: str) -> Iterator[None]:
        """Turn a failure of one member into a problem to report, so that it does not stop the others."""
        try:
            yield
        except UserError as error:
            message = str(error).removeprefix(f"{name}: ")
            file, separator, reason = message.partition(": ")
            is_file = bool(separator) and file.endswith((".nii", ".nii.gz"))
            self.problems.append(Remark(member, part, file if is_file else "", reason if is_file else message))
        except OSError as error:
            self.problems.append(Remark(member, part, "", f"cannot be read ({error.strerror})"))
        except MemoryError:
            raise
        except Exception as error:  # a fault of this program with one strange file must not cost the other files
            reason = f"unexpected {type(error).__name__}; please report it as a bug"
            self.problems.append(Remark(member, part, "", reason))


def stack_beats(marks: Sequence[BeatMarks | None], max_beats: int) -> Beats:
    """Pad each recording's beats with -1 to (n, max_beats) R peaks and (n, max_beats, 8) waves."""
    waves = len(WAVES)
    stacked = Beats(
        np.full((len(marks), max_beats), -1, dtype=np.int16), np.full((len(marks), max_beats, waves), -1, np.int16)
    )
    for row, mark in enumerate(marks):
        if mark is not None:
            count = len(mark.r_peaks)
            stacked.r_peaks[row, :count] = mark.r_peaks
            stacked.waves[row, :count] = mark.waves
    return stacked


def _stack(records: Sequence[npt.NDArray | None], shape: tuple[int, ...], dtype: str, absent: float = 0) -> npt.NDArray:
    stacked = np.full((len(records), *shape), absent, dtype=dtype)
    for i, record in enumerate(records):
        if record is not None:
            stacked[i] = record
    return stacked
