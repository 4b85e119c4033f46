"""ECGs alone, for masked pre-training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from data_modules.base import ShardDataModule
from data_modules.sampling import WINDOW


class ECGDataModule(ShardDataModule):
    """All rows that have an ECG, whether they have frames or labels or not."""

    modalities = ("ecg",)

    def __init__(
        self,
        root: str | Path,
        batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
        shuffle: str = "global",
        samples: int = 2500,
        labels: list[str] | None = None,
        augmentation: Callable | None = None,
        pin_memory: bool | None = None,
        start_method: str | None = None,
        predict_split: str = "test",
        selection: str | None = None,
        min_quality: float | None = None,
        balance: str | None = None,
        window: int = WINDOW,
        locking: bool | None = False,
        verify_reads: str = "first",
    ) -> None:
        """Set up the data module; see ``ShardDataModule`` for what is not listed.

        Args:
            root: Folder of the prepared cohort.
            batch_size: Rows per device and batch.
            num_workers: Reading processes per device and split.
            seed: Of order, crops and augmentation.
            shuffle: ``global``, ``shards`` or ``none``.
            samples: ECG samples per lead.
            labels: Labels to put into a batch, for an online probe.
            augmentation: ``augmentation(ecg (B, leads, samples), generator) -> ecg`` for training batches.
            pin_memory: Page-locked batches; None means: if the model trains on CUDA.
            start_method: How workers start; None is the system's choice.
            predict_split: Split that ``predict`` goes through.
            selection: Named selection of training rows; None is all.
            min_quality: Least ``signal_quality`` of a training ECG; None takes all.
            balance: A 0/1 label that half of each epoch's rows have.
            window: Shards mixed at a time under ``shuffle: shards``.
            locking: Whether HDF5 locks shards; None leaves it to HDF5.
            verify_reads: When to compare a record with its checksum: ``first``, ``always`` or ``never``.
        """
        super().__init__(
            root,
            batch_size,
            num_workers,
            seed,
            shuffle,
            samples,
            labels,
            pin_memory,
            start_method,
            predict_split,
            selection,
            min_quality,
            balance,
            window,
            locking,
            verify_reads,
        )
        self.augmentations = {"ecg": augmentation}
