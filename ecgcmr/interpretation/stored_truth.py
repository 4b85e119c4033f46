"""What a prepared cohort stores of its recordings beside them: masks of frames, R peaks and waves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.interpretation.context import Rows, Truth
from ecgcmr.shards import ShardIndex, read_masks, read_r_peaks, read_waves


@dataclass(frozen=True)
class StoredTruth:
    """Masks and waves of a cohort's shards; see ``Truth``.

    Attributes:
        index: The cohort.
    """

    index: ShardIndex

    @property
    def has_masks(self) -> bool:
        """Whether some frames are segmented."""
        return self.index.layout.cmr is not None and self.index.layout.cmr.mask

    @property
    def has_waves(self) -> bool:
        """Whether beats were marked."""
        return self.index.layout.ecg is not None and self.index.layout.ecg.max_beats > 0

    def masks(self, rows: Rows) -> NDArray[np.uint8]:
        """See ``Truth.masks``."""
        return read_masks(self.index, rows)

    def r_peaks(self, rows: Rows) -> NDArray[np.int64]:
        """See ``Truth.r_peaks``."""
        return read_r_peaks(self.index, rows)

    def waves(self, rows: Rows) -> NDArray[np.int64]:
        """See ``Truth.waves``."""
        return read_waves(self.index, rows)


def stored_truth(index: ShardIndex) -> Truth | None:
    """Return what a cohort stores; None if it is neither masks nor waves."""
    truth = StoredTruth(index)
    return truth if truth.has_masks or truth.has_waves else None
