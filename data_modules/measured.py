"""ECGs together with what was measured of the same heart, and with its CMR frames where asked for, for alignment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from data_modules.base import ShardDataModule
from data_modules.batch import Batch
from data_modules.moments import moments
from data_modules.sampling import PURPOSE
from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_least
from ecgcmr.shards.index import read_labels
from ecgcmr.shards.label_choice import expand_groups


class MeasuredDataModule(ShardDataModule):
    """Rows that have an ECG, at least one of the measurements and, with ``images``, frames.

    Beside what ``ShardDataModule`` gives, a batch holds ``measurements`` (B, M) in their units, NaN = missing. Values
    are read of the splits alone that a command goes through, so that no fit ever holds those of the test split.

    Attributes:
        measurement_names: Names of the measurements, in the order of a batch's columns.
        without_measurement: Split -> rows that have all else, and are left out because nothing was measured.
    """

    def __init__(
        self,
        root: list[str] | str | Path,
        measurements: list[str],
        batch_size: int = 128,
        *,
        images: bool = False,
        image_size: int | None = None,
        ecg_augmentation: Callable | None = None,
        cmr_augmentation: Callable | None = None,
        measurement_augmentation: Callable | None = None,
        **options: Any,
    ) -> None:
        """Set up the data module; no file is touched.

        Args:
            root: Folder of the prepared cohort, or of several as one.
            measurements: Names of labels of any kind: what an ECG is aligned with. ``labels`` are only probed.
            batch_size: Rows per device and batch.
            images: Rows have CMR frames too, for a contrast of all three.
            image_size: Resize the frames to this many rows and columns on the device; None keeps the stored ones.
            ecg_augmentation: ``augmentation(ecg (B, leads, samples), generator) -> ecg`` for training batches.
            cmr_augmentation: ``augmentation(cmr (B, frames, height, width) in [0, 1], generator) -> cmr``, likewise.
            measurement_augmentation: ``augmentation(measurements (B, M), generator) -> measurements``, likewise;
                such as ``HideMeasurements``.
            options: Those of ``ShardDataModule``.

        Raises:
            UserError: No measurement is named, one twice, or frames are to be resized that are not asked for.
        """
        super().__init__(root, batch_size, **options)
        if not measurements or len(set(measurements)) < len(measurements):
            raise UserError(f"measurements [{', '.join(measurements)}]: name at least one label, each once")
        if not images and (image_size is not None or cmr_augmentation is not None):
            raise UserError("image_size, cmr_augmentation: belong to images: true; set it or remove them")
        if image_size is not None:
            check_least(1, image_size=image_size)
        self.modalities = ("ecg", "cmr") if images else ("ecg",)  # type: ignore[misc]  # here a matter of the instance
        self.image_size = image_size
        self.measurement_names = list(measurements)
        self.augmentations = {
            "ecg": ecg_augmentation,
            "cmr": cmr_augmentation,
            "measurements": measurement_augmentation,
        }
        self.without_measurement: dict[str, int] = {}
        self._noted: set[str] = set()
        self._values: np.ndarray | None = None
        self._table: Tensor | None = None

    @property
    def input_spec(self) -> dict[str, dict[str, Any]]:
        """What encoders are fed: beside ``ecg`` and ``cmr``, ``measurements`` (names)."""
        return super().input_spec | {"measurements": {"names": tuple(self.measurement_names)}}

    def setup(self, stage: str | None = None) -> None:
        """Check the names, then as ``ShardDataModule``; say how many rows are left out because nothing was measured.

        Raises:
            UserError: A name is unknown, or that of a group: the encoder has a place for each label.
        """
        self._check_names()
        super().setup(stage)
        for split, count in self.without_measurement.items():
            if count and split not in self._noted:
                self._noted.add(split)
                kept = len(self.rows(split))
                rank_zero_info(
                    f"note: {count:,} of {count + kept:,} rows of the {split} split have none of the "
                    f"{len(self.measurement_names)} measurements and are left out"
                )

    def _check_names(self) -> None:
        members = expand_groups(self.index.layout.labels, self.measurement_names)
        if members != self.measurement_names:
            groups = [name for name in self.measurement_names if name not in members]
            raise UserError(
                f"measurements: {', '.join(groups)} is a group, and each label has its place: write "
                f"[{', '.join(members)}]"
            )
        self.index.label_columns(self.measurement_names)

    def select(self, split: str) -> np.ndarray:
        """Return the positions of a split's rows that have a measurement; the others are counted."""
        rows = super().select(split)
        values = read_labels(self.index, self.measurement_names, rows)
        values[~np.isfinite(values)] = np.nan
        there = np.isfinite(values).any(axis=1)
        self.without_measurement[split] = int((~there).sum())
        if len(rows) and not there.any():
            raise UserError(
                f"{self.place}: no row of the {split} split with {' and '.join(map(str.upper, self.modalities))} has a "
                f"value of {', '.join(self.measurement_names)}"
            )
        if self._values is None:
            self._values = np.full((len(self.index), len(self.measurement_names)), np.nan, dtype=np.float32)
        self._values[rows], self._table = values, None
        return rows[there]

    def measurement_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, (M,) float32 each, of the rows that are trained on.

        Where all values are equal the deviation is given as 1.

        Raises:
            UserError: A measurement has no value there.
        """
        rows = self.rows("train")
        mean, deviation = moments(self._known_values()[rows])
        for name, value in zip(self.measurement_names, mean.tolist(), strict=True):
            if np.isnan(value):
                raise UserError(f"measurements: {name} has no value among the training rows; leave it out")
        return mean, deviation

    def _known_values(self) -> np.ndarray:
        """Return the measurements (rows of the index, M) of the splits that were asked for."""
        if self._values is None:
            raise RuntimeError("measurements are read with the rows of a split")
        return self._values

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """As ``ShardDataModule``, then add measurements, looked up on the device; some are hidden in training."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        row = batch["row"]
        if self._table is None or self._table.device != row.device:  # goes to the device once
            self._table = torch.from_numpy(self._known_values().copy()).to(row.device)
        measured = self._augment("measurements", PURPOSE.measurement_augmentation, self._table[row], row)
        cast(dict[str, Tensor], batch)["measurements"] = measured
        return batch
