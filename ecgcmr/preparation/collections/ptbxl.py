"""PTB-XL as downloaded: patients as subjects, folds as splits, five diagnostic superclasses, age and sex."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.ptbxl import DATABASE, PTBXLRecord, read_ptbxl
from ecgcmr.label_declarations import YES_NO, DeclaredLabel
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.labels import AGE, SEX

FINDINGS = {
    "NORM": "Normal ECG",
    "MI": "Myocardial infarction",
    "STTC": "ST/T change",
    "CD": "Conduction disturbance",
    "HYP": "Hypertrophy",
}
PTBXL_LABELS = (
    *(DeclaredLabel(name, YES_NO, group="superclass", title=title) for name, title in FINDINGS.items()),
    AGE,
    SEX,
)


class PTBXLCollection:
    """The recordings of a PTB-XL folder."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of ``ptbxl_database.csv``."""
        self.folder = folder

    def labels(self) -> Sequence[DeclaredLabel]:
        """Return superclasses, age and sex."""
        return PTBXL_LABELS

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate a recording.

        The highest fold tests, the next validates, the rest train; with fewer than three folds the hash decides.

        Raises:
            UserError: A table is missing, damaged or empty.
        """
        records = read_ptbxl(self.folder)
        if not records:
            raise UserError(f"{DATABASE}: lists no recording")
        folds = sorted({record.fold for record in records})
        split_of: dict[int, str] = {}
        if len(folds) >= 3:
            split_of = {**dict.fromkeys(folds[:-2], "train"), folds[-2]: "val", folds[-1]: "test"}
            notes.split_rule = {"by": "strat_fold", "val": folds[-2], "test": folds[-1]}
        for record in records:
            inside = record.path.is_relative_to(self.folder)
            yield Candidate(
                subject=record.patient_id,
                ecg=record.path,
                labels=label_values(record),
                split=split_of.get(record.fold),
                id=record.ecg_id,
                ecg_name=record.path.relative_to(self.folder).as_posix() if inside else "",
            )


def label_values(record: PTBXLRecord) -> dict[str, object]:
    """Return the labels of one recording; a superclass is missing where it has no diagnostic statement at all."""
    found = record.superclasses
    findings = {name: None if found is None else name in found for name in FINDINGS}
    return {**findings, "age": record.age, "sex": record.male}
