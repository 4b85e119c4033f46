"""The methods an experiment compares: each turns labelled training recordings into predictions on the test split."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from data_modules.sampling import subset
from ecgcmr.encoders import export_encoder, load_encoder, read_encoder_card
from ecgcmr.errors import UserError
from ecgcmr.evaluation.rows import Target
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.metrics.task_metrics import known_cells
from ecgcmr.metrics.tasks import Task, task_for
from ecgcmr.probes.baselines import BaselineOutcome, probe_label_counts
from ecgcmr.probes.linear_probe import unlearnable
from ecgcmr.shards import Label, ShardIndex, read_labels
from ecgcmr.shards.label_choice import disease_labels, expand_groups

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """One task on one cohort: what is predicted, for whom, and which labels may be used.

    Attributes:
        task: What is predicted, under its name in the experiment file.
        labels: The targets; of the time to an event the events.
        rows: Positions in the index of all recordings with an ECG, ascending.
        split: (n,) split of each of these rows.
        values: (n, K) labels of these rows in units or 0/1, NaN missing; of the time to an event (n, K, 2), event and
            years, NaN in both where either is missing.
    """

    task: Task
    labels: tuple[Label, ...]
    rows: NDArray[np.int64]
    split: NDArray[np.str_]
    values: Floats

    @classmethod
    def of(cls, name: str, kind: str, targets: list[str], index: ShardIndex) -> Problem:
        """Read a task's labels from the shards.

        Args:
            name: The task's name.
            kind: A key of ``TASKS``.
            targets: Labels, groups of them, or diseases.
            index: The cohort.

        Raises:
            UserError: If a target is neither a label nor a group of the cohort (or no disease with a time to event), or
                does not suit the task.
        """
        task = task_for(kind, name)
        if task.followed:
            times = dict(disease_labels(index, targets))
            names = list(times)
        else:
            names = expand_groups(index.layout.labels, targets)
        labels = tuple(index.layout.labels[column] for column in index.label_columns(names))
        wrong = [label for label in labels if not task.followed and label.is_binary != task.binary]
        if wrong:
            raise UserError(f"task {name}: {wrong[0].name} is a {wrong[0].kind}, which does not suit {kind}")
        rows = index.positions(None, ("ecg",))
        split = np.empty(len(rows), dtype="U5")
        for part in ("train", "val", "test"):
            split[np.isin(rows, index.positions(part, ("ecg",)))] = part
        values = read_labels(index, [label.name for label in labels], rows).astype(np.float64)
        if task.followed:
            years = read_labels(index, [times[label.name] for label in labels], rows).astype(np.float64)
            values = np.stack([values, years], axis=2)
            values[~known_cells(values)] = np.nan
        return cls(task, labels, rows, split, values)

    @property
    def name(self) -> str:
        """The task's name in the experiment file."""
        return self.task.name

    @property
    def targets(self) -> list[Target]:
        """The labels as tables and figures name them."""
        return [Target(label.name, label.group, label.unit, label.title) for label in self.labels]

    def training(self, count: int | None, seed: int = 0) -> NDArray[np.intp]:
        """Return where in ``rows`` the labelled training recordings are; a smaller count is part of every larger one.

        The choice is that of ``LabelledDataModule(train_labels=count)`` with the same labels, or diseases, and seed.
        """
        labelled = np.flatnonzero((self.split == "train") & known_cells(self.values).any(axis=1))
        return labelled if count is None else subset(labelled, count, seed)

    def unlearnable(self, rows: NDArray[np.intp]) -> dict[int, str]:
        """Return the targets that cannot be learnt from some of ``rows``: column -> reason."""
        return unlearnable(self.task, self.values[rows])

    def part(self, split: str) -> NDArray[np.intp]:
        """Return where in ``rows`` the rows of a split are."""
        return np.flatnonzero(self.split == split)

    def columns_of(self, separately: str | None) -> dict[str, list[int]]:
        """Return the columns that share a model: all of them under "", or those of each target or group by its name."""
        if separately is None:
            return {"": list(range(len(self.labels)))}
        groups: dict[str, list[int]] = {}
        for column, label in enumerate(self.labels):
            groups.setdefault(label.name if separately == "target" else label.group, []).append(column)
        return groups

    def only(self, columns: list[int]) -> Problem:
        """Return the problem of some of the targets."""
        return replace(self, labels=tuple(self.labels[k] for k in columns), values=self.values[:, columns])

    def probe(self, features: Floats, counts: list[int], seed: int) -> dict[int, Outcome]:
        """Fit linear probes on each number of labelled subjects and predict the validation and test split.

        Args:
            features: (n, D), one row for each of ``rows``; NaN is imputed from the training rows.
            counts: Numbers of labelled training recordings.
            seed: Of the choice of subjects.
        """
        subsets = {count: self.training(count, seed) for count in counts}
        val, test = self.part("val"), self.part("test")
        outcomes = probe_label_counts(self.task, features, self.values, subsets, val, test)
        return {count: self.outcome(found) for count, found in outcomes.items()}

    def taught_probe(self, features: Floats, said: Floats, count: int, seed: int) -> Outcome:
        """Fit a linear probe on labels, and on what a teacher says where a training recording has none.

        Args:
            features: (n, D), one row for each of ``rows``.
            said: (n, K), NaN where the teacher says nothing.
            count: Labelled training recordings, whose labels are known; those of others are not.
            seed: Of their choice.
        """
        chosen, train = self.training(count, seed), self.part("train")
        others = np.setdiff1d(train, chosen, assume_unique=True)
        values = self.values.copy()
        values[others] = np.nan
        values[train] = np.where(np.isnan(values[train]), said[train], values[train])
        learnt = train[np.isfinite(values[train]).any(axis=1)]
        found = probe_label_counts(self.task, features, values, {count: learnt}, self.part("val"), self.part("test"))
        outcome = self.outcome(found[count])
        pupils = np.setdiff1d(learnt, chosen, assume_unique=True)
        return replace(outcome, notes=[*outcome.notes, lesson_note(len(pupils), len(chosen))])

    def validation_score(self, prediction: Floats) -> float:
        """Return the metric that leads the task's tables, on the validation split, as a mean over its targets.

        Args:
            prediction: (n_val, K); a target without prediction counts like one that nothing is known of.

        Returns:
            NaN where no target can be scored.
        """
        truth, key = self.values[self.part("val")], self.task.primary
        score = np.where(
            np.isfinite(prediction).all(axis=0), self.task.score(truth, prediction)[key], self.task.metric(key).no_skill
        )
        return float(np.nanmean(score)) if np.isfinite(score).any() else float("nan")

    def best_of(self, outcomes: Sequence[Outcome], what: str) -> Outcome:
        """Return the outcome that reads best on the validation split, the first of equals, with a note that says so.

        Args:
            outcomes: With predictions of the validation split.
            what: What differs between them, in the singular.
        """
        scores = [self.validation_score(each.validation) for each in outcomes if each.validation is not None]
        best = int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))
        metric = self.task.metric(self.task.primary)
        note = (
            f"{self.name}: validation chose {what} {best + 1} of {len(outcomes)}, mean {metric.title} there "
            f"{scores[best]:.{metric.digits}f}, of the last {scores[-1]:.{metric.digits}f}"
        )
        return replace(outcomes[best], notes=[*outcomes[best].notes, note])

    def outcome(self, found: BaselineOutcome) -> Outcome:
        """Return what a probe or a baseline found, its notes named by target."""
        notes = {**found.unavailable, **found.notes}
        return Outcome(found.prediction, found.validation, self.named(notes))

    def named(self, notes: dict[int, str]) -> list[str]:
        """Return notes on columns as lines that name the targets."""
        return [f"{self.labels[column].name}: {reason}" for column, reason in sorted(notes.items())]


