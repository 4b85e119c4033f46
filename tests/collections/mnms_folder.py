"""A tiny folder in the layout of M&Ms: a table, and Training/{Labeled,Unlabeled}, Validation, Testing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_hearts import cine_labels, write_image

from ecgcmr.synthesis.phantom import Cine

TABLE = "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"
HEADER = ",External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex,Height,Weight"
PARTS = ("Training/Labeled", "Training/Unlabeled", "Validation", "Testing")


def write_mnms(root: Path, hearts: tuple[Cine, ...], *, first: int = 5) -> Path:
    """Write ``OpenDataset`` below a folder and return it; hearts are dealt to the parts in turn.

    Args:
        root: Where.
        hearts: Of the patients ``P0``, ``P1`` and so on.
        first: Frame of every cine, from 0, that is end-diastole.
    """
    opened, lines = root / "OpenDataset", [HEADER]
    for number, heart in enumerate(hearts):
        code, part = f"P{number}", PARTS[number % len(PARTS)]
        labels = cine_labels(heart, first)
        if part.endswith("Unlabeled"):
            labels = np.zeros_like(labels)
        folder, frames = opened / part / code, heart.volume.shape[3]
        write_image(
            folder / f"{code}_sa.nii.gz", np.roll(heart.volume, first, axis=3).astype(np.int16), heart.spacing_mm
        )
        write_image(folder / f"{code}_sa_gt.nii.gz", labels.astype(np.float64), heart.spacing_mm)
        es = (first + heart.es_frame) % frames
        person = f"{50 + number},{('NOR', 'DCM', 'HCM', 'Other')[number % 4]},{'MF'[number % 2]},17{number},7{number}"
        lines.append(f"{number},{code},Siemens,A,{1 + number % 2},{first},{es},{person}")
    lines.append(f"{len(hearts)},GONE,Canon,D,5,0,9,60,NOR,M,,")  # a row without images
    (opened / TABLE).write_text("\n".join(lines) + "\n")
    return opened
