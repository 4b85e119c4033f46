"""What is known of the recordings of many rows: the regions of their frames, their R peaks and waves.

Training reads none of it. Every function takes the rows it is asked for into memory at once; go through a cohort in
blocks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.shards.index import ShardIndex
from ecgcmr.shards.layout import MASK_UNKNOWN, WAVES


def read_masks(index: ShardIndex, rows: np.ndarray) -> npt.NDArray[np.uint8]:
    """Read the regions of frames.

    Args:
        index: The cohort.
        rows: (k, 2) pairs (shard, row) or (k,) positions, in any order.

    Returns:
        (k, frames, height, width) uint8 on the pixels of ``read_cmr``, by ``MASK_REGIONS``: 0 outside, 1 LV cavity, 2
        myocardium, 3 RV cavity; ``MASK_UNKNOWN`` (255) throughout a frame or row that nobody has segmented.

    Raises:
        UserError: The cohort stores no masks, or a shard cannot be read.
    """
    if index.layout.cmr is None or not index.layout.cmr.mask:
        raise UserError(
            f"{index.root}: stores no masks of its frames; prepare it again from folders with seg_sa*.nii.gz, or "
            "synthesize it again"
        )
    masks = np.full((len(rows), *index.layout.cmr.shape), MASK_UNKNOWN, dtype=np.uint8)
    for shard, where, row in index.by_shard(rows):
        with index.reader(shard) as reader:
            present = reader.has("cmr_mask")
            for target, i in zip(where, row, strict=True):
                if present[i]:
                    masks[target] = reader.cmr_mask(int(i))
    return masks


def read_r_peaks(index: ShardIndex, rows: np.ndarray) -> npt.NDArray[np.int64]:
    """Return (k, max_beats) samples of the stored record at which R peaks lie, ascending, then -1.

    Args:
        index: The cohort.
        rows: (k, 2) pairs (shard, row) or (k,) positions, in any order.

    Raises:
        UserError: The cohort stores no beats, or a shard cannot be read.
    """
    return _column(index, rows, "r_peaks", ())


def read_waves(index: ShardIndex, rows: np.ndarray) -> npt.NDArray[np.int64]:
    """Return (k, max_beats, 8) samples of the ``WAVES`` of each beat that ``read_r_peaks`` gives.

    Offsets are the first sample after a wave; -1 where a wave is missing, unknown or beyond the record's ends.

    Args:
        index: The cohort.
        rows: (k, 2) pairs (shard, row) or (k,) positions, in any order.

    Raises:
        UserError: The cohort stores no beats, or a shard cannot be read.
    """
    return _column(index, rows, "waves", (len(WAVES),))


def _column(index: ShardIndex, rows: np.ndarray, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    ecg = index.layout.ecg
    if ecg is None or not ecg.max_beats:
        raise UserError(f"{index.root}: stores no R peaks and waves; prepare it again without --no-beats")
    result = np.full((len(rows), ecg.max_beats, *shape), -1, dtype=np.int64)
    for shard, where, row in index.by_shard(rows):
        with index.reader(shard) as reader:
            result[where] = reader.column(name)[row]
    return result


class StoredAnnotations:
    """Masks, R peaks and waves of a cohort as far as it stores them, for whoever asks block by block.

    Attributes:
        has_masks: Whether any row that is given out has a mask.
        has_waves: Whether R peaks and waves are stored.
        waves_are_true: Whether these are the generator's own, not those that a detector found.
    """

    def __init__(self, index: ShardIndex) -> None:
        """Note what the cohort stores; nothing is read."""
        self._index = index
        self.has_masks = len(index.positions(None, need=("cmr_mask",))) > 0
        self.has_waves = index.layout.ecg is not None and index.layout.ecg.max_beats > 0
        made = index.layout.preparation.get("beats")
        self.waves_are_true = self.has_waves and isinstance(made, dict) and made.get("source") == "generator"

    def masks(self, rows: np.ndarray) -> npt.NDArray[np.uint8]:
        """Return (k, F, H, W), see ``read_masks``."""
        return read_masks(self._index, rows)

    def r_peaks(self, rows: np.ndarray) -> npt.NDArray[np.int64]:
        """Return (k, max_beats), see ``read_r_peaks``."""
        return read_r_peaks(self._index, rows)

    def waves(self, rows: np.ndarray) -> npt.NDArray[np.int64]:
        """Return (k, max_beats, 8), see ``read_waves``."""
        return read_waves(self._index, rows)
