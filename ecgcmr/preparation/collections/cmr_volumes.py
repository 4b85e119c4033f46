"""Volumes of the ventricles from a data set's own segmentations, once it is known which number is which cavity.

Published numberings differ (ACDC counts the right cavity first, M&Ms the left one), and copies of the data sets have
been renumbered. So position decides: the myocardium lies all around the left cavity. All segmentations of a data set
vote; where they say nothing, the published numbering stands. A segmentation that contradicts the others is not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.formats.nifti_header import LARGEST_VOLUME, voxel_mm3
from ecgcmr.formats.nifti_voxels import LEFT_FIRST, RIGHT_FIRST, labelled_moments, load_labels
from ecgcmr.label_declarations import DeclaredLabel
from ecgcmr.phenotypes import phenotype_positions, phenotypes
from ecgcmr.preparation.collections.protocol import SearchNotes
from ecgcmr.preparation.segmented_moments import MYOCARDIUM, share_of_border

VOLUMES = ("lv_edv", "lv_esv", "lv_sv", "lv_ef", "lv_mass", "rv_edv", "rv_esv", "rv_sv", "rv_ef")
"""Names of the labels, those of UK Biobank's phenotypes."""

_GRAMS_PER_ML = 1.05  # of myocardium
_ENCLOSED, _CLEARLY = 0.75, 0.2  # of a cavity's border: along the myocardium, and more of it than of the other one's


def volume_labels() -> tuple[DeclaredLabel, ...]:
    """Return the declarations of ``VOLUMES``."""
    positions, declared = phenotype_positions(), phenotypes()
    return tuple(declared[positions[name]] for name in VOLUMES)


@dataclass(frozen=True)
class MaskCounts:
    """What the segmentations of one subject hold.

    Attributes:
        ed: Voxels of the numbers 1, 2 and 3 at end-diastole; None if nobody has segmented it.
        es: The same at end-systole.
        voxel_ml: What a voxel stands for; None where the distance of slices is not known.
        order: Numbers of the left and the right cavity by their position; None where it says nothing.
    """

    ed: tuple[int, int, int] | None = None
    es: tuple[int, int, int] | None = None
    voxel_ml: float | None = None
    order: tuple[int, int] | None = None


def count_volumes(ed: Path | None, es: Path | None) -> MaskCounts:
    """Count the voxels of two segmentations (X, Y, Z).

    Raises:
        UserError: A file is damaged, or they have different axes.
    """
    labels = [None if path is None else load_labels(path, LARGEST_VOLUME) for path in (ed, es)]
    voxels = {voxel_mm3(path) for path in (ed, es) if path is not None}
    return _counts(labels[0], labels[1], voxels.pop() if len(voxels) == 1 else None)


def count_cine(path: Path, moments: tuple[int | None, int | None]) -> tuple[MaskCounts, tuple[int | None, int | None]]:
    """Count the voxels of a segmentation of a cine (X, Y, Z, T) of which few moments are segmented.

    Args:
        path: The file.
        moments: Stated frames of end-diastole and end-systole.

    Returns:
        The counts, and the frames of end-diastole and end-systole: as stated where those are segmented, else the two
        segmented ones, the larger left cavity first; None where there are none or more.

    Raises:
        UserError: The file is damaged or no cine.
    """
    labels = labelled_moments(path)
    ed, es = moments
    if ed is None or es is None or ed not in labels or es not in labels or ed == es:
        if len(labels) != 2:
            return MaskCounts(), (None, None)
        ed, es = sorted(labels, key=lambda moment: -_enclosed(labels[moment]))
    return _counts(labels[ed], labels[es], voxel_mm3(path)), (ed, es)


def _enclosed(labels: npt.NDArray[np.uint8]) -> int:
    """Return how many voxels the left cavity and its wall take, by whichever number it has."""
    order = _order(labels) or LEFT_FIRST
    return int(np.count_nonzero(labels == order[0]))


def _counts(ed: npt.NDArray | None, es: npt.NDArray | None, voxel: float | None) -> MaskCounts:
    orders = {_order(labels) for labels in (ed, es) if labels is not None and labels.any()} - {None}
    voxel_ml = None if voxel is None else voxel / 1000.0
    return MaskCounts(_numbers(ed), _numbers(es), voxel_ml, orders.pop() if len(orders) == 1 else None)


def _numbers(labels: npt.NDArray | None) -> tuple[int, int, int] | None:
    """Return the voxels of 1, 2 and 3; None where nobody has segmented anything."""
    if labels is None or not labels.any():
        return None
    one, two, three = (int(np.count_nonzero(labels == number)) for number in (1, 2, 3))
    return one, two, three


def _order(labels: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
    """Return the numbers of the left and the right cavity of a volume (X, Y, Z) by the myocardium around them."""
    slices = np.moveaxis(labels, 2, 0)
    one, three = (share_of_border(slices, number) or 0.0 for number in (1, 3))
    if max(one, three) < _ENCLOSED or abs(one - three) < _CLEARLY:
        return None
    return LEFT_FIRST if one > three else RIGHT_FIRST


def agreed_order(
    counts: Iterable[MaskCounts], published: tuple[int, int], notes: SearchNotes, title: str
) -> tuple[int, int]:
    """Return the numbers of the left and the right cavity in the segmentations of a data set.

    Args:
        counts: Of all subjects.
        published: As the publisher states them.
        notes: Where it is said that they are others.
        title: Name of the data set.
    """
    votes = Counter(one.order for one in counts if one.order is not None)
    if not votes:
        return published
    [(order, _)] = votes.most_common(1)
    if order != published:
        notes.remarks.append(
            f"{title}: its segmentations count the left cavity {order[0]} and the right one {order[1]}, "
            f"not {published[0]} and {published[1]} as published; they are read so"
        )
    return order


def fault_of(counts: MaskCounts, order: tuple[int, int]) -> str:
    """Return why the segmentations of a subject cannot be right, or an empty text."""
    if counts.order is not None and counts.order != order:
        return f"its segmentation has the myocardium around label {counts.order[0]}, unlike the others"
    if counts.ed is not None and counts.es is not None and counts.es[order[0] - 1] > counts.ed[order[0] - 1]:
        return "its left cavity is larger at end-systole than at end-diastole"
    return ""


def volumes_of(counts: MaskCounts, order: tuple[int, int]) -> dict[str, float | None]:
    """Return the values of ``VOLUMES`` in mL, g and per cent, None where they are unknown."""
    values: dict[str, float | None] = dict.fromkeys(VOLUMES)
    if counts.voxel_ml is None:
        return values
    for side, number in zip(("lv", "rv"), order, strict=True):
        ed, es = (_ml(numbers, number, counts.voxel_ml) for numbers in (counts.ed, counts.es))
        values[f"{side}_edv"], values[f"{side}_esv"] = ed, es
        if ed is not None and es is not None:
            values[f"{side}_sv"], values[f"{side}_ef"] = ed - es, 100.0 * (ed - es) / ed
    muscle = _ml(counts.ed, MYOCARDIUM, counts.voxel_ml)
    values["lv_mass"] = None if muscle is None else _GRAMS_PER_ML * muscle
    return values


def _ml(numbers: Sequence[int] | None, number: int, voxel_ml: float) -> float | None:
    """Return the volume of a number's voxels; None where there are none, for a chamber is never empty."""
    return None if numbers is None or numbers[number - 1] == 0 else numbers[number - 1] * voxel_ml
