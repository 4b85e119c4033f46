"""An experiment that names no label takes all of a kind that a prepared cohort has, and says what it lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ecgcmr.errors import UserError
from ecgcmr.experiments import any_cohort
from ecgcmr.experiments.any_cohort import for_its_cohort
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.shards.layout import Label


class _Index:
    """A cohort of some labels."""

    def __init__(self, *labels: Label) -> None:
        self.layout = self
        self.labels = labels

    def load(self, root: Path) -> _Index:
        return self


def _label(name: str, kind: str, group: str = "") -> Label:
    return Label(name, kind, "", group, name)


AGE, SEX = _label("age", "covariate"), _label("sex", "covariate")
EJECTION, RHYTHM = _label("ejection", "phenotype"), _label("rhythm_sinus", "finding", "rhythm")
STROKE = (_label("stroke", "disease"), _label("stroke_years", "time"))
CAD = (_label("cad_ever", "disease"), _label("cad_incident", "disease"), _label("cad_years", "time"))
RATE = _label("heart_rate", "measurement", "ECG")


def plan_for(monkeypatch: pytest.MonkeyPatch, folder: Path, *labels: Label, **unlearnable: str):
    monkeypatch.setattr(any_cohort, "ShardIndex", _Index(*labels))
    monkeypatch.setattr(any_cohort, "why_not", lambda index, name, task: unlearnable.get(name, ""))
    (folder / "index.json").write_text("{}")
    return load_plan(Path("your_data"), root=folder)


def test_every_label_of_a_kind_is_a_target_and_nothing_that_is_given_or_measured(monkeypatch, tmp_path):
    plan = plan_for(monkeypatch, tmp_path, EJECTION, RHYTHM, *STROKE, *CAD, AGE, SEX, RATE)
    targets = {name: task.targets for name, task in plan.evaluation.tasks.items()}
    assert targets == {
        "numbers": ["ejection"],
        "findings": ["rhythm_sinus", "cad_ever"],
        "events": ["stroke", "cad"],
    }
    assert "age+sex" in plan.evaluation.baselines
    assert "left out" not in plan.description


def test_what_a_cohort_lacks_is_left_out_and_said(monkeypatch, tmp_path):
    plan = plan_for(monkeypatch, tmp_path, EJECTION, AGE, RATE)
    assert list(plan.evaluation.tasks) == ["numbers"]
    assert plan.evaluation.baselines == ["mean", "features", "features-boosting"]
    assert plan.description.endswith(
        "left out: findings (no such label), events (no such label), age+sex (no label sex)"
    )


def test_a_task_that_the_splits_are_too_small_for_is_left_out_and_said(monkeypatch, tmp_path):
    given = (EJECTION, RHYTHM, *STROKE, AGE, SEX)
    plan = plan_for(
        monkeypatch, tmp_path, *given, findings="split val has no target with both classes among a, b; do this"
    )
    assert list(plan.evaluation.tasks) == ["numbers", "events"]
    assert "left out: findings (split val has no target with both classes)" in plan.description
    with pytest.raises(UserError, match="task findings: nobody"):
        plan_for(monkeypatch, tmp_path, RHYTHM, AGE, findings="nobody")


def test_a_cohort_without_a_label_or_one_that_is_yet_to_be_made_is_refused(monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"has no label to predict; declare some with prepare --labels"):
        plan_for(monkeypatch, tmp_path, AGE, RATE)
    absent = load_plan(Path("your_data"), root=tmp_path / "absent")  # opening it says so
    assert absent.evaluation.tasks["numbers"].targets == ["every number"]
    made = replace(absent, cohort=replace(absent.cohort, root=None, synthesize={"subjects": 9}))
    with pytest.raises(UserError, match=r"tasks\.numbers\.targets: 'every number' needs a prepared cohort; .* --root"):
        for_its_cohort(made, "your_data.yaml")


def test_of_several_cohorts_labels_are_named(monkeypatch, tmp_path):
    plan = load_plan(Path("your_data"))
    several = replace(plan, cohorts={"mine": plan.cohort, "theirs": plan.cohort})
    with pytest.raises(UserError, match="'every number' is for a single cohort"):
        for_its_cohort(several, "your_data.yaml")
