"""The methods an experiment compares: each turns labelled training subjects into predictions on the test split."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray

from data_modules import Label, ShardIndex, read_labels
from data_modules.sampling import subset
from ecgcmr.encoders import export_encoder, load_encoder, read_encoder_card
from ecgcmr.errors import UserError
from ecgcmr.evaluation.baselines import baseline_predictions
from ecgcmr.evaluation.results import Target
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.files import write_atomically

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """One task on one cohort: what is predicted, for whom, and which labels may be used.

    Attributes:
        name: The task's name in the experiment file.
        task: ``regression`` or ``classification``.
        labels: The targets.
        rows: Positions in the index of all recordings with an ECG, ascending.
        split: (n,) split of each of these rows.
        values: (n, K) labels of these rows in units or 0/1, NaN missing.
        seed: Of the label subsets.
    """

    name: str
    task: str
    labels: tuple[Label, ...]
    rows: NDArray[np.int64]
    split: NDArray[np.str_]
    values: Floats
    seed: int

    @classmethod
    def of(cls, name: str, task: str, targets: list[str], index: ShardIndex, seed: int) -> Problem:
        """Read a task's labels from the shards.

        Raises:
            UserError: If a target is neither a label nor a group of the cohort, or does not suit the task.
        """
        labels = expand_targets(targets, index)
        for label in labels:
            if label.is_binary != (task == "classification"):
                raise UserError(f"task {name}: {label.name} is a {label.kind}, which does not suit {task}")
        rows = index.positions(None, ("ecg",))
        split = np.empty(len(rows), dtype="U5")
        for part in ("train", "val", "test"):
            split[np.isin(rows, index.positions(part, ("ecg",)))] = part
        values = read_labels(index, [label.name for label in labels], rows).astype(np.float64)
        return cls(name, task, labels, rows, split, values, seed)

    @property
    def targets(self) -> list[Target]:
        """The labels as tables and figures name them."""
        return [Target(label.name, label.group, label.unit, label.title) for label in self.labels]

    def training(self, count: int | None) -> NDArray[np.intp]:
        """Return where in ``rows`` the labelled training subjects are; a smaller count is part of every larger one.

        The choice is that of ``LabelledDataModule(train_labels=count)`` with the same seed.
        """
        labelled = np.flatnonzero((self.split == "train") & np.isfinite(self.values).any(axis=1))
        return labelled if count is None else subset(labelled, count, self.seed)

    def part(self, split: str) -> NDArray[np.intp]:
        """Return where in ``rows`` the rows of a split are."""
        return np.flatnonzero(self.split == split)

    def probe(self, features: Floats, count: int | None) -> Outcome:
        """Fit a linear probe on ``count`` labelled subjects and predict the test split.

        Args:
            features: (n, D), one row for each of ``rows``; NaN is imputed from the training rows.
            count: Number of labelled training subjects; None for all.
        """
        train, val, test = self.training(count), self.part("val"), self.part("test")
        outcome = baseline_predictions(
            self.task, (features[train], self.values[train]), (features[val], self.values[val]), features[test]
        )
        return Outcome(outcome.prediction, self._reasons(outcome.unavailable) + self._reasons(outcome.notes))

    def _reasons(self, notes: dict[int, str]) -> list[str]:
        return [f"{self.labels[column].name}: {reason}" for column, reason in sorted(notes.items())]


@dataclass(frozen=True)
class Outcome:
    """What one method gave.

    Attributes:
        prediction: (n_test, K) in units, or probabilities; NaN throughout for a target without prediction.
        notes: What a reader of the table should know, one line a target concerned.
    """

    prediction: Floats
    notes: list[str] = field(default_factory=list)


def expand_targets(targets: list[str], index: ShardIndex) -> tuple[Label, ...]:
    """Replace names of groups (such as ``LV``) by their labels, in order and without repeats.

    Raises:
        UserError: If a name is neither a label nor a group.
    """
    known = {label.name: label for label in index.layout.labels}
    chosen: dict[str, Label] = {}
    for target in targets:
        group = [label for label in known.values() if label.group == target]
        if not group and target not in known:
            index.label_columns([target])  # says which label was meant
        for label in group or [known[target]]:
            chosen[label.name] = label
    return tuple(chosen.values())


def random_encoder(like: Path, folder: Path, seed: int) -> Path:
    """Export an encoder of the same architecture as the one in ``like``, with random weights.

    Args:
        like: Run folder of a finished stage.
        folder: Where the random encoder goes.
        seed: Of its weights.
    """
    card = read_encoder_card(like)
    fingerprint = fingerprint_of({"class_path": card.class_path, "init_args": card.init_args, "seed": seed})
    if not is_finished(folder, fingerprint):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = type(load_encoder(like))(**card.init_args)
        export_encoder(encoder, folder, class_path=card.class_path, init_args=card.init_args, fingerprint=None)
        write_marker(folder, fingerprint, finished=True)
    return folder


def downstream_config(base: Path, encoder: Path, out: Path) -> Path:
    """Write a downstream config whose encoder is exactly the one of a run folder, so that its weights fit."""
    content = yaml.safe_load(base.read_text())
    card = read_encoder_card(encoder)
    content["model"].setdefault("init_args", {})["encoder"] = {
        "class_path": card.class_path,
        "init_args": card.init_args,
    }
    return write_atomically(out, yaml.safe_dump(content, sort_keys=False).encode())


def oracle_outcome(index: ShardIndex, problem: Problem) -> Outcome:
    """Return the generator's own best prediction for the test split.

    Raises:
        UserError: If the cohort has no oracle, as every real one.
    """
    path = index.root / "oracle.csv"
    if not path.is_file():
        raise UserError(f"{path.name} is missing: only a synthetic cohort has an oracle; leave it out of baselines")
    table = pd.read_csv(path, index_col="subject")
    names = [label.name for label in problem.labels]
    unknown = [name for name in names if name not in table.columns]
    if unknown:
        raise UserError(f"{path.name}: no oracle for {', '.join(unknown)}")
    subjects = index.subjects(problem.rows[problem.part("test")])
    return Outcome(table.loc[list(subjects), names].to_numpy(dtype=np.float64))
