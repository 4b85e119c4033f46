"""ECGs with labels, all or a seeded part of them, for regression and classification."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.base import ShardDataModule
from data_modules.sampling import subset
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
        *,
        input: str = "ecg",
        train_labels: int | None = None,
        train_fraction: float | None = None,
        augmentation: Callable | None = None,
        **options: Any,
    ) -> None:
        """Set up the data module; no file is touched.

        Args:
            root: Folder of the prepared cohort.
            labels: Names of the targets, at least one.
            batch_size: Rows per device and batch.
            input: What the model sees; ``ecg``.
            train_labels: Train on this many labelled rows; None is all. With one seed a smaller choice is contained in
                every larger one.
            train_fraction: The same as a fraction of the labelled rows, in (0, 1]. (Not one argument with two types: a
                parser may then read 50 as 50.0.)
            augmentation: ``augmentation(ecg (B, leads, samples), generator) -> ecg`` for training batches.
            options: Those of ``ShardDataModule``.

        Raises:
            UserError: If no label is given, the input is not one of the choices, or both a number and a fraction of
                rows are asked for.
        """
        super().__init__(root, batch_size, labels=labels, **options)
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
