"""A teacher within an experiment: a linear probe on an alignment's image encoder labels recordings that have no label.

Of 40,000 pairs a few hundred may have been contoured by hand. An image encoder reads phenotypes from few labels better
than a reader of ECGs does, and what it says of the other pairs is what the ECG encoder is then trained on
(``data_modules.pseudo_labels``). Validation and test know nothing of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgcmr import __version__
from ecgcmr.errors import UserError
from ecgcmr.evaluation.methods import TAUGHT
from ecgcmr.evaluation.prediction_table import write_prediction_table
from ecgcmr.evaluation.predictions import Predictions, table_of
from ecgcmr.experiments.features import encoder_fingerprint, image_features
from ecgcmr.experiments.methods import Floats, Problem
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.run_graph import entries_of, is_lesson, probe_entries
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.probes.linear_probe import fit_probe
from ecgcmr.shards import ShardIndex
from ecgcmr.training.prediction_tables import recording_numbers

METHOD = "teacher"


def check_lessons(plan: Plan, problem: Problem, counts: Mapping[int | str, int], index: ShardIndex) -> None:
    """Check before anything is trained that a teacher can be fitted, for every number of labels and seed.

    Args:
        plan: The experiment.
        problem: One of its tasks.
        counts: Entry of labels -> number of labelled training recordings.
        index: The cohort.

    Raises:
        UserError: There are fewer labels than were asked for; too few of the labelled recordings, or none of the
            validation split's with a label, have images; or none has images that is not labelled.
    """
    evaluation, task = plan.evaluation, plan.evaluation.tasks[problem.name]
    if evaluation.teacher is None or not is_lesson(task):
        return
    pictured = np.isin(problem.rows, index.positions(None, ("cmr",)))
    networks = [(entries_of(evaluation, TAUGHT), plan.finetune_seeds)] if evaluation.taught and task.finetune else []
    probes = [(probe_entries(evaluation), plan.seeds)] if evaluation.taught_probe else []
    columns = problem.columns_of(task.separately).values() if networks else [list(range(len(problem.labels)))]
    for entries, seeds in (*networks, *probes):
        if not any(entry in counts for entry in entries):
            raise UserError(
                f"evaluation.teacher: task {problem.name} has fewer labelled recordings than any of "
                f"{', '.join(map(str, entries))}; nobody would be taught: name smaller numbers under taught_labels"
            )
        for count, seed in product({counts[entry] for entry in entries if entry in counts}, seeds):
            for part in map(problem.only, columns):
                own = min(count, len(part.training(None)))
                chosen, val, train = (rows[pictured[rows]] for rows in _parts(part, own, seed))
                teachable = sorted(set(range(len(part.labels))) - set(part.unlearnable(chosen)))
                if not teachable or not np.isfinite(part.values[val][:, teachable]).any():
                    raise UserError(
                        f"evaluation.teacher: of {own:,} labelled recordings of task {problem.name} (seed {seed}) "
                        f"{len(chosen):,} have images, of the validation split {len(val):,}: too few to fit a teacher; "
                        "ask for more labels, or leave the teacher out"
                    )
                if len(chosen) == len(train) and np.isfinite(part.values[chosen][:, teachable]).all():
                    raise UserError(
                        f"evaluation.teacher: {own:,} labels of task {problem.name} are those of all {len(train):,} "
                        "training recordings with images; nothing is left to teach: name smaller numbers under "
                        "taught_labels"
                    )


def _parts(problem: Problem, count: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return where in a problem's rows the labelled recordings are, those of validation, and all of training."""
    return problem.training(count, seed), problem.part("val"), problem.part("train")


@dataclass(frozen=True)
class Teacher:
    """Reads images.

    Attributes:
        encoder: Folder of an exported encoder of images.
        index: The cohort.
        cache: Folder that keeps the features of its images.
        trusted: Classes beside this package's that the encoder may be of.
    """

    encoder: Path
    index: ShardIndex
    cache: Path
    trusted: Collection[str] = ()

    def said(self, problem: Problem, count: int, seed: int) -> Floats:
        """Return what the probe says of a problem's training recordings with images.

        Args:
            problem: What is predicted.
            count: Labelled training recordings; those of them that have images fit the probe.
            seed: Of their choice.

        Returns:
            (n, K) for the problem's rows; NaN of other recordings, and of targets that cannot be learnt.
        """
        rows = self.index.positions(None, ("cmr",))
        features = image_features(self.encoder, self.index, rows, self.cache, self.trusted).astype(np.float64)
        place = np.full(len(self.index), -1)
        place[rows] = np.arange(len(rows))
        at = place[problem.rows]  # of a recording's features, -1 without images
        chosen, val, train = (part[at[part] >= 0] for part in _parts(problem, count, seed))
        labels = problem.values
        probe = fit_probe(problem.task, features[at[chosen]], labels[chosen], features[at[val]], labels[val])
        said = np.full(labels.shape, np.nan)
        said[train] = probe.predict(features[at[train]])
        return said

    def write(self, problem: Problem, count: int, seed: int, path: Path) -> None:
        """Write what ``said`` returns as a table, unless that is there; arguments as of ``said``."""
        rows = self.index.positions(None, ("cmr",))
        origin = {
            "features": encoder_fingerprint(self.encoder, self.index, rows, 1),
            "labels": [label.name for label in problem.labels],
            "rows": problem.rows.tolist(),
            "chosen": problem.training(count, seed).tolist(),
            "version": __version__,
        }
        fingerprint = fingerprint_of(origin)
        if is_finished(path.parent, fingerprint) and path.is_file():
            return
        said = self.said(problem, count, seed)
        pupils = np.flatnonzero(np.isfinite(said).any(axis=1))
        subjects = np.asarray(self.index.subjects(problem.rows), dtype=str)
        numbers = recording_numbers(subjects)
        targets, truth = tuple(problem.targets), np.full(said.shape, np.nan)
        truth[problem.training(count, seed)] = problem.values[problem.training(count, seed)]  # of no other recording
        made = Predictions(
            problem.task, targets, subjects[pupils], numbers[pupils], truth[pupils], said[pupils],
            "train", METHOD, "linear_probe", count, seed,
        )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_prediction_table(path, table_of([made]))
        write_marker(path.parent, fingerprint, finished=True)
