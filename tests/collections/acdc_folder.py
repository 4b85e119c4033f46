"""A tiny folder in the layout of ACDC: database/{training,testing}/patientNNN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_hearts import write_image

from ecgcmr.synthesis.phantom import Cine

GROUPS = ("NOR", "MINF", "DCM", "HCM", "RV")
AS_PUBLISHED = (0, 3, 2, 1)
"""Our number -> ACDC's: it counts the right cavity first."""


def write_patient(
    folder: Path, heart: Cine, number: int, *, first: int = 0, counted: tuple[int, ...] = AS_PUBLISHED
) -> Path:
    """Write one patient's folder.

    Args:
        folder: ``training`` or ``testing``.
        heart: Their heart.
        number: Of the patient, which gives group, height and weight.
        first: Frame of the cine, from 0, that is end-diastole.
        counted: Numbers of the segmentation.
    """
    name = f"patient{number:03d}"
    patient, frames = folder / name, heart.volume.shape[3]
    moments = {"ED": first, "ES": (first + heart.es_frame) % frames}
    cine = np.roll(heart.volume, first, axis=3).astype(np.int16)
    write_image(patient / f"{name}_4d.nii.gz", cine, heart.spacing_mm)
    for phase, labels in (("ED", heart.ed_labels), ("ES", heart.es_labels)):
        stem = f"{name}_frame{moments[phase] + 1:02d}"
        write_image(patient / f"{stem}.nii.gz", cine[..., moments[phase]], heart.spacing_mm)
        write_image(patient / f"{stem}_gt.nii.gz", np.array(counted, dtype=np.uint8)[labels], heart.spacing_mm)
    (patient / "Info.cfg").write_text(
        f"ED: {moments['ED'] + 1}\nES: {moments['ES'] + 1}\nGroup: {GROUPS[number % 5]}\n"
        f"Height: {160 + number % 40}.0\nNbFrame: {frames}\nWeight: {60 + number % 40}.0\n"
    )
    (patient / "MANDATORY_CITATION.md").write_text("cite\n")
    return patient


def write_acdc(root: Path, training: tuple[Cine, ...], testing: tuple[Cine, ...] = ()) -> Path:
    """Write ``database`` below a folder and return it; patients are numbered from 1 and from 101."""
    database = root / "database"
    for part, begin, hearts in (("training", 1, training), ("testing", 101, testing)):
        for number, heart in enumerate(hearts, begin):
            write_patient(database / part, heart, number)
    (database / "MANDATORY_CITATION.md").write_text("cite\n")
    return database