@dataclass(frozen=True)
class Outcome:
    """What one method gave.

    Attributes:
        prediction: (n_test, K) in units, probabilities or risks; NaN throughout for a target without prediction.
        validation: (n_val, K) the same for the validation split, or None.
        notes: What a reader of the table should know, one line a target concerned.
        ended: How the training of each target's network ended, K of ``ENDS``; empty where nothing was trained in steps.
    """

    prediction: Floats
    validation: Floats | None = None
    notes: list[str] = field(default_factory=list)
    ended: tuple[str, ...] = ()


def random_encoder(like: Path, folder: Path, seed: int, trusted: Collection[str] = ()) -> Path:
    """Export an encoder of the same architecture as the one in ``like``, with random weights.

    Args:
        like: Run folder of a finished stage.
        folder: Where the random encoder goes.
        seed: Of its weights.
        trusted: Modules or classes beside this package's that the encoder may be of.
    """
    card = read_encoder_card(like)
    fingerprint = fingerprint_of({"class_path": card.class_path, "init_args": card.init_args, "seed": seed})
    if not is_finished(folder, fingerprint):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = type(load_encoder(like, trusted))(**card.init_args)
        # Random weights know no preparation; they are compared on the recordings that the trained ones saw.
        export_encoder(
            encoder, folder, class_path=card.class_path, init_args=card.init_args, preparation=card.preparation
        )
        write_marker(folder, fingerprint, finished=True)
    return folder


def oracle_outcome(index: ShardIndex, problem: Problem) -> Outcome | None:
    """Return the generator's own best prediction for the test split.

    None for a time to an event of which the oracle has no risk: it then tells who ever has a disease, not when.

    Raises:
        UserError: If the cohort has no oracle, as every real one.
    """
    path = index.root / "oracle.csv"
    if not path.is_file():
        raise UserError(f"{path.name} is missing: only a synthetic cohort has an oracle; leave it out of baselines")
    table = pd.read_csv(path, index_col="subject")
    names = [label.name for label in problem.labels]
    unknown = [name for name in names if name not in table.columns]
    if unknown == names and problem.task.followed:
        return None
    if unknown:
        raise UserError(f"{path.name}: no oracle for {', '.join(unknown)}")
    subjects = index.subjects(problem.rows[problem.part("test")])
    return Outcome(table.loc[list(subjects), names].to_numpy(dtype=np.float64))


def lesson_note(pupils: int, labelled: int) -> str:
    """Return the note on how many training recordings a teacher labels, beside those that have labels."""
    return f"the teacher labels {pupils:,} training recordings beside the {labelled:,} that have labels"
