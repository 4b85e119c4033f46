"""A network that shares its output with other targets says nothing of one that its training rows could not teach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgcmr.experiments import fine_tuning
from ecgcmr.experiments.fine_tuning import FineTuning, Piece
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan import CohortPlan, EvaluationPlan, Plan, TaskPlan
from ecgcmr.experiments.stage_runs import StageRun
from ecgcmr.metrics.tasks import task_for
from ecgcmr.shards import Label

SPLITS = np.array(["train", "train", "train", "val", "val", "test", "test"])


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_an_untaught_target_has_no_prediction(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught, untaught = np.array([0.0, 1, 0, 1, 0, 1, 0]), np.array([0.0, 0, 0, 1, 0, 1, 0])
    if task == "regression":
        untaught[:3] = np.nan
    labels = tuple(Label(name, "finding", "", "", name) for name in ("taught", "untaught"))
    values = np.stack([taught, untaught], axis=1)
    problem = Problem(task_for(task, "t"), labels, np.arange(len(SPLITS)), SPLITS, values)
    plan = Plan(
        tmp_path / "x.yaml",
        CohortPlan(root="x"),
        {},
        EvaluationPlan({"t": TaskPlan(task, ["taught", "untaught"])}, [3]),
    )
    empty = problem.unlearnable(np.arange(3))
    assert list(empty) == [1]
    run = StageRun("a", tmp_path / "a", tmp_path / "a.yaml", {}, {})
    piece = Piece("", [0, 1], problem, empty, run, ("val", "test"))
    tuner = FineTuning(plan, None, tmp_path, "c", {}, {}, show=lambda line: None)  # type: ignore[arg-type]

    def read(self: Any, path: Path, part: Problem, split: str) -> np.ndarray:
        return np.full((len(part.part(split)), 2), 0.5)

    monkeypatch.setattr(FineTuning, "pieces", lambda *of: iter([piece]))
    monkeypatch.setattr(FineTuning, "_predicted", lambda *of: ("val", "test"))
    monkeypatch.setattr(FineTuning, "_read", read)
    monkeypatch.setattr(fine_tuning, "run_stage", lambda *of, **how: True)
    outcome = tuner.outcome(problem, "cnn", 3, 0)
    assert outcome.validation is not None
    for found in (outcome.prediction, outcome.validation):
        assert (found[:, 0] == 0.5).all()
        assert np.isnan(found[:, 1]).all()
    assert any("untaught" in note for note in outcome.notes)
