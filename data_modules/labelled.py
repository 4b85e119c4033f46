"""ECGs or CMR frames with labels, all or a seeded part of them, for regression, classification and time to event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from data_modules.base import ShardDataModule
from data_modules.batch import Batch
from data_modules.moments import moments
from data_modules.pseudo_labels import read_pseudo_labels
from data_modules.sampling import subset
from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_choice, check_least
from ecgcmr.shards.index import MODALITIES, read_labels
from ecgcmr.shards.label_choice import TIME, check_covariates, disease_labels, expand_groups

INPUTS = MODALITIES


class LabelledDataModule(ShardDataModule):
    """Rows that have the input; in training only those with at least one of the labels.

    Validation and test keep rows without labels (their labels are NaN), so that predictions cover the whole split.
    Beside what ``ShardDataModule`` gives, a batch holds ``covariates`` (B, C) in their units and, of ``diseases``,
    ``years`` (B, K); NaN is missing. ``labels`` are then the events, NaN where the time is missing too.
    """

    def __init__(
        self,
        root: list[str] | str | Path,
        labels: list[str] | None = None,
        batch_size: int = 128,
        *,
        diseases: list[str] | None = None,
        covariates: list[str] | None = None,
        input: str = "ecg",
        image_size: int | None = None,
        paired: bool = False,
        train_labels: int | None = None,
        train_fraction: float | None = None,
        pseudo_labels: str | Path | None = None,
        augmentation: Callable | None = None,
        evaluation_windows: int = 1,
        train_windows: int = 1,
        **options: Any,
    ) -> None:
        """Set up the data module; no file is touched.

        Args:
            root: Folder of the prepared cohort, or a list of them, see ``ShardDataModule``.
            labels: Names of the targets, or of groups such as ``LV``, which stand for all their labels.
            batch_size: Rows per device and batch.
            diseases: In place of ``labels``, for ``TimeToEvent``: names such as ``cad``, whose ``cad_incident`` and
                ``cad_years`` are the target.
            covariates: Labels of kind covariate, such as ``[age, sex, bmi]``, that the model is given beside the input.
            input: What the model sees; ``ecg`` or ``cmr``.
            image_size: Resize frames to this many rows and columns on the device; None keeps the stored ones.
            paired: Only subjects with both an ECG and frames, so that models of either see the same ones.
            train_labels: Train on this many labelled rows; None is all. With one seed a smaller choice is contained in
                every larger one.
            train_fraction: The same as a fraction of the labelled rows, in (0, 1]. (Not one argument with two types: a
                parser may then read 50 as 50.0.)
            pseudo_labels: Table of another model's predictions for the training split, as ``ecgcmr predict`` writes it
                (``.parquet`` or ``.csv``): what it predicts stands for labels that training rows lack, or that
                ``train_labels`` leaves out. Rows with labels keep them; validation and test see true labels alone, and
                mean and deviation are those of true ones.
            augmentation: ``augmentation(x, generator) -> x`` for training batches, x (B, leads, samples) or
                (B, frames, height, width) in [0, 1].
            evaluation_windows: Evenly spaced windows of ``samples`` that validation, test and prediction take of each
                ECG, from its first to its last samples; they may overlap. The model's features are averaged over them,
                so that a model of 1250 samples sees all 5000 from 4 on. Takes as many times the computing; 1 takes the
                first samples alone. Training takes ``train_windows``.
            train_windows: Crops of ``samples`` that training takes of each ECG, each with a start and an augmentation
                of its own, drawn anew every epoch; they may overlap. The model's features are pooled over them as in
                evaluation. Takes as many times the computing and the memory of a batch.
            options: Those of ``ShardDataModule``.

        Raises:
            UserError: If no target is given, or labels and diseases both; the input is not one of the choices; both a
                number and a fraction of rows are asked for; or windows are below 1, or several of frames.
        """
        super().__init__(root, batch_size, labels=labels, **options)
        if bool(labels) == bool(diseases):
            raise UserError("labels, diseases: name at least one label, or at least one disease for its time to event")
        if train_labels is not None and train_fraction is not None:
            raise UserError("train_labels and train_fraction: give one of them")
        if pseudo_labels is not None and (diseases or train_fraction is not None):
            raise UserError("pseudo_labels: stand for numbers under labels, beside train_labels; remove the rest")
        if pseudo_labels is not None and len(self.roots) > 1:
            raise UserError("pseudo_labels: are of one cohort, and root names several; give one")
        check_choice(INPUTS, input=input)
        windows = {"evaluation_windows": evaluation_windows, "train_windows": train_windows}
        check_least(1, **windows)
        if input != "ecg":
            self._refuse_options_of_ecgs(windows)
        self.diseases = list(diseases or [])
        self.covariate_names = list(covariates or [])
        self.input = input
        self.modalities = (input,)  # type: ignore[misc]  # here a matter of the instance
        self.image_size = image_size
        self.evaluation_windows = evaluation_windows
        self.train_windows = train_windows
        self.paired = paired
        self.train_labels = train_labels
        self.train_fraction = train_fraction
        self.pseudo_labels = None if pseudo_labels is None else Path(pseudo_labels)
        self.augmentations = {input: augmentation}
        self._named = False
        self._years = np.empty((0, 0), dtype=np.float32)
        self._covariate_values: np.ndarray | None = None
        self._fits = False
        self._labelled: np.ndarray | None = None
        self._taught_labels: np.ndarray | None = None
        self._tables: dict[str, Tensor] = {}
        self._noted: set[str] = set()

    def _refuse_options_of_ecgs(self, windows: Mapping[str, int]) -> None:
        """Raise a UserError where an option is given that frames know nothing of."""
        if self.leads is not None or self.leave_out_leads:
            raise UserError("leads, leave_out_leads: belong to input ecg; remove them")
        for option, number in windows.items():
            if number > 1:
                raise UserError(f"{option}: belongs to input ecg; remove it")

    def setup(self, stage: str | None = None) -> None:
        """Name targets and covariates, then as ``ShardDataModule``. Pseudo-labels are for a fit alone."""
        self._fits = stage == "fit"
        self._name()
        ecg = self.index.layout.ecg
        if self.input != "ecg" and ecg is not None:
            self.samples = min(self.samples, ecg.samples)
        super().setup(stage)

    def _name(self) -> None:
        """Turn groups and diseases into names of labels, and check the covariates beside them, once."""
        if self._named:
            return
        if self.diseases:
            pairs = disease_labels(self.index, self.diseases)
            self.label_names = [event for event, _ in pairs]
            self.diseases = [years.removesuffix(TIME.format("")) for _, years in pairs]  # a group is its diseases
        else:
            self.label_names = expand_groups(self.index.layout.labels, self.label_names)
        check_covariates(self.index, self.covariate_names, self.label_names)
        self._named = True

    def label_values(self) -> np.ndarray | None:
        """Return the targets, (rows of the index, L) float32, read once; of diseases whether the event happened.

        In a fit with ``pseudo_labels`` those of training rows are a teacher's where they lack their own.
        """
        if self._labels is None:
            self._name()
            labels = super().label_values()
            if self.diseases and labels is not None:
                names = [years for _, years in disease_labels(self.index, self.diseases)]
                years = read_labels(self.index, names, np.arange(len(self.index)))
                known = np.isfinite(labels) & np.isfinite(years)
                self._labels, self._years = np.where(known, labels, np.nan), np.where(known, years, np.nan)
        if self.pseudo_labels is None or not self._fits or self._labels is None:
            return self._labels
        if self._taught_labels is None:
            self._taught_labels = self._taught(self._labels, self.pseudo_labels)
        return self._taught_labels

    def _taught(self, labels: np.ndarray, path: Path) -> np.ndarray:
        """Return the labels with those of a teacher where a training row lacks them, or is not among the chosen."""
        train = self._rows_with_input("train")
        self._labelled = self._choice(labels, train)
        for label in self.index.layout.labels:
            if label.is_binary and label.name in self.label_names:
                raise UserError(f"pseudo_labels: stand for numbers, and {label.name} is yes or no; remove one of them")
        values = read_pseudo_labels(path, self.index, self.label_names, len(self._labelled))
        taught = labels.copy()
        taught[np.setdiff1d(train, self._labelled, assume_unique=True)] = np.nan
        filled = np.zeros(labels.shape, dtype=bool)
        filled[train] = np.isnan(taught[train]) & np.isfinite(values[train])
        taught[filled] = values[filled]
        if not filled.any():
            raise UserError(
                f"pseudo_labels: {path.name} predicts no training row that lacks a label here; write it with 'ecgcmr "
                "predict --data.predict_split all', since split train holds the labelled rows alone"
            )
        rank_zero_info(
            f"pseudo-labels: {path.name} stands for labels of {int(filled.any(axis=1).sum()):,} training rows, "
            f"{len(self._labelled):,} have labels of their own"
        )
        return taught

    def _rows_with_input(self, split: str) -> np.ndarray:
        rows = super().select(split)
        if self.paired:
            rows = np.intersect1d(rows, self._positions(split, MODALITIES), assume_unique=True)
        return rows

    def _choice(self, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return those of the training rows that have a label, or the chosen part of them."""
        rows = rows[~np.isnan(labels[rows]).all(axis=1)]
        if len(rows) == 0:
            what = "an ECG" if self.input == "ecg" else "CMR frames"
            raise UserError(f"{self.place}: no training row has {what} and a value of {', '.join(self.label_names)}")
        amount = self.train_fraction if self.train_labels is None else self.train_labels
        return rows if amount is None else subset(rows, amount, self.seed)

    def select(self, split: str) -> np.ndarray:
        """Return the positions of a split's rows; in ``train`` those with a label, or the chosen part of them."""
        rows, labels = self._rows_with_input(split), self.label_values()
        if split != "train" or labels is None:
            return rows
        if labels is self._taught_labels:
            return rows[~np.isnan(labels[rows]).all(axis=1)]
        return self._choice(labels, rows)

    @property
    def labelled_size(self) -> int:
        """Training rows with labels of their own."""
        return len(self._labelled_rows)

    @property
    def _labelled_rows(self) -> np.ndarray:
        rows = self.rows("train")
        return rows if self._labelled is None else self._labelled

    def label_statistics(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, (len(names),) float32 each, over the rows that are trained on.

        Those are the chosen ones under ``train_labels``: what 50 labels teach includes the scale. A label of 0 and 1
        has its prevalence p as mean. Where all values are equal the deviation is given as 1; where there is none the
        mean is NaN and the deviation 1, which is said in a line.

        Raises:
            UserError: If a name is unknown, or no row can be trained on.
        """
        mean, deviation = self._statistics(names)
        for name, value in zip(names, mean.tolist(), strict=True):
            if np.isnan(value) and name not in self._noted:
                self._noted.add(name)
                rank_zero_info(f"note: no training row has a value of {name}; it is neither trained nor predicted")
        return mean, deviation

    def covariate_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the covariates, (C,) float32 each, over the rows that are trained on.

        Raises:
            UserError: If a covariate has no value there.
        """
        mean, deviation = self._statistics(self.covariate_names)
        for name, value in zip(self.covariate_names, mean.tolist(), strict=True):
            if np.isnan(value):
                raise UserError(f"covariates: {name} has no value among the training rows; leave it out")
        return mean, deviation

    def training_follow_up(self) -> tuple[Tensor, Tensor]:
        """Return years and events, (N, K) float32 each, NaN unknown, of the rows that are trained on.

        Raises:
            UserError: If the targets are no ``diseases``.
        """
        labels = self.label_values()
        if not self.diseases or labels is None:
            raise UserError("data.diseases is empty: for time to event name diseases, such as [cad, af, dm]")
        rows = self.rows("train")
        return torch.from_numpy(self._years[rows]), torch.from_numpy(labels[rows])

    def _statistics(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        labels, rows = self.label_values(), self._labelled_rows
        known = labels is not None and list(names) == self.label_names and self.pseudo_labels is None
        values = labels[rows] if known and labels is not None else read_labels(self.index, list(names), rows)
        return moments(values)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make floats, augment or cut windows, and add covariates and years, looked up on the device."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        further = cast(dict[str, Tensor], batch)
        row = batch["row"]
        for name, values in self._further().items():
            table = self._tables.get(name)
            if table is None or table.device != row.device:  # goes to the device once
                table = self._tables[name] = torch.from_numpy(values).to(row.device)
            further[name] = table[row]
        return batch

    def _further(self) -> dict[str, np.ndarray]:
        """Return what a batch holds beside input and labels, (rows of the index, columns) float32 each."""
        further: dict[str, np.ndarray] = {}
        if self.diseases:
            self.label_values()
            further["years"] = self._years
        if self.covariate_names:
            further["covariates"] = self._covariates()
        return further

    def _covariates(self) -> np.ndarray:
        if self._covariate_values is None:
            self._covariate_values = read_labels(self.index, self.covariate_names, np.arange(len(self.index)))
        return self._covariate_values
