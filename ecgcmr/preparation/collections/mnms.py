"""M&Ms as downloaded: 345 patients of four vendors, cines of the short axis, segmentations at ED and ES.

Campello et al., IEEE Trans Med Imaging 40:3543, 2021. The frames of end-diastole and end-systole stand in the table of
the whole, counted from 0, and end-diastole is often not the first. The files called segmentations of the unlabelled
patients are empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.image_files import ImageFiles
from ecgcmr.formats.nifti import nifti_file
from ecgcmr.formats.nifti_voxels import LEFT_FIRST
from ecgcmr.label_declarations import DeclaredLabel
from ecgcmr.preparation.collections.cmr_tables import (
    classes,
    require_view,
    rows_by,
    say_unmatched,
    table_rows,
    text_of,
    whole_number,
)
from ecgcmr.preparation.collections.cmr_volumes import volume_labels
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.collections.segmented import Imaged, published_splits, segmented_candidates
from ecgcmr.preparation.folder_checks import require_folder
from ecgcmr.preparation.labels import COVARIATES
from ecgcmr.preparation.options import PrepareOptions

PATHOLOGIES = ("NOR", "DCM", "HCM", "ARV", "HHD", "AHS", "IHD", "LVNC")
VENDORS, CENTRES = ("A", "B", "C", "D"), ("1", "2", "3", "4", "5", "6")
PARTS = {
    "Training/Labeled": "train",
    "Training/Unlabeled": "train",
    "Validation": "val",
    "Testing": "test",
}
_COVARIATES = ("age", "sex", "height", "weight")
_CODE = "external code"


class MnMsCollection:
    """The patients of a download."""

    def __init__(self, options: PrepareOptions) -> None:
        """Take ``options.cmr``: the folder of the table, or the one above it.

        Raises:
            UserError: There is no such folder, or the view is not the short axis.
        """
        require_view(options.view, ("sax",), "M&Ms")
        self.folder = require_folder(options.cmr or Path(), "--cmr")

    @cached_property
    def _table(self) -> Path:
        found = [path for pattern in ("*.csv", "*/*.csv") for path in sorted(self.folder.glob(pattern))]
        tables = [path for path in found if "dataset_information" in path.name.lower()]
        if not tables:
            raise UserError(f"--cmr {self.folder}: has no table ...Dataset_information...csv; name the folder of M&Ms")
        return tables[-1]

    @cached_property
    def _rows(self) -> dict[str, dict[str, str]]:
        rows = table_rows(self._table, (_CODE, "vendor", "centre", "ed", "es", "pathology"))
        return rows_by(self._table, rows, _CODE)

    def labels(self) -> Sequence[DeclaredLabel]:
        """Return what the table has, and volumes from the segmentations."""
        rows = self._rows.values()
        return (
            *(
                classes(name, name.capitalize(), known, (text_of(row, name) for row in rows))
                for name, known in (("pathology", PATHOLOGIES), ("vendor", VENDORS), ("centre", CENTRES))
            ),
            *(one for one in COVARIATES if one.name in _COVARIATES),
            *volume_labels(),
        )

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate a patient.

        Raises:
            UserError: The table is damaged or missing, or there is no patient.
        """
        root = self._table.parent
        folders = {part: sorted(path for path in (root / part).glob("*") if path.is_dir()) for part in PARTS}
        split_of = {path.name: PARTS[part] for part, found in folders.items() for path in found}
        if not split_of:
            raise UserError(f"--cmr {self.folder}: no patient lies in Training, Validation or Testing beside the table")
        splits = published_splits(split_of.__getitem__, list(split_of), notes, "M&Ms")
        say_unmatched(notes, self._table.name, len(split_of.keys() - self._rows), len(self._rows.keys() - split_of))
        patients = [
            one
            for part, found in folders.items()
            for folder in found
            if (one := self._patient(folder, part, splits, notes)) is not None
        ]
        yield from segmented_candidates(patients, LEFT_FIRST, notes, "M&Ms")

    def _patient(self, folder: Path, part: str, splits: dict[str, str], notes: SearchNotes) -> Imaged | None:
        code, row = folder.name, self._rows.get(folder.name, {})
        cine, labels = (nifti_file(folder, f"{code}_sa{ending}") for ending in ("", "_gt"))
        name = folder.relative_to(self._table.parent).as_posix()
        if cine is None:
            notes.skip(name, f"holds no {code}_sa.nii.gz")
            return None
        files = ImageFiles(
            folder,
            cine,
            cine_labels=None if part.endswith("Unlabeled") else labels,
            ed_frame=whole_number(row, "ed"),
            es_frame=whole_number(row, "es"),
        )
        values = {key: text_of(row, key) for key in ("pathology", "vendor", "centre", *_COVARIATES)}
        return Imaged(code, name, files, values, splits.get(code))
