"""ACDC as downloaded: 150 patients in five groups, cines of the short axis, segmentations at ED and ES.

Bernard et al., IEEE Trans Med Imaging 37:2514, 2018. ``testing`` tests; of ``training`` a fixed part validates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.acdc import INFO, acdc_image, acdc_moments, read_info
from ecgcmr.formats.image_files import ImageFiles
from ecgcmr.formats.nifti_voxels import RIGHT_FIRST
from ecgcmr.label_declarations import ONE_OF, DeclaredLabel
from ecgcmr.preparation.collections.cmr_tables import require_view
from ecgcmr.preparation.collections.cmr_volumes import volume_labels
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.collections.segmented import Imaged, published_splits, segmented_candidates
from ecgcmr.preparation.folder_checks import require_folder
from ecgcmr.preparation.labels import COVARIATES
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.splits import validation_part

GROUPS = ("NOR", "MINF", "DCM", "HCM", "RV")
_DEEPEST = 3


class ACDCCollection:
    """The patients of a download."""

    def __init__(self, options: PrepareOptions) -> None:
        """Take ``options.cmr``: the folder ``database``, the one above it, or one of patients' folders.

        Raises:
            UserError: There is no such folder, or the view is not the short axis.
        """
        require_view(options.view, ("sax",), "ACDC")
        self.folder = require_folder(options.cmr or Path(), "--cmr")

    def labels(self) -> Sequence[DeclaredLabel]:
        """Return group, height and weight as ``Info.cfg`` has them, and volumes from the segmentations."""
        group = DeclaredLabel("group", ONE_OF, title="Group", classes=GROUPS)
        return (group, *(one for one in COVARIATES if one.name in ("height", "weight")), *volume_labels())

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate a patient.

        Raises:
            UserError: There is no patient.
        """
        patterns = ("/".join([*["*"] * depth, INFO]) for depth in range(1, _DEEPEST + 1))
        patients = sorted(info.parent for pattern in patterns for info in self.folder.glob(pattern))
        if not patients:
            raise UserError(f"--cmr {self.folder}: no folder in it has an {INFO}; name ACDC's folder 'database'")
        _say_incomplete(self.folder, patients, notes)
        part_of = {patient.name: patient.parent.name.lower() for patient in patients}
        splits = published_splits(lambda name: _split(name, part_of[name]), list(part_of), notes, "ACDC")
        found = [one for patient in patients if (one := self._patient(patient, splits, notes)) is not None]
        yield from segmented_candidates(found, RIGHT_FIRST, notes, "ACDC")

    def _patient(self, patient: Path, splits: dict[str, str], notes: SearchNotes) -> Imaged | None:
        name = patient.relative_to(self.folder).as_posix()
        stems = ("sa", "sa_ED", "sa_ES", "seg_sa_ED", "seg_sa_ES")
        cine, ed, es, ed_labels, es_labels = (acdc_image(patient, stem) for stem in stems)
        if cine is None and ed is None:
            notes.skip(name, f"holds no images, or not those that its {INFO} names")
            return None
        moments, info = acdc_moments(patient), read_info(patient)
        files = ImageFiles(
            patient, cine, ed, es, None, ed_labels, es_labels, ed_frame=moments.get("ED"), es_frame=moments.get("ES")
        )
        labels = {key: info.get(key.capitalize()) for key in ("group", "height", "weight")}
        return Imaged(patient.name, name, files, labels, splits.get(patient.name))


def _say_incomplete(folder: Path, patients: Sequence[Path], notes: SearchNotes) -> None:
    """Say whose ``Info.cfg`` is missing, and whose does not state both frames."""
    known = set(patients)
    for depth in range(1, _DEEPEST + 1):
        for cine in sorted(folder.glob("/".join([*["*"] * depth, "*_4d.nii*"]))):
            if cine.parent not in known:
                known.add(cine.parent)
                notes.skip(cine.parent.relative_to(folder).as_posix(), f"has no {INFO}")
    unstated = [patient.name for patient in patients if not {"ED", "ES"} <= acdc_moments(patient).keys()]
    if unstated:
        more = f" and {len(unstated) - 3} more" if len(unstated) > 3 else ""
        notes.remarks.append(
            f"ACDC: {', '.join(unstated[:3])}{more}: {INFO} does not state both ED and ES; the other one has no volume "
            "and no mask, and its frame is found as in other cines"
        )


def _split(patient: str, part: str) -> str:
    return "test" if part == "testing" else validation_part(patient)
