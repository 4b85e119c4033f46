"""The parts of an experiment on their own: scores over seeds, the gain, fine-tuning runs, kept outcomes, tables."""

from __future__ import annotations

import re
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ecgcmr.errors import UserError
from ecgcmr.evaluation.arrangement import Variant
from ecgcmr.evaluation.assessment import Assessment
from ecgcmr.evaluation.predictions import Predictions, table_of
from ecgcmr.evaluation.rows import Settings, Target
from ecgcmr.experiments import baseline_methods, fine_tuning
from ecgcmr.experiments.baseline_methods import Baselines
from ecgcmr.experiments.chain import encoder_for_task
from ecgcmr.experiments.fine_tuning import FineTuning
from ecgcmr.experiments.gain import gain_section
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan import CohortPlan, EvaluationPlan, GainPlan, Plan, SupervisedPlan, TaskPlan
from ecgcmr.experiments.report import assess_task
from ecgcmr.experiments.stage_runs import StageRun
from ecgcmr.experiments.task_prediction import grouped
from ecgcmr.metrics.tasks import TASKS, task_for
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.training.prediction_tables import prediction_frame, recording_numbers

TARGETS = [Target("lv_edv", "LV"), Target("lv_ef", "LV"), Target("rv_edv", "RV")]
PHENOTYPES = task_for("regression", "phenotypes")
SUBJECTS = [f"{number // 2:032x}" for number in range(120)]  # two recordings a subject


@pytest.fixture
def truth() -> np.ndarray:
    random = np.random.default_rng(0)
    values = random.normal(size=(120, 3))
    values[random.random(values.shape) < 0.1] = np.nan
    return values


