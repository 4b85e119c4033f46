"""Kaggle's Second Annual Data Science Bowl (2015) as downloaded: 1,140 cines as folders of DICOM files, LV volumes.

A slice of the short axis has a folder ``sax_N`` of its own, which may hold several slices or a slice twice; the
two- and four-chamber views lie in ``2ch_N`` and ``4ch_N``. ``train.csv`` and ``validate.csv`` give the volumes at
systole and diastole, ``solution.csv`` those of the test part where the publisher has given it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.image_files import ImageFiles
from ecgcmr.label_declarations import DeclaredLabel
from ecgcmr.preparation.collections.cmr_tables import require_view, rows_by, table_rows, text_of
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.folder_checks import require_folder
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.splits import validation_part

PARTS = ("train", "validate", "test")
VIEWS = ("sax", "2ch", "4ch")
LABELS = (
    DeclaredLabel("systole", unit="mL", low=1, high=600, group="LV", title="LV volume at systole"),
    DeclaredLabel("diastole", unit="mL", low=1, high=700, group="LV", title="LV volume at diastole"),
)
_TABLES = ("train.csv", "validate.csv")
_SOLUTION = "solution.csv"


class DSB2015Collection:
    """The patients of a download."""

    def __init__(self, options: PrepareOptions) -> None:
        """Take ``options.cmr``: the folder of ``train.csv``.

        Raises:
            UserError: There is no such folder, or the view is the three-chamber view.
        """
        require_view(options.view, VIEWS, "the Data Science Bowl")
        self.folder, self.view = require_folder(options.cmr or Path(), "--cmr"), options.view

    def labels(self) -> Sequence[DeclaredLabel]:
        """Return the volumes."""
        return LABELS

    @cached_property
    def _volumes(self) -> dict[str, dict[str, str]]:
        """Id -> ``systole`` and ``diastole`` as text, of all tables that are there."""
        found: dict[str, dict[str, str]] = {}
        for name in _TABLES:
            if (self.folder / name).is_file():
                rows = table_rows(self.folder / name, ("id", "systole", "diastole"))
                found.update(rows_by(self.folder / name, rows, "id"))
        if (self.folder / _SOLUTION).is_file():
            for row in table_rows(self.folder / _SOLUTION, ("id", "volume")):
                patient, _, phase = row["id"].partition("_")
                found.setdefault(patient, {})[phase.lower()] = row.get("volume", "")
        return found

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate a patient.

        Raises:
            UserError: A table is damaged, or there is no patient.
        """
        patients = {part: self._patients(part) for part in PARTS}
        if not any(patients.values()):
            raise UserError(
                f"--cmr {self.folder}: no patient lies in train, validate or test; name the folder of train.csv"
            )
        notes.files += [name for name in (*_TABLES, _SOLUTION) if (self.folder / name).is_file()]
        known = {part: [one for one in found if one.name in self._volumes] for part, found in patients.items()}
        for part, found in patients.items():
            if found and len(known[part]) < len(found):
                notes.remarks.append(
                    f"{part}: {len(found) - len(known[part])} of {len(found)} patients have no volumes"
                )
        splits = _splits(known, notes)
        for part, found in patients.items():
            for patient in found:
                name = patient.relative_to(self.folder).as_posix()
                folders = tuple(sorted(path for path in patient.glob(f"study/{self.view}_*") if path.is_dir()))
                if not folders:
                    notes.skip(name, f"holds no folder {self.view}_...")
                    continue
                row = self._volumes.get(patient.name, {})
                yield Candidate(
                    patient.name,
                    cmr=ImageFiles(patient, dicom=folders),
                    labels={label.name: text_of(row, label.name) for label in LABELS},
                    split=splits(part, patient.name),
                    cmr_name=name,
                )

    def _patients(self, part: str) -> list[Path]:
        """Return the patients' folders of a part, which lies in a folder of its own name once or twice."""
        inner = self.folder / part / part
        root = inner if inner.is_dir() else self.folder / part
        return sorted(
            (path for path in root.glob("*") if (path / "study").is_dir()), key=lambda path: path.name.zfill(6)
        )


def _splits(known: dict[str, list[Path]], notes: SearchNotes) -> Callable[[str, str], str | None]:
    """Return what gives a patient of a part its split.

    With volumes of the test part the publisher's parts are the splits. Without, as the competition left it, the
    validation part tests and a fixed part of the training one validates.

    Args:
        known: Part -> patients whose volumes are known.
        notes: Where it is said which.
    """
    if known["train"] and known["test"]:
        notes.split_rule = {"by": "the competition's parts"}
        return lambda part, _: {"train": "train", "validate": "val", "test": "test"}[part]
    if known["train"] and known["validate"]:
        notes.split_rule = {
            "by": "the competition's parts",
            "test": "validate and test",
            "val": "a fixed part of train",
        }
        notes.remarks.append(
            "no volumes of the test part are known, so its patients and those of validate are the test split"
        )
        return lambda part, patient: validation_part(patient) if part == "train" else "test"
    notes.remarks.append("volumes of one part alone are known, so the subjects' hashes give the splits")
    return lambda _, __: None
