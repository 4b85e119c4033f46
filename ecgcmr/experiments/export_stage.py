"""The run folder of a stage as a model, with intervals, calibration and distance from the stage's own cohort."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.sampling import subset
from ecgcmr.encoders import load_encoder, read_encoder_card
from ecgcmr.encoders.weights import CARD_FILE
from ecgcmr.errors import UserError
from ecgcmr.experiments.export_rows import calibrated, cohort_of, embedder, subject_counts
from ecgcmr.experiments.methods import Problem
from ecgcmr.inference.export_run import CONFIG, DOWNSTREAM, Exported, export_run, stage_settings
from ecgcmr.inference.model import Model
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.recipe import recipe_of

_KINDS = {"regression": "regression", "classification": "classification", "time to event": "time_to_event"}


def export_stage(run: Path, root: Path | None, trusted: Collection[str] = (), *, calibrate: bool = True) -> Exported:
    """Return a finished stage as a model.

    Args:
        run: Its run folder.
        root: The prepared cohort; None takes that of its settings.
        trusted: Modules or classes beside this package's encoders that may be imported.
        calibrate: Whether intervals, calibration and distance are added, which needs the cohort.

    Raises:
        UserError: The stage is not finished, or the cohort is not there.
    """
    if not any((run / name).is_file() for name in (CONFIG, CARD_FILE)):
        what = "is no folder" if not run.is_dir() else "holds no run"
        raise UserError(f"{run}: {what} of a finished fit or experiment; run it to its end first")
    index = _cohort(run, root) if calibrate or root is not None else None
    exported = export_run(run, trusted, None if index is None else recipe_of(index.layout, "ecg"))
    if index is None:
        return exported
    problem = _problem(run, index)
    training = None
    if problem is not None:
        _, data = stage_settings(run)
        amount, labelled = data.get("train_labels") or data.get("train_fraction"), problem.training(None)
        chosen = labelled if amount is None else subset(labelled, amount, int(data.get("seed") or 0))
        training = problem.rows[chosen]
    about = replace(
        exported.description.training,
        subjects=subject_counts(index, training),
        stages=[run.resolve().name],
        labels=None if training is None else len(np.unique(index.subjects(training))),
    )
    exported = replace(exported, description=replace(exported.description, training=about))
    if not calibrate:
        return exported
    if exported.description.preparation.leave_out_leads:
        raise UserError(
            f"{run}: its encoder leaves leads out by their marks, and calibration sees all leads; add "
            "--without-calibration"
        )
    model = Model(exported.description, load_encoder(run, trusted), exported.tensors)
    problems = [] if problem is None else [problem]
    return calibrated(exported, model, index, problems, embedder(model, index), training)


def _cohort(run: Path, root: Path | None) -> ShardIndex:
    if root is None:
        if not (run / CONFIG).exists():
            raise UserError(f"{run}: was imported and has no cohort; add --root, or --without-calibration")
        _, data = stage_settings(run)
        if isinstance(data.get("root"), list):
            raise UserError(
                f"{run / CONFIG}: was trained on several cohorts; say by --root which of them gives intervals and "
                "calibration, or add --without-calibration"
            )
        if not isinstance(data.get("root"), str):
            raise UserError(f"{run / CONFIG}: names no cohort; add --root, or --without-calibration")
        root = Path(data["root"])
    return cohort_of(root)


def _problem(run: Path, index: ShardIndex) -> Problem | None:
    """Return what a downstream stage predicts; None of a pre-trained one."""
    contract: dict[str, Any] = read_encoder_card(run).training or {}
    task = contract.get("task")
    if task not in DOWNSTREAM:
        return None
    names = contract["diseases"] if task == "time to event" else [column["name"] for column in contract["targets"]]
    return Problem.of("targets", _KINDS[task], list(names), index)