def noisy(truth: np.ndarray, noise: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.nan_to_num(truth) * (1 - noise) + noise * random.normal(size=truth.shape)


def assessed(
    truth: np.ndarray, values: dict[Variant, np.ndarray | dict[int, np.ndarray]], resamples: int = 60
) -> Assessment:
    """Assess the predictions of some variants, of seed 0 or by seed, as an experiment does."""
    recordings = np.arange(120) % 2
    about = (np.array(SUBJECTS), recordings, truth)
    parts = [
        Predictions(PHENOTYPES, tuple(TARGETS), *about, prediction, "test", *astuple(variant), seed)
        for variant, found in values.items()
        for seed, prediction in (found if isinstance(found, dict) else {0: found}).items()
    ]
    return assess_task(table_of(parts), PHENOTYPES, Settings(resamples=resamples, seed=3), TARGETS)


def test_the_gain_is_what_the_scores_say(truth: np.ndarray) -> None:
    predicted = {}
    for method, noise in (("mae+alignment", 0.3), ("mae", 0.5), ("byol", 0.6), ("oracle", 0.05)):
        labels = None if method == "oracle" else 12
        predicted[Variant(method, None, labels)] = noisy(truth, noise, 5)
    found = assessed(truth, predicted)
    scores = found.primary[PHENOTYPES]
    values = {variant.method: score.values.point["r2"].mean() for variant, score in scores.items()}
    plan = GainPlan("mae+alignment", ["byol", "mae"], "phenotypes", "10 %", 27.59, "a paper")
    text = gain_section(plan, found, 12)
    own, rival, ceiling = values["mae+alignment"], values["mae"], values["oracle"]
    said = "At 12 labelled training recordings (10 %), mae+alignment reaches"
    assert text.startswith(f"## Gain of mae+alignment\n\n{said}")
    assert f"a mean R2 of {own:.3f} over 3 targets" in text
    assert f"is mae with {rival:.3f}" in text
    assert f"{own - rival:+.3f}" in text
    assert "above 0" in text
    assert f"relative gain is {100 * (own / rival - 1):+.1f} %" in text
    assert f"the share of it is {100 * own / ceiling:.0f} %" in text
    assert "up to 27.59 % (a paper)" in text
    back = gain_section(replace(plan, method="byol", over=["mae+alignment"], published=None), found, 12)
    assert "below 0" in back
    assert "Published" not in back
    assert "there is no score of mae+alignment" in gain_section(plan, found, 13)


def test_a_gain_at_one_number_of_labels_comes_with_what_holds_at_others(truth: np.ndarray) -> None:
    noises = {"mae": {12: 0.3, 24: 0.3, 48: 0.4}, "byol": {12: 0.5, 24: 0.3, 48: 0.3, 96: 0.3}}
    values = {
        Variant(method, None, labels): noisy(truth, noise, 5 if method == "mae" else 6)
        for method, by_labels in noises.items()
        for labels, noise in by_labels.items()
    }
    values[Variant("oracle", None, None)] = noisy(truth, 0.05, 7)
    found = assessed(truth, values)
    text = gain_section(GainPlan("mae", ["byol"], "phenotypes", 12), found, 12, [24, 48, 96])
    points = {variant: score.values.point["r2"].mean() for variant, score in found.primary[PHENOTYPES].items()}
    first, second = text.split("\n\n")[2].splitlines()  # nothing of 96, where the method has no score
    for line, labels, verdict in ((first, 24, "which holds 0"), (second, 48, "which is below 0")):
        own, other = (points[Variant(method, None, labels)] for method in ("mae", "byol"))
        assert line.startswith(
            f"- At {labels}: mae {own:.3f}, byol {other:.3f}, a difference of {own - other:+.3f} (95"
        )
        assert verdict in line
        assert f"{100 * own / points[Variant('oracle', None, None)]:.0f} % (" in line
    assert len(gain_section(GainPlan("mae", ["byol"], "phenotypes", 12), found, 12).split("\n\n")) == 2


def test_lines_of_a_gain_name_seeds_and_targets_that_are_fewer(truth: np.ndarray) -> None:
    lost = noisy(truth, 0.4, 6)
    lost[:, 0] = np.nan
    values = {
        Variant("mae", None, 12): {0: noisy(truth, 0.3, 5), 1: noisy(truth, 0.5, 5)},
        Variant("byol", None, 12): {0: noisy(truth, 0.4, 6)},
        Variant("mae", None, 24): {0: noisy(truth, 0.3, 5)},
        Variant("byol", None, 24): {0: lost},
        Variant("mae", None, 48): {0: np.where(np.arange(3) > 0, np.nan, noisy(truth, 0.3, 5))},
        Variant("byol", None, 48): {0: lost},
    }
    found = assessed(truth, values)
    plan = GainPlan("mae", ["byol"], "phenotypes", 24)
    text = gain_section(plan, found, 24, [12, 48])
    assert "over the 2 of 3 targets that both are defined for" in text.split("\n\n")[1]
    [line] = text.split("\n\n")[2].splitlines()  # of 48 there is no target in common
    assert line.startswith("- At 12: mae ")
    assert "Both are of seed 0, which they share" in line
    [line] = gain_section(plan, found, 12, [24]).split("\n\n")[2].splitlines()
    assert line.endswith("Over the 2 of 3 targets that both are defined for.")
    nothing = gain_section(plan, found, 48, [12])
    assert "Nothing can be said at 48 labels: mae and byol have a score of no target in common." in nothing
    assert "nan" not in text + nothing
    assert "\n\n- At 12: mae " in nothing
    few = gain_section(plan, found, None, [12])
    assert "The cohort has too few labelled recordings for 24.\n\n- At 12: mae " in few


def test_the_method_of_a_gain_is_taken_fine_tuned_whatever_the_test_split_prefers(truth: np.ndarray) -> None:
    values = {
        Variant("mae", protocol, 12): noisy(truth, noise, 5)
        for protocol, noise in (("linear_probe", 0.3), ("finetune", 0.4), ("taught", 0.1))
    }
    values |= {
        Variant("byol", protocol, 12): noisy(truth, noise, 6)
        for protocol, noise in (("linear_probe", 0.5), ("finetune", 0.6))
    }
    text = gain_section(GainPlan("mae", ["byol"], "phenotypes", 12), assessed(truth, values), 12)
    assert "mae (fine-tuned) reaches" in text
    assert "the best of byol is byol (linear probe)" in text  # the better one: that favours the reference
    del values[Variant("mae", "finetune", 12)]
    text = gain_section(GainPlan("mae", ["byol"], "phenotypes", 12), assessed(truth, values), 12)
    assert "mae (linear probe) reaches" in text


def test_a_fine_tuned_network_that_stayed_at_its_probe_is_said_to(truth: np.ndarray) -> None:
    units = np.array([1.0, 1e3, 1e-3])
    own, other = noisy(truth, 0.3, 5) * units, noisy(truth, 0.5, 6) * units
    values = {
        Variant("mae", "linear_probe", 12): {0: own, 7: noisy(truth, 0.4, 8) * units},
        Variant("mae", "finetune", 12): {0: own + 0.01 * units * np.sign(own)},  # as in bfloat16
        Variant("byol", "linear_probe", 12): {0: other},
        Variant("byol", "finetune", 12): {0: other + units * [0.0, 0.0, 0.1]},  # of one target
    }
    values |= {replace(variant, labels=24): found for variant, found in values.items()}
    plan, said = GainPlan("mae", ["byol"], "phenotypes", 12), "mae (fine-tuned) predicts what its linear probe does"
    text = gain_section(plan, assessed(truth * units, values), 12, [24])
    assert (
        text.count(f"{said}: fine-tuning changed nothing, or validation chose the weights that it started from.") == 2
    )
    assert "byol (fine-tuned) predicts" not in text
    values[Variant("mae", "finetune", 12)] = {0: own, 7: own}
    assert gain_section(plan, assessed(truth * units, values), 12, [24]).count(said) == 1


def test_a_gain_is_of_the_seeds_that_both_share(truth: np.ndarray) -> None:
    """A fine-tuned network has one draw of labels, a probe the mean over several, of which others may be poorer."""
    probed = {seed: noisy(truth, noise, 5) for seed, noise in ((0, 0.3), (7, 0.9))}
    values = {
        Variant("mae", "finetune", 12): {0: noisy(truth, 0.4, 5), 101: noisy(truth, 0.2, 5)},
        Variant("byol", "linear_probe", 12): probed,  # the best on seed 0
        Variant("byol", "finetune", 12): {0: noisy(truth, 0.5, 6)},
    }
    found = assessed(truth, values)
    text = gain_section(GainPlan("mae", ["byol"], "phenotypes", 12), found, 12)
    alone = assessed(truth, {variant: {0: each[0]} for variant, each in values.items()})
    own, rival = (
        alone.primary[PHENOTYPES][Variant(*name, 12)].values.point["r2"].mean()
        for name in (("mae", "finetune"), ("byol", "linear_probe"))
    )
    assert own < rival
    assert f"mae (fine-tuned) reaches a mean R2 of {own:.3f}" in text
    assert f"the best of byol is byol (linear probe) with {rival:.3f}" in text
    assert "Both are of seed 0, which they share" in text
    (row,) = (
        row
        for row in found.differences
        if (row.target, row.group, row.protocol, row.reference_protocol) == ("mean", "all", "finetune", "linear_probe")
        and {row.method, row.reference} == {"mae", "byol"}
    )
    assert f"The difference is {row.value if row.method == 'mae' else -row.value:+.3f}" in text


def test_a_gain_over_no_skill_is_no_percentage(truth: np.ndarray) -> None:
    values = {Variant("mae", None, 12): noisy(truth, 0.3, 5), Variant("byol", None, 12): -np.nan_to_num(truth)}
    text = gain_section(GainPlan("mae", ["byol"], "phenotypes", 12), assessed(truth, values), 12)
    assert "no meaning" in text
    assert "relative gain is" not in text


@pytest.mark.parametrize(
    ("shift", "said"),
    [(1e-6, r"level, for R2 is reported to 3 decimals"), (0.003, r"which is above 0"), (-0.003, r"which is below 0")],
)
def test_a_small_difference_has_the_decimals_of_its_verdict(truth: np.ndarray, shift: float, said: str) -> None:
    """A difference that rounds to 0 must not be reported as a loss or a gain of nothing."""
    middle = np.nanmean(truth, axis=0)
    values = {
        Variant(method, None, 12): middle + share * (np.nan_to_num(truth, nan=1.0) - middle)
        for method, share in (("mae", 0.5 + shift), ("byol", 0.5))  # R2 rises with the share
    }
    text = gain_section(GainPlan("mae", ["byol"], "phenotypes", 12), assessed(truth, values), 12)
    assert said in text
    numbers = [float(number) for number in re.findall(r"[+-]\d\.\d+", text.split("The difference is ")[1])[:3]]
    value, low, high = numbers
    assert low <= value <= high
    assert "-0.000 " not in text
    if said.startswith("which"):
        assert low * high > 0
        assert np.sign(value) == np.sign(shift)


def test_notes_are_written_once_for_all_methods() -> None:
    remarks = {(28, "af_ever: all are 0"): ["mae", "mae", "byol"], (None, "x"): ["oracle"]}
    assert grouped(remarks) == ["28 labels, af_ever: all are 0 (mae, byol)", "x (oracle)"]


@pytest.fixture
def problem(cohort_root: Path) -> Problem:
    return Problem.of("diseases", "classification", ["cad_ever", "af_ever"], ShardIndex.load(cohort_root))


@pytest.fixture
def tuning(
    cohort_root: Path,
    tmp_path: Path,
    problem: Problem,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Any:
    """A fine-tuning of one model a disease whose runs are recorded, not run; its predictions are the row numbers."""
    base = {
        "model": {"init_args": {"encoder": {"class_path": "E", "init_args": {"pooling": "attention", "width": 8}}}},
        "data": {"init_args": {"balance": "cad_ever"}},
    }
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    task = TaskPlan("classification", [], "base.yaml", {"trainer.devices": 1}, "target")
    network = SupervisedPlan({"class_path": "E", "init_args": {"width": 4}}, {"model.optimiser.lr": 0.1})
    evaluation = EvaluationPlan({"diseases": task}, ["all"], finetune=["cnn"], supervised={"cnn": network})
    plan = Plan(tmp_path / "plan.yaml", CohortPlan(root="x"), {}, evaluation)
    runs: list[StageRun] = []
    change = getattr(request, "param", lambda kept: kept)
    index = ShardIndex.load(cohort_root)

    def recorded(run: StageRun, *, predict: tuple[str, ...]) -> bool:
        runs.append(run)
        run.folder.mkdir(parents=True)
        for split in predict:
            rows = problem.rows[problem.part(split)]
            name = "predictions.npz" if split == "test" else f"predictions_{split}.npz"
            label = np.asarray([column.encode() for column in run.overrides["data.labels"]])
            subject = index.subjects(rows).astype("S32")
            kept = {"row": rows, "subject": subject, "prediction": rows[:, None].astype(float), "label": label}
            np.savez(run.folder / name, **change(kept))  # type: ignore[arg-type]
        return True

    monkeypatch.setattr(fine_tuning, "run_stage", recorded)
    made = FineTuning(plan, index, tmp_path, "c", {"random": tmp_path}, {})
    return made, runs


def test_one_model_a_target_is_balanced_by_its_own_classes(problem: Problem, tuning: Any) -> None:
    made, runs = tuning
    outcome = made.outcome(problem, "cnn", 40, 7)
    assert [run.name for run in runs] == ["diseases-cnn-40-cad_ever-s7", "diseases-cnn-40-af_ever-s7"]
    for run, disease in zip(runs, ("cad_ever", "af_ever"), strict=True):
        assert run.overrides["data.labels"] == [disease]
        assert run.overrides["data.balance"] == disease
        assert (run.overrides["data.seed"], run.overrides["seed_everything"]) == (7, 7)
        assert (run.overrides["model.optimiser.lr"], run.overrides["trainer.devices"]) == (0.1, 1)
        assert "model.encoder_weights" not in run.overrides
        assert run.overrides["model.encoder"]["init_args"] == {
            "width": 4,
            "pooling": "attention",
        }  # pooling is the task's
    for values, split in ((outcome.prediction, "test"), (outcome.validation, "val")):
        rows = problem.rows[problem.part(split)]
        assert np.array_equal(values, np.column_stack([rows, rows]))


@pytest.mark.parametrize(
    "tuning",
    [
        lambda kept: {**kept, "subject": np.sort(kept["subject"])[::-1]},
        lambda kept: {**kept, "row": kept["row"] + 1},
        lambda kept: {name: values if name == "label" else values[:-1] for name, values in kept.items()},
        lambda kept: {name: values if name == "label" else values[:0] for name, values in kept.items()},
    ],
    indirect=True,
)
def test_predictions_of_other_recordings_are_not_taken_for_those_of_the_split(problem: Problem, tuning: Any) -> None:
    with pytest.raises(UserError, match="holds predictions of other recordings than the test split"):
        tuning[0].outcome(problem, "cnn", 40, 7)


def test_a_model_of_one_class_is_not_trained(problem: Problem, tuning: Any) -> None:
    made, runs = tuning
    values = problem.values.copy()
    values[:, 1] = 0.0
    outcome = made.outcome(replace(problem, values=values), "cnn", 40, 0)
    assert [run.name for run in runs] == ["diseases-cnn-40-cad_ever"]
    assert np.isnan(outcome.prediction[:, 1]).all()
    assert outcome.notes == ["af_ever: all 40 training labels are 0"]


def test_balance_by_a_target_of_another_task_is_refused(tmp_path: Path, problem: Problem, tuning: Any) -> None:
    made, _ = tuning
    made.plan.evaluation.tasks["diseases"] = TaskPlan("classification", [], "base.yaml")
    (tmp_path / "base.yaml").write_text((tmp_path / "base.yaml").read_text().replace("cad_ever", "dm_ever"))
    with pytest.raises(UserError, match=r"base.yaml: data.balance dm_ever .* separately: target"):
        made.outcome(problem, "cnn", 40, 0)


def test_another_class_of_encoder_takes_nothing_from_the_config(tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("model: {init_args: {encoder: {class_path: A, init_args: {pooling: attention}}}}\n")
    assert encoder_for_task(base, {"class_path": "B", "init_args": None}) == {"class_path": "B", "init_args": {}}


def test_boosting_is_computed_once(
    cohort_root: Path, tmp_path: Path, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = np.random.default_rng(0).normal(size=(len(problem.rows), 3))
    calls = []
    boost = baseline_methods.boosting_predictions

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(options)
        return boost(*args, most_trees=3, **options)

    monkeypatch.setattr(baseline_methods, "boosting_predictions", counted)
    monkeypatch.setattr(baseline_methods, "classical_features", lambda *_: features)
    made = Baselines(ShardIndex.load(cohort_root), tmp_path, 1, "cohort")
    first = list(made.outcomes("features-boosting", problem.only([0]), [30, 52], [4, 5]))
    assert [(count, seed) for count, seed, _ in first] == [(30, 4), (52, 4), (30, 5)]
    assert [call["seed"] for call in calls] == [4, 4, 5]
    again = list(made.outcomes("features-boosting", problem.only([0]), [30, 52], [4, 5]))
    assert len(calls) == 3
    for (_, _, one), (_, _, two) in zip(first, again, strict=True):
        assert np.array_equal(one.prediction, two.prediction)
        assert np.array_equal(one.validation, two.validation)
    features += 1.0
    list(made.outcomes("features-boosting", problem.only([0]), [52], [4]))
    assert len(calls) == 4


def test_the_table_has_every_recording_with_its_covariates(cohort_root: Path) -> None:
    index = ShardIndex.load(cohort_root)
    names = index.subjects(index.positions("test"))
    subjects = np.array([names[1], names[0], names[1]])
    assert recording_numbers(subjects).tolist() == [0, 0, 1]
    values = np.array([[1.0], [2.0], [3.0]])
    task = TASKS["regression"]
    numbers = np.zeros(3, dtype=np.int64)  # the cohort has one recording of each
    own = Predictions(task, (TARGETS[0],), subjects, numbers, values, values, "test", "mae", None, 5, 0)
    frame = prediction_frame([own], index)
    assert frame["truth"].tolist() == [1.0, 2.0, 3.0]
    age = read_labels(index, ["age"], index.positions("test"))[:, 0]
    assert frame["age"].tolist() == pytest.approx([age[1], age[0], age[1]])


def test_predictions_of_another_split_are_not_taken_for_the_test_split(
    problem: Problem, tuning: Any, tmp_path: Path
) -> None:
    made, _ = tuning
    rows, path = problem.rows[problem.part("val")], tmp_path / "predictions.npz"
    names = np.asarray([label.name.encode() for label in problem.labels])
    values, subject = np.zeros((len(rows), len(names)), dtype=np.float32), made.index.subjects(rows).astype("S32")
    np.savez(path, row=rows, subject=subject, prediction=values, label=names)
    assert made._read(path, problem, "val").shape == (len(rows), len(names))
    with pytest.raises(UserError, match=r"predictions.npz: holds predictions of other recordings than the test split"):
        made._read(path, problem, "test")
