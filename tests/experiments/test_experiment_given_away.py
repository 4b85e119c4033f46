"""No baseline or covariate holds the answer, groups mean one thing, and features are taken at the cohort's rate."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_modules import LabelledDataModule
from ecgcmr.augmentations import Compose, OneOf, Powerline, Sometimes, TimeShift
from ecgcmr.augmentations.ecg import ECGAugmentation
from ecgcmr.augmentations.sampling_rates import check_rates
from ecgcmr.encoders import ECGVisionTransformer, export_encoder
from ecgcmr.errors import UserError
from ecgcmr.experiments import methods
from ecgcmr.experiments.features import classical_features, encoder_features
from ecgcmr.experiments.given_away import check_given_away
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan import CohortPlan, EvaluationPlan, Plan, SupervisedPlan, TaskPlan
from ecgcmr.experiments.task_reading import read_task
from ecgcmr.metrics.tasks import task_for
from ecgcmr.preparation.beats import MEASUREMENTS
from ecgcmr.preparation.resampling import resample, resampling_ratio
from ecgcmr.probes.ecg_features import FEATURE_NAMES
from ecgcmr.shards import (
    ECGLayout,
    Label,
    Layout,
    ShardIndex,
    ShardRows,
    read_ecgs,
    read_labels,
    write_index,
    write_shard,
)
from ecgcmr.shards.label_choice import determined, expand_groups


def plan_of(folder: Path, task: TaskPlan, **evaluation: Any) -> Plan:
    return Plan(folder / "trial.yaml", CohortPlan(root="x"), {}, EvaluationPlan({"t": task}, ["all"], **evaluation))


def problem_with(targets: list[str]) -> Problem:
    labels = tuple(Label(name, "measurement", "", "ECG", name) for name in targets)
    return Problem(
        task_for("regression", "t"), labels, np.arange(0), np.empty(0, dtype="U5"), np.empty((0, len(labels)))
    )


@pytest.mark.parametrize(
    ("baseline", "targets", "told"),
    [
        ("age+sex", ["age"], "age"),
        ("age+sex", ["lv_edv", "sex"], "sex"),
        ("age+sex+size", ["bmi"], "bmi"),
        ("age+sex+size", ["weight"], "weight"),
        ("age+sex+size", ["covariate"], "age, sex, height, weight, bmi"),
        ("features", ["heart_rate"], "heart_rate"),
        ("features-boosting", ["qt_interval", "lv_ef"], "qt_interval"),
        ("mean", ["age"], None),
        ("age+sex", ["bmi", "LV"], None),
        ("features", ["age", "signal_quality"], None),
    ],
)
def test_a_baseline_that_holds_a_target_is_refused(
    tmp_path: Path, cohort_root: Path, baseline: str, targets: list[str], told: str | None
) -> None:
    index = ShardIndex.load(cohort_root)
    plan = plan_of(tmp_path, TaskPlan("regression", targets), baselines=[baseline])
    problem = problem_with(expand_groups((*index.layout.labels, *MEASUREMENTS), targets))
    if told is None:
        check_given_away(problem, plan, index)
        return
    with pytest.raises(UserError, match=re.escape(f"task t: the baseline {baseline} is given the target {told}, or")):
        check_given_away(problem, plan, index)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_task_without_a_label_to_choose_or_to_compare_by_is_refused(
    tmp_path: Path, cohort_root: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    plan, index = plan_of(tmp_path, TaskPlan("regression", ["bmi"])), ShardIndex.load(cohort_root)
    hidden = index.positions(split)

    def read(index: ShardIndex, names: list[str], rows: np.ndarray) -> np.ndarray:
        return np.where(np.isin(rows, hidden)[:, None], np.nan, read_labels(index, names, rows))

    monkeypatch.setattr(methods, "read_labels", read)
    with pytest.raises(UserError, match=f"task t: no subject of split {split} has one of its labels"):
        read_task(plan, "t", index)


def test_covariates_of_fine_tuning_are_checked_before_anything_is_trained(tmp_path: Path, cohort_root: Path) -> None:
    index = ShardIndex.load(cohort_root)
    (tmp_path / "head.yaml").write_text("data: {init_args: {covariates: [height, weight]}}\n")
    problem = Problem.of("t", "regression", ["bmi"], index)
    task = TaskPlan("regression", ["bmi"], finetune="head.yaml")
    with pytest.raises(UserError, match=r"trial\.yaml: tasks\.t: covariates: height and weight give the target bmi"):
        check_given_away(problem, plan_of(tmp_path, task), index)
    harmless = replace(task, set={"data.covariates": ["age"]})
    check_given_away(problem, plan_of(tmp_path, harmless), index)
    network = SupervisedPlan(set={"data.covariates": ["bmi"]})
    with pytest.raises(UserError, match=r"supervised\.cnn in task t: covariates: bmi is a target too"):
        check_given_away(problem, plan_of(tmp_path, harmless, supervised={"cnn": network}), index)


def test_what_follows_from_several_labels_together_is_determined() -> None:
    assert determined(["age", "height", "bmi"], ["weight", "lv_edv"]) == ["weight"]
    assert determined(["height"], ["weight", "bmi"]) == []
    assert determined(["height", "weight", "bmi"], ["bmi", "weight"]) == ["bmi", "weight"]


@pytest.mark.parametrize("names", [["disease"], ["LV", "lv_ef"], ["cad_ever", "disease"], ["covariate"]])
def test_a_group_means_the_same_in_an_experiment_and_in_a_stage(cohort_root: Path, names: list[str]) -> None:
    index = ShardIndex.load(cohort_root)
    data = LabelledDataModule(cohort_root, names)
    data._name()
    task = "classification" if "disease" in names else "regression"
    problem = Problem.of("t", task, names, index)
    assert [label.name for label in problem.labels] == data.label_names
    assert data.label_names == expand_groups(index.layout.labels, names)
    assert not any(label.kind == "time" for label in problem.labels)


@pytest.fixture(scope="module")
def slow_cohort(cohort_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ShardIndex, ShardIndex]:
    """Give a cohort of 500 Hz and the same recordings at 250 Hz."""
    original = ShardIndex.load(cohort_root)
    rows = original.positions(None, ("ecg",))[:24]
    ratio = resampling_ratio(500.0, 250.0)
    ecg = np.stack([resample(signal.astype(np.float64), ratio) for signal in read_ecgs(original, rows)])
    samples = ecg.shape[2]
    layout = Layout(ecg=ECGLayout(sampling_rate=250.0, samples=samples, dtype="float32"), cmr=None, labels=())
    n = len(rows)
    content = ShardRows(
        subject=[f"{k:032x}" for k in range(n)],
        split=["train"] * n,
        ecg=ecg.astype(np.float32),
        has_ecg=np.ones(n, dtype=bool),
        cmr=None,
        has_cmr=np.zeros(n, dtype=bool),
        labels=np.empty((n, 0), dtype=np.float32),
    )
    root = tmp_path_factory.mktemp("slow")
    write_index(root, layout, [write_shard(root / "shards" / "shard-00000.h5", layout, content)])
    return original, ShardIndex.load(root)


def test_classical_features_are_taken_at_the_cohorts_rate(
    slow_cohort: tuple[ShardIndex, ShardIndex], tmp_path: Path
) -> None:
    original, slow = slow_cohort
    rows = original.positions(None, ("ecg",))[:24]
    fast = classical_features(original, rows, tmp_path / "fast", workers=1)
    half = classical_features(slow, np.arange(24), tmp_path / "half", workers=1)
    difference = np.abs(half - fast)
    for name, tolerance in (("heart_rate", 0.3), ("rr_sd", 2.0), ("qrs_duration", 8.0), ("pr", 8.0), ("qt", 8.0)):
        column = FEATURE_NAMES.index(name)
        assert np.nanmedian(difference[:, column]) <= tolerance, name
        assert np.isfinite(half[:, column]).mean() > 0.7, name
    column = FEATURE_NAMES.index("r_amplitude_V5")
    assert np.nanmedian(difference[:, column]) < 0.05 * np.nanmedian(fast[:, column])


def test_an_encoder_is_not_fed_recordings_of_another_rate(
    slow_cohort: tuple[ShardIndex, ShardIndex], tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"samples": 1000, "patch_size": [12, 100], "width": 16, "depth": 1, "heads": 2}
    name = "ecgcmr.encoders.ECGVisionTransformer"
    made = ECGVisionTransformer(**arguments)
    export_encoder(made, tmp_path / "run", class_path=name, init_args=arguments, fingerprint=None)
    with pytest.raises(UserError, match="the encoder takes 500 Hz, the cohort has 250 Hz"):
        encoder_features(tmp_path / "run", slow_cohort[1], np.arange(4), tmp_path / "cache")


def test_an_augmentation_made_for_another_rate_is_refused(slow_cohort: tuple[ShardIndex, ShardIndex]) -> None:
    for augmentation in (
        TimeShift(),
        Compose([Sometimes(OneOf([Powerline()]))]),
        ECGAugmentation(powerline=0.1),
    ):
        check_rates(augmentation, 500.0)
        with pytest.raises(UserError, match="is made for 500 Hz, the cohort's ECGs have 250 Hz; set its sampling_rate"):
            check_rates(augmentation, 250.0)
    check_rates(TimeShift(sampling_rate=250.0), 250.0)
    check_rates(None, 250.0)
