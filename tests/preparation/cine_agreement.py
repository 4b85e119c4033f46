"""How well the images alone tell what a segmentation tells: the end-systolic frame and the centre of the heart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ecgcmr.formats.record import ShortAxis
from ecgcmr.preparation.cine_frames import choose_frames
from ecgcmr.preparation.cine_options import CineOptions


@dataclass(frozen=True)
class Agreement:
    """Differences between what was found in the images and what the segmentation says, one entry a subject.

    Attributes:
        frames: (n,) frames by which end-systole was found too late; empty where there was no cine.
        cycle: (n,) the same as a share of the cycle.
        centre_mm: (m,) distance of the centre found by motion from the labelled heart's; NaN where nothing moved.
        end_systole_by: What told the true end-systole of each subject: ``segmentation`` or ``stored volume``.
    """

    frames: npt.NDArray[np.int64]
    cycle: npt.NDArray[np.float64]
    centre_mm: npt.NDArray[np.float64]
    end_systole_by: tuple[str, ...] = field(repr=False)

    def summary(self) -> dict[str, float]:
        """Return counts, medians and 90th percentiles of the absolute differences."""
        numbers: dict[str, float] = {
            "end_systole_n": float(len(self.frames)),
            "centre_n": float(np.isfinite(self.centre_mm).sum()),
            "centre_not_found": float(np.isnan(self.centre_mm).sum()),
        }
        late = np.abs(self.frames)
        found = self.centre_mm[np.isfinite(self.centre_mm)]
        for name, values in (("frames", late), ("cycle", np.abs(self.cycle)), ("centre_mm", found)):
            if len(values):
                median, high = np.percentile(values, (50, 90))
                numbers |= {f"{name}_median": float(median), f"{name}_p90": float(high)}
        return numbers


def agreement_with_segmentation(images: Iterable[ShortAxis], options: CineOptions | None = None) -> Agreement:
    """Compare end-systole by blood pool and centre by motion with the segmentation, over many subjects.

    Args:
        images: Subjects with a segmentation. Those with a cine count for end-systole and centre, those with two
            volumes only for the centre. The truth of end-systole is the cine's segmentation or the stored volume.
        options: How frames are chosen otherwise; the content is ``three``.

    Raises:
        UserError: A subject has no segmentation of its middle slice.
    """
    options = options or CineOptions()
    frames: list[int] = []
    cycle: list[float] = []
    centres: list[float] = []
    told_by: list[str] = []
    for subject in images:
        has_cine = subject.load_cine is not None
        suitable = options if has_cine else options.for_two_phases()
        true = choose_frames(subject, replace(suitable, crop="segmentation"))
        bare = replace(subject, ed_segmentation=None, load_cine_segmentation=None)
        if has_cine:
            bare = replace(bare, ed=None, es=None)
        found = choose_frames(bare, replace(suitable, crop="auto"))
        difference = np.subtract(found.centre, true.centre) * subject.spacing_mm
        centres.append(float(np.hypot(*difference)) if found.crop == "motion" else np.nan)
        if found.end_systole is not None and true.end_systole is not None and true.end_systole_by != "blood pool":
            frames.append(found.end_systole - true.end_systole)
            told_by.append(true.end_systole_by)
            cycle.append(frames[-1] / (true.moments or 1))
    return Agreement(np.array(frames, dtype=np.int64), np.array(cycle), np.array(centres), tuple(told_by))
