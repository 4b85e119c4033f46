"""ECGs together with the CMR frames of the same subject, for alignment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_modules.base import ShardDataModule
from ecgcmr.option_checks import check_least


class PairedDataModule(ShardDataModule):
    """All rows that have an ECG and frames."""

    modalities = ("ecg", "cmr")

    def __init__(
        self,
        root: list[str] | str | Path,
        batch_size: int = 128,
        *,
        image_size: int | None = None,
        ecg_augmentation: Callable | None = None,
        cmr_augmentation: Callable | None = None,
        **options: Any,
    ) -> None:
        """Set up the data module; no file is touched.

        Args:
            root: Folder of the prepared cohort, or a list of them, see ``ShardDataModule``.
            batch_size: Pairs per device and batch.
            image_size: Resize the frames to this many rows and columns on the device; None keeps the stored ones.
            ecg_augmentation: ``augmentation(ecg (B, leads, samples), generator) -> ecg`` for training batches.
            cmr_augmentation: ``augmentation(cmr (B, frames, height, width) in [0, 1], generator) -> cmr``, likewise.
            options: Those of ``ShardDataModule``.
        """
        super().__init__(root, batch_size, **options)
        if image_size is not None:
            check_least(1, image_size=image_size)
        self.image_size = image_size
        self.augmentations = {"ecg": ecg_augmentation, "cmr": cmr_augmentation}
