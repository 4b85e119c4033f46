"""A tiny folder in the layout of M&Ms-2: a table, and dataset/NNN with short-axis and four-chamber images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_hearts import write_image

from ecgcmr.synthesis.phantom import Cine

HEADER = "SUBJECT_CODE,DISEASE,VENDOR,SCANNER,FIELD"
VENDORS = ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips Medical Systems")


def write_mnms2(root: Path, hearts: dict[int, Cine], *, first: int = 2) -> Path:
    """Write ``MnM2`` below a folder and return it.

    Args:
        root: Where.
        hearts: Number of a patient -> heart. The four-chamber view is one slice of it.
        first: Frame of every cine that is end-diastole; nothing in the folder says so.
    """
    folder, lines = root / "MnM2", [HEADER]
    for number, heart in hearts.items():
        code, middle = f"{number:03d}", heart.volume.shape[2] // 2
        cine = np.roll(heart.volume, first, axis=3).astype(np.int16)
        moments = {"ED": first, "ES": (first + heart.es_frame) % cine.shape[3]}
        for axis, slices in (("SA", slice(None)), ("LA", slice(middle, middle + 1))):
            write_image(folder / "dataset" / code / f"{code}_{axis}_CINE.nii.gz", cine[:, :, slices], heart.spacing_mm)
            for phase, labels in (("ED", heart.ed_labels), ("ES", heart.es_labels)):
                stem = folder / "dataset" / code / f"{code}_{axis}_{phase}"
                image = cine[:, :, slices, moments[phase]].astype(np.float64)
                write_image(stem.with_name(f"{stem.name}.nii.gz"), image, heart.spacing_mm)
                write_image(stem.with_name(f"{stem.name}_gt.nii.gz"), labels[:, :, slices], heart.spacing_mm)
        lines.append(f"{number},{('NOR', 'LV', 'TRI')[number % 3]},{VENDORS[number % 3]},Avanto Fit,1.5")
    (folder / "dataset_information.csv").write_text("\n".join(lines) + "\n")
    return folder
