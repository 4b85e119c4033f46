"""ECGs alone, for masked pre-training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_modules.base import ShardDataModule


class ECGDataModule(ShardDataModule):
    """All rows that have an ECG, whether they have frames or labels or not."""

    modalities = ("ecg",)

    def __init__(
        self,
        root: list[str] | str | Path,
        batch_size: int = 128,
        *,
        augmentation: Callable | None = None,
        **options: Any,
    ) -> None:
        """Set up the data module; no file is touched.

        Args:
            root: Folder of the prepared cohort, or a list of them, see ``ShardDataModule``.
            batch_size: Rows per device and batch.
            augmentation: ``augmentation(ecg (B, leads, samples), generator) -> ecg`` for training batches.
            options: Those of ``ShardDataModule``.
        """
        super().__init__(root, batch_size, **options)
        self.augmentations = {"ecg": augmentation}
