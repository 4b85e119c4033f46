"""Hearts that the generators of published CMR collections write: beating phantoms with plausible volumes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import nibabel
import numpy as np

from ecgcmr.synthesis.phantom import Cine, PhantomOptions, render_cine
from ecgcmr.synthesis.state import sample_states

FRAMES, SLICES = 8, 6
OPTIONS = PhantomOptions(size=48, spacing_mm=3.5)
_MOST = 40


def hearts(count: int) -> tuple[Cine, ...]:
    """Return cines of the first of some subjects; end-diastole is frame 0, labels count 1 LV, 2 myocardium, 3 RV."""
    return tuple(_heart(row) for row in range(count))


@cache
def _heart(row: int) -> Cine:
    state, generator = sample_states(_MOST, 0), np.random.default_rng(0)
    return render_cine(state, row, generator, slices=SLICES, frames=FRAMES, options=OPTIONS)


def voxel_ml(heart: Cine) -> float:
    """Return what a voxel stands for."""
    return float(np.prod(heart.spacing_mm)) / 1000.0


def write_image(path: Path, values: np.ndarray, spacing_mm: tuple[float, float, float]) -> None:
    """Write a NIfTI file as the publishers do, slices at their true distance."""
    image = nibabel.Nifti1Image(values, np.diag([*spacing_mm, 1.0]))
    image.header.set_zooms((*spacing_mm, 0.03)[: values.ndim])
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def cine_labels(heart: Cine, first: int = 0) -> np.ndarray:
    """Return the segmentation over the cycle, of two moments alone; end-diastole is frame ``first``."""
    labels = np.zeros(heart.volume.shape, dtype=np.uint8)
    labels[..., first] = heart.ed_labels
    labels[..., (first + heart.es_frame) % heart.volume.shape[3]] = heart.es_labels
    return labels
