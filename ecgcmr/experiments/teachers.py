"""A teacher within an experiment: a linear probe on an alignment's image encoder labels recordings that have no label.

Of 40,000 pairs a few hundred may have been contoured by hand. An image encoder reads phenotypes from few labels far
better than any reader of ECGs, and what it says of the other pairs is what the ECG encoder is then trained on
(``data_modules.pseudo_labels``). Validation and test know nothing of it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import write_prediction_table
from ecgcmr.evaluation.predictions import Predictions, table_of
from ecgcmr.experiments.features import encoder_fingerprint, image_features
from ecgcmr.experiments.methods import Floats, Problem
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.probes.linear_probe import fit_probe
from ecgcmr.shards import ShardIndex
from ecgcmr.training.prediction_tables import FILE, recording_numbers

METHOD = "teacher"


def teacher_table(out: Path, run: str) -> Path:
    """Return where the labels of a taught run lie, in an experiment's folder."""
    return out / "features" / f"{run}-{METHOD}" / FILE


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

        Raises:
            UserError: None of the labelled recordings, or of the validation split's, has images.
        """
        rows = self.index.positions(None, ("cmr",))
        features = image_features(self.encoder, self.index, rows, self.cache, self.trusted).astype(np.float64)
        place = np.full(len(self.index), -1)
        place[rows] = np.arange(len(rows))
        at = place[problem.rows]  # of a recording's features, -1 without images
        parts = (problem.training(count, seed), problem.part("val"), problem.part("train"))
        chosen, val, train = (part[at[part] >= 0] for part in parts)
        if not len(chosen) or not np.isfinite(problem.values[val]).any():
            which = "of the validation split with a label" if len(chosen) else f"of the {count:,} labelled ones"
            raise UserError(f"evaluation.teacher: no recording {which} of task {problem.name} has images")
        labels = problem.values
        probe = fit_probe(problem.task, features[at[chosen]], labels[chosen], features[at[val]], labels[val])
        said = np.full(labels.shape, np.nan)
        said[train] = probe.predict(features[at[train]])
        return said

    def write(self, problem: Problem, count: int, seed: int, path: Path) -> None:
        """Write what ``said`` returns as a table, unless that is there; arguments and errors as of ``said``."""
        rows = self.index.positions(None, ("cmr",))
        origin = {
            "features": encoder_fingerprint(self.encoder, self.index, rows, 1),
            "labels": [label.name for label in problem.labels],
            "chosen": problem.rows[problem.training(count, seed)].tolist(),
        }
        fingerprint = fingerprint_of(origin)
        if is_finished(path.parent, fingerprint) and path.is_file():
            return
        said = self.said(problem, count, seed)
        pupils = np.flatnonzero(np.isfinite(said).any(axis=1))
        subjects = np.asarray(self.index.subjects(problem.rows), dtype=str)
        numbers = recording_numbers(subjects)
        targets = tuple(problem.targets)
        made = Predictions(
            problem.task, targets, subjects[pupils], numbers[pupils], problem.values[pupils], said[pupils],
            "train", METHOD, "linear_probe", count, seed,
        )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_prediction_table(path, table_of([made]))
        write_marker(path.parent, fingerprint, finished=True)
