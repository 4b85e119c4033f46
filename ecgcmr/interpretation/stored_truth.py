"""What a cohort stores of its recordings beside them, as analyses ask for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.interpretation.context import Rows
from ecgcmr.shards import ShardIndex

ReadsMasks = Callable[[ShardIndex, Rows], NDArray[np.uint8]]
ReadsSamples = Callable[[ShardIndex, Rows], NDArray[np.int64]]


@dataclass(frozen=True)
class StoredTruth:
    """Masks and waves out of a cohort's shards; meets ``Truth``.

    Attributes:
        index: The cohort.
        read_masks: Reads the regions of frames; None: the cohort stores none.
        read_r_peaks: Reads R peaks; None: the cohort stores no beats.
        read_waves: Reads bounds of waves; None likewise.
    """

    index: ShardIndex
    read_masks: ReadsMasks | None = None
    read_r_peaks: ReadsSamples | None = None
    read_waves: ReadsSamples | None = None

    @property
    def has_masks(self) -> bool:
        """Whether there are masks."""
        return self.read_masks is not None

    @property
    def has_waves(self) -> bool:
        """Whether there are R peaks and waves."""
        return self.read_r_peaks is not None and self.read_waves is not None

    def masks(self, rows: Rows) -> NDArray[np.uint8]:
        """Return regions, see ``Truth.masks``."""
        if self.read_masks is None:
            raise ValueError("this cohort stores no masks")
        return self.read_masks(self.index, rows)

    def r_peaks(self, rows: Rows) -> NDArray[np.int64]:
        """Return R peaks, see ``Truth.r_peaks``."""
        if self.read_r_peaks is None:
            raise ValueError("this cohort stores no R peaks")
        return self.read_r_peaks(self.index, rows)

    def waves(self, rows: Rows) -> NDArray[np.int64]:
        """Return bounds of waves, see ``Truth.waves``."""
        if self.read_waves is None:
            raise ValueError("this cohort stores no waves")
        return self.read_waves(self.index, rows)
