"""PTB-XL as downloaded: patients as subjects, folds as splits, six sets of statements; features of PTB-XL+."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.ptbxl import DATABASE, PTBXLRecord, read_ptbxl
from ecgcmr.formats.ptbxl_plus import PlusFeatures, read_plus
from ecgcmr.formats.ptbxl_statements import STATEMENTS, SUPERCLASS, StatementSet, read_statement_sets
from ecgcmr.formats.table_numbers import Numbers
from ecgcmr.label_declarations import YES_NO, DeclaredLabel
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.label_columns import LabelCounts, label_columns, usable
from ecgcmr.preparation.labels import AGE, SEX

FINDINGS = {
    "NORM": "Normal ECG",
    "MI": "Myocardial infarction",
    "STTC": "ST/T change",
    "CD": "Conduction disturbance",
    "HYP": "Hypertrophy",
}
PTBXL_LABELS = (
    *(DeclaredLabel(name, YES_NO, group=SUPERCLASS, title=title) for name, title in FINDINGS.items()),
    AGE,
    SEX,
)
"""The labels that come first, whatever else a folder tells of its recordings."""


class PTBXLCollection:
    """The recordings of a PTB-XL folder."""

    def __init__(self, folder: Path, plus: Path | None = None, features: str = "global") -> None:
        """Take the folder of ``ptbxl_database.csv``.

        Args:
            folder: The folder.
            plus: That of PTB-XL+, whose features become labels.
            features: Which of them: ``global`` or ``all``.
        """
        self.folder = folder
        self.plus = plus
        self.features = features

    @cached_property
    def _records(self) -> list[PTBXLRecord]:
        records = read_ptbxl(self.folder)
        if not records:
            raise UserError(f"{DATABASE}: lists no recording")
        return records

    @cached_property
    def _sets(self) -> list[StatementSet]:
        return [one for one in read_statement_sets(self.folder) if one.name != SUPERCLASS]

    @cached_property
    def _features(self) -> tuple[PlusFeatures, ...]:
        return () if self.plus is None else read_plus(self.plus, self.features)

    def labels(self) -> Sequence[DeclaredLabel]:
        """Return superclasses, age and sex, then the other sets of statements, then features of PTB-XL+."""
        _ = self._records  # what the folder lacks is said of this table first
        try:
            statements = [
                DeclaredLabel(statement_label(one.name, name), YES_NO, group=one.name, title=title[:200])
                for one in self._sets
                for name, title in one.titles.items()
            ]
        except UserError as error:
            raise UserError(f"{STATEMENTS}: {error}") from error
        return [*PTBXL_LABELS, *statements, *(label for one in self._features for label in feature_labels(one))]

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate a recording.

        The highest fold tests, the next validates, the rest train; with fewer than three folds the hash decides.

        Raises:
            UserError: A table is missing, damaged or empty.
        """
        records = self._records
        folds = sorted({record.fold for record in records})
        split_of: dict[int, str] = {}
        if len(folds) >= 3:
            split_of = {**dict.fromkeys(folds[:-2], "train"), folds[-2]: "val", folds[-1]: "test"}
            notes.split_rule = {"by": "strat_fold", "val": folds[-2], "test": folds[-1]}
        self._remark(records, notes)
        labels = label_values(records, self._sets, notes.counts)
        measured = [one.of([record.ecg_id for record in records]) for one in self._features]
        labels = np.concatenate([labels, *measured], axis=1)
        for record, values in zip(records, labels, strict=True):
            inside = record.path.is_relative_to(self.folder)
            yield Candidate(
                subject=record.patient_id,
                ecg=record.path,
                labels=values,
                split=split_of.get(record.fold),
                id=record.ecg_id,
                ecg_name=record.path.relative_to(self.folder).as_posix() if inside else "",
            )

    def _remark(self, records: Sequence[PTBXLRecord], notes: SearchNotes) -> None:
        """Say which statements are of no set, and how many recordings PTB-XL+ lacks."""
        known = {statement for one in self._sets for statement in one.class_of}
        unknown = sorted({statement for record in records for statement in record.statements - known})
        if unknown:
            some = ", ".join(unknown[:5]) + (" ..." if len(unknown) > 5 else "")
            notes.remarks.append(f"{DATABASE}: {len(unknown)} statements stand not in {STATEMENTS}: {some}")
        for one in self._features:
            lacking = sum(record.ecg_id not in one.row_of for record in records)
            if lacking:
                notes.remarks.append(f"{one.provider}_features.csv: lacks {lacking} of {len(records)} recordings")


def statement_label(name: str, of_class: str) -> str:
    """Return the name of a label: ``diagnostic`` and ``NST_`` give ``diagnostic_nst``."""
    return f"{name}_{re.sub(r'[^a-z0-9]+', '_', of_class.lower()).strip('_')}"


def feature_labels(features: PlusFeatures) -> list[DeclaredLabel]:
    """Return the labels of one program's features, such as ``qrs_dur_global_12sl``."""
    labels = []
    for name in features.names:
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        title = f"{name} by {features.provider}"
        labels.append(DeclaredLabel(f"{plain}_{features.provider}", group=features.provider, title=title))
    return labels


def label_values(
    records: Sequence[PTBXLRecord], sets: Sequence[StatementSet], counts: LabelCounts
) -> npt.NDArray[np.float32]:
    """Return the labels of n recordings: superclasses, age, sex, and one of each class of each further set.

    Where a recording has no statement of a set, all of that set is missing.

    Args:
        records: The recordings.
        sets: The label sets besides the superclasses.
        counts: Implausible ages are added here.

    Returns:
        (n, 7 + classes), NaN = missing.
    """
    age = np.array([record.age for record in records], dtype=np.float64)
    sex = np.array([record.male for record in records], dtype=np.float64)
    people = [
        usable(column, Numbers(values, np.zeros(len(records), dtype=bool)), counts)
        for declared, values in ((AGE, age), (SEX, sex))
        for column in label_columns(declared)
    ]
    blocks = [_one_hot([record.superclasses for record in records], list(FINDINGS))]
    blocks.append(np.stack(people, axis=1).astype(np.float32))
    blocks += [_one_hot([one.found(record.statements) for record in records], list(one.titles)) for one in sets]
    return np.concatenate(blocks, axis=1)


def _one_hot(found: Sequence[frozenset[str] | None], classes: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return (n, classes): 1 and 0, NaN throughout where nothing was found."""
    place = {name: column for column, name in enumerate(classes)}
    values = np.zeros((len(found), len(classes)), dtype=np.float32)
    for row, names in enumerate(found):
        if names is None:
            values[row] = np.nan
        else:
            values[row, [place[name] for name in names if name in place]] = 1.0
    return values
