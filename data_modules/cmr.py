"""CMR frames alone, for pre-training an image encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_modules.base import ShardDataModule
from ecgcmr.option_checks import check_least


class CMRDataModule(ShardDataModule):
    """All rows that have frames, whether they have an ECG or labels or not."""

    modalities = ("cmr",)

    def __init__(
        self,
        root: list[str] | str | Path,
        batch_size: int = 128,
        *,
        image_size: int | None = None,
        augmentation: Callable | None = None,
        **options: Any,
    ) -> None:
        """Set up the data module; no file is touched.

        Args:
            root: Folder of the prepared cohort, or a list of them, see ``ShardDataModule``.
            batch_size: Rows per device and batch.
            image_size: Resize the frames to this many rows and columns on the device; None keeps the stored ones.
            augmentation: ``augmentation(cmr (B, frames, height, width) in [0, 1], generator) -> cmr`` for training
                batches.
            options: Those of ``ShardDataModule``; ``samples`` is of ECGs and has no effect.
        """
        super().__init__(root, batch_size, **options)
        if image_size is not None:
            check_least(1, image_size=image_size)
        self.image_size = image_size
        self.augmentations = {"cmr": augmentation}

    def setup(self, stage: str | None = None) -> None:
        """As ``ShardDataModule``; ECGs of any length may lie beside the frames."""
        ecg = self.index.layout.ecg
        if ecg is not None:
            self.samples = min(self.samples, ecg.samples)
        super().setup(stage)
