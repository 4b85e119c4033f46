"""M&Ms-2 as downloaded: 360 patients of three vendors, short axis and four-chamber view, segmentations at ED and ES.

Martin-Isla et al., IEEE J Biomed Health Inform 27:3302, 2023. Patients 1 to 160 train, 161 to 200 validate, the others
test. Nothing says which frame of a cine is end-diastole: it is the one that equals the volume stored for it.
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
from ecgcmr.preparation.collections.cmr_tables import classes, require_view, rows_by, say_unmatched, table_rows, text_of
from ecgcmr.preparation.collections.cmr_volumes import volume_labels
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.collections.segmented import Imaged, published_splits, segmented_candidates
from ecgcmr.preparation.folder_checks import require_folder
from ecgcmr.preparation.options import PrepareOptions

DISEASES = ("NOR", "LV", "HCM", "ARR", "FALL", "CIA", "RV", "TRI")
VENDORS = ("SIEMENS", "GE", "Philips")
AXES = {"sax": "SA", "4ch": "LA"}
_LAST_TRAINING, _LAST_VALIDATION = 160, 200
_CODE, _TABLE = "subject_code", "dataset_information.csv"


class MnMs2Collection:
    """The patients of a download."""

    def __init__(self, options: PrepareOptions) -> None:
        """Take ``options.cmr``: the folder of ``dataset_information.csv``, or the one above it.

        Raises:
            UserError: There is no such folder, or the view is neither the short axis nor the four-chamber view.
        """
        require_view(options.view, tuple(AXES), "M&Ms-2")
        self.folder, self.view = require_folder(options.cmr or Path(), "--cmr"), options.view

    @cached_property
    def _root(self) -> Path:
        for root in (self.folder, *sorted(path.parent for path in self.folder.glob(f"*/{_TABLE}"))):
            if (root / _TABLE).is_file():
                return root
        raise UserError(f"--cmr {self.folder}: has no {_TABLE}; name the folder of M&Ms-2 that holds it")

    @cached_property
    def _rows(self) -> dict[str, dict[str, str]]:
        rows = table_rows(self._root / _TABLE, (_CODE, "disease", "vendor", "field"))
        return {code.zfill(3): row for code, row in rows_by(self._root / _TABLE, rows, _CODE).items()}

    def labels(self) -> Sequence[DeclaredLabel]:
        """Return disease, vendor and field strength as the table has them, and volumes from the segmentations."""
        rows = self._rows.values()
        return (
            classes("disease", "Disease", DISEASES, (text_of(row, "disease") for row in rows)),
            classes("vendor", "Vendor", VENDORS, (_vendor(row) for row in rows)),
            DeclaredLabel("field", unit="T", low=0.1, high=10, title="Field strength"),
            *(volume_labels() if self.view == "sax" else ()),
        )

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate a patient.

        Raises:
            UserError: The table is damaged or missing, or there is no patient.
        """
        folders = sorted(path for path in (self._root / "dataset").glob("*") if path.is_dir() and path.name.isdecimal())
        if not folders:
            raise UserError(f"--cmr {self.folder}: no patient's folder lies in dataset beside {_TABLE}")
        here = {path.name for path in folders}
        splits = published_splits(_split, sorted(here), notes, "M&Ms-2")
        say_unmatched(notes, _TABLE, len(here - self._rows.keys()), len(self._rows.keys() - here))
        patients = [one for folder in folders if (one := self._patient(folder, splits, notes)) is not None]
        yield from segmented_candidates(patients, LEFT_FIRST, notes, "M&Ms-2")

    def _patient(self, folder: Path, splits: dict[str, str], notes: SearchNotes) -> Imaged | None:
        code, axis, name = folder.name, AXES[self.view], folder.relative_to(self._root).as_posix()
        endings = ("CINE", "ED", "ES", "ED_gt", "ES_gt")
        cine, ed, es, ed_labels, es_labels = (nifti_file(folder, f"{code}_{axis}_{ending}") for ending in endings)
        if cine is None and ed is None:
            notes.skip(name, f"holds no {code}_{axis}_CINE.nii.gz")
            return None
        row = self._rows.get(code, {})
        labels = {"disease": text_of(row, "disease"), "vendor": _vendor(row), "field": text_of(row, "field")}
        files = ImageFiles(folder, cine, ed, es, None, ed_labels, es_labels, starts_at_ed=False)
        return Imaged(code, name, files, labels, splits.get(code), volumes=self.view == "sax")


def _vendor(row: dict[str, str]) -> str | None:
    """Return the vendor by the short name, for the table has a manufacturer's full name in several spellings."""
    text = text_of(row, "vendor")
    return next((name for name in VENDORS if text is not None and text.lower().startswith(name.lower())), text)


def _split(code: str) -> str:
    number = int(code)
    return "train" if number <= _LAST_TRAINING else "val" if number <= _LAST_VALIDATION else "test"
