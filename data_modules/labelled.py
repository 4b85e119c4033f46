"""ECGs with labels, all or a seeded part of them, for regression and classification."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from data_modules.base import ShardDataModule
from data_modules.sampling import WINDOW, subset
from ecgcmr.errors import UserError

INPUTS = ("ecg",)


class LabelledDataModule(ShardDataModule):
    """Rows that have an ECG; in training only those with at least one of the labels.

    Validation and test keep rows without labels (their labels are NaN), so that predictions cover the whole split.
    """

    modalities = ("ecg",)

    def __init__(
        self,
        root: str | Path,
        labels: list[str],
        batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
        shuffle: str = "global",
        samples: int = 2500,
        input: str = "ecg",
        train_labels: int | None = None,
        train_fraction: float | None = None,
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
            labels: Names of the targets, at least one.
            batch_size: Rows per device and batch.
            num_workers: Reading processes per device and split.
            seed: Of order, crops, augmentation and the choice of labelled rows.
            shuffle: ``global``, ``shards`` or ``none``.
            samples: ECG samples per lead.
            input: What the model sees; ``ecg``.
            train_labels: Train on this many labelled rows; None is all. With one seed a smaller choice is contained in
                every larger one.
            train_fraction: The same as a fraction of the labelled rows, in (0, 1]. (Not one argument with two types: a
                parser may then read 50 as 50.0.)
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

        Raises:
            UserError: If no label is given, the input is not one of the choices, or both a number and a fraction of
                rows are asked for.
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
        if not labels:
            raise UserError("labels: name at least one label to train on")
        if input not in INPUTS:
            raise UserError(f"input {input!r}: choose one of {', '.join(INPUTS)}")
        if train_labels is not None and train_fraction is not None:
            raise UserError("train_labels and train_fraction: give one of them")
        self.input = input
        self.train_labels = train_labels
        self.train_fraction = train_fraction
        self.augmentations = {"ecg": augmentation}

    def select(self, split: str) -> np.ndarray:
        """Return the positions of a split's rows; in ``train`` the labelled ones, or the chosen part of them."""
        rows = super().select(split)
        if split != "train":
            return rows
        labels = self.label_values()
        if labels is not None:
            rows = rows[~np.isnan(labels[rows]).all(axis=1)]
        if len(rows) == 0:
            raise UserError(f"{self.root}: no training row has an ECG and a value of {', '.join(self.label_names)}")
        amount = self.train_fraction if self.train_labels is None else self.train_labels
        return rows if amount is None else subset(rows, amount, self.seed)
