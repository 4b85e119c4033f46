"""Which rows of which cohorts a data module goes through, and what a row holds: leads, labels, input of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from data_modules.leads import LeadChoice
from data_modules.training_rows import TrainingChoice
from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_choice, check_least
from ecgcmr.shards.index import ShardIndex, read_labels
from ecgcmr.shards.joint_index import JointIndex, leaks_into, open_cohorts, without_rows
from ecgcmr.shards.layout import SPLITS
from ecgcmr.shards.same_recordings import not_comparable

ALL = "all"
"""In place of a split: rows of every split."""


class CohortDataModule(LightningDataModule):
    """The rows of one cohort of shards, or of several as one; how they are read is ``ShardDataModule``'s.

    Attributes:
        roots: Folders of the cohorts, of which ``root`` is the first.
        modalities: What a row must have and a batch holds.
        label_names: Labels in a batch, in the order of its columns; empty for none.
        balanced_label: The 0/1 label that half of each epoch's rows have, or None.
        image_size: Rows and columns of the frames in a batch; None keeps the stored ones.
    """

    modalities: ClassVar[tuple[str, ...]] = ("ecg",)
    image_size: int | None = None

    def __init__(
        self,
        root: list[str] | str | Path,
        samples: int = 2500,
        labels: list[str] | None = None,
        predict_split: str = "test",
        selection: str | None = None,
        min_quality: float | None = None,
        balance: str | None = None,
        leads: list[str] | None = None,
        leave_out_leads: list[str] | None = None,
        weight: str | None = None,
        epoch_rows: int | None = None,
        weights: list[float] | None = None,
        apart_from: list[str] | None = None,
    ) -> None:
        """Set up the choice of rows; no file is touched.

        Args:
            root: Folder that ``ecgcmr prepare`` or ``ecgcmr synthesize --format shards`` wrote; of a list the cohorts
                are one training set. Labels are joined, missing where a cohort lacks one. A subject who stands in two,
                found by hash or by an equal recording, is never in training of one and in validation or test of the
                other.
            samples: ECG samples per lead; a random crop in training, the first ones otherwise.
            labels: Names of labels to put into a batch.
            predict_split: Split that ``predict`` goes through; ``all`` is every row of all three, trained on or not.
            selection: Train on this named selection of the index alone, such as ``train_10pct``.
            min_quality: Train on ECGs alone whose label ``signal_quality`` (0 to 1, NaN counts as 0) is at least this.
            balance: A 0/1 label; every epoch then holds as many rows with as without it, each at most once. The larger
                class takes turns over the epochs.
            leads: Names of the leads that a batch holds, in this order, such as ``[I, II, V1]``; None is all. The
                encoder then has as many ``leads``, and their places among the twelve as ``lead_rows``.
            leave_out_leads: Any of ``missing``, ``derived``, ``flat``, ``clipped``, ``noisy``: leads of a record that
                are marked so in the cohort stay in the batch, but its ``lead_mask`` tells the encoder to leave them
                out. A record without any other lead is left out whole, in every split.
            weight: A label that is not negative, such as a sampling weight. Every epoch then draws ``epoch_rows`` rows
                without replacement, in proportion to it; rows where it is 0 or missing take no part.
            epoch_rows: Training rows of an epoch over all devices, drawn anew each time; evenly without ``weight``.
                None goes through all.
            weights: Of each cohort under ``root``: in what proportion an epoch takes rows of them, such as ``[3, 1]``;
                the rows of each take turns over the epochs. Without ``epoch_rows`` an epoch is as long as it can be
                without a row twice. None takes all rows of all.
            apart_from: Folders of other cohorts, on which a model will be judged: rows of subjects who stand in their
                validation or test split, found likewise, are left out.

        Raises:
            UserError: If an option is out of its range or not one of the choices, or two exclude each other.
        """
        super().__init__()
        check_choice((*SPLITS, ALL), predict_split=predict_split)
        check_least(1, samples=samples)
        self.roots = [Path(each) for each in root] if isinstance(root, list) else [Path(root)]
        self.root = self.roots[0] if self.roots else Path()
        self.apart_from = [Path(each) for each in apart_from or []]
        self.samples = samples
        self.label_names = list(labels or [])
        self.predict_split = predict_split
        self.leads = leads
        self.leave_out_leads = list(leave_out_leads or [])
        self.lead_choice = LeadChoice(self.leads, self.leave_out_leads)
        self.training_choice = TrainingChoice(selection, min_quality, balance, weight, epoch_rows, weights)
        if weights is not None and len(weights) != len(self.roots):
            raise UserError(
                f"weights has {len(weights)} entries; it needs one for each cohort of root, {len(self.roots)}"
            )
        self.balanced_label = balance
        self._labels: np.ndarray | None = None
        self._rows: dict[str, np.ndarray] = {}

    @property
    def place(self) -> str:
        """Where the cohort lies, or all of them, for messages."""
        return " + ".join(map(str, self.roots))

    @cached_property
    def index(self) -> ShardIndex:
        """The index of the cohort, or of all of them as one, read on first use."""
        index = open_cohorts(self.roots)
        if isinstance(index, JointIndex) and index.shared:
            rank_zero_info(
                f"note: {index.shared:,} subjects stand in several of the cohorts; {len(index.left_out):,} rows of "
                "theirs are left out"
            )
        judges = [ShardIndex.load(root) for root in self.apart_from]
        _say_what_is_not_found([*(index.members if isinstance(index, JointIndex) else (index,)), *judges])
        if judges:
            leaks = leaks_into(index, judges)
            rank_zero_info(f"note: {len(leaks):,} rows are left out, for their subjects stand in data.apart_from")
            index = without_rows(index, leaks)
        return index

    @property
    def input_spec(self) -> dict[str, dict[str, Any]]:
        """What an encoder is fed: ``ecg`` (leads, sampling_rate in Hz, samples), ``cmr`` (frames, height, width).

        With a subset of the leads ``ecg`` has ``lead_rows`` too, their places among the standard twelve.
        """
        spec: dict[str, dict[str, Any]] = {}
        ecg, cmr = self.index.layout.ecg, self.index.layout.cmr
        if "ecg" in self.modalities and ecg is not None:
            shape = {"sampling_rate": ecg.sampling_rate, "samples": self.samples}
            spec["ecg"] = self.lead_choice.specification(ecg) | shape
        if "cmr" in self.modalities and cmr is not None:
            height, width = (self.image_size or cmr.height), (self.image_size or cmr.width)
            spec["cmr"] = {"frames": len(cmr.frames), "height": height, "width": width}
        return spec

    def rows(self, split: str) -> np.ndarray:
        """Return the positions (k,) int64 in the index that a split's loader goes through.

        Raises:
            UserError: If there are none.
        """
        if split not in self._rows:
            rows = self.select(split)
            if len(rows) == 0:
                wanted = " and ".join(name.upper() for name in self.modalities)
                where = "no split holds a" if split == ALL else f"the {split} split holds no"
                raise UserError(f"{self.place}: {where} row with {wanted}")
            self._rows[split] = rows
        return self._rows[split]

    def select(self, split: str) -> np.ndarray:
        """Return the positions of a split's rows that have what this data module needs; may be empty.

        In ``train`` they belong to the selection and have quality and weight as asked for; evaluation always covers its
        split, and ``all`` every row.
        """
        rows = self.lead_choice.keep(self.index, self._positions(split, self.modalities))
        return self.training_choice.keep(self.index, rows) if split == "train" else rows

    def _positions(self, split: str, need: Sequence[str]) -> np.ndarray:
        return self.index.positions(None if split == ALL else split, need)

    def label_values(self) -> np.ndarray | None:
        """Return the labels asked for, (rows of the index, L) float32, read once; None if none were asked for.

        Raises:
            UserError: The cohort has none of that name.
        """
        if self._labels is None and self.label_names:
            try:
                self.index.label_columns(self.label_names)
            except UserError as error:
                raise UserError(f"{error}; data.labels (covariates, diseases) says what is read") from error
            self._labels = read_labels(self.index, self.label_names, np.arange(len(self.index)))
        return self._labels

    def label_statistics(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, (len(names),) float32 each, of the training split's known values.

        A label of 0 and 1 has its prevalence p as mean and sqrt(p (1 - p)) as deviation. Where all values are equal
        the deviation is given as 1, so that standardising yields 0.

        Raises:
            UserError: If a name is unknown or a label has no value in the training split.
        """
        means, deviations = [], []
        self.index.label_columns(names)
        for name in names:
            entry = self.index.statistics[name]
            if not entry["n"]:
                raise UserError(f"label {name!r} has no value in the training split; leave it out")
            mean = entry["positives"] / entry["n"] if "positives" in entry else entry["mean"]
            deviation = (mean * (1 - mean)) ** 0.5 if "positives" in entry else entry["std"]
            means.append(mean)
            deviations.append(deviation if deviation > 0 else 1.0)
        return torch.tensor(means), torch.tensor(deviations)


def _say_what_is_not_found(cohorts: Sequence[ShardIndex]) -> None:
    for number in not_comparable(cohorts):
        rank_zero_info(
            f"note: {cohorts[number].root} stores recordings in another length or type, or prepared otherwise, "
            "than the other cohorts; a person in both is found by hash, perhaps not by recording"
        )
