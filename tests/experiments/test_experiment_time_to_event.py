"""A task of time to event in an experiment: who is trained on, what is written, what is told and refused.

The cohort is of noise with the risk of two diseases planted in it as the height of a pulse; a third hardly ever comes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_configs
import torch
import yaml

from data_modules import LabelledDataModule
from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import read_prediction_table
from ecgcmr.evaluation.predictions import Predictions, table_of
from ecgcmr.evaluation.rows import Settings
from ecgcmr.experiments.methods import Problem, oracle_outcome
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.report import assess_task
from ecgcmr.experiments.task_reading import refuse_shared_targets
from ecgcmr.metrics.bootstrap import Resamples, resample
from ecgcmr.metrics.survival import concordance
from ecgcmr.objectives import CoxPartialLikelihood
from ecgcmr.probes.partial_likelihood import TIES, RiskSets
from ecgcmr.shards import ECGLayout, Label, Layout, ShardIndex, ShardRows, write_index, write_shard

COUNTS = {"train": 160, "val": 80, "test": 100}
SPLITS = np.repeat(list(COUNTS), list(COUNTS.values()))
DISEASES = ["cad", "af", "dm"]
SAMPLES = 100
ENCODER: dict[str, Any] = {"samples": SAMPLES, "patch_size": [6, 25], "width": 16, "depth": 1, "heads": 2}
LABELS = (
    *(Label(f"{name}_incident", "disease", "", "disease", f"{name} after imaging") for name in DISEASES),
    *(Label(f"{name}_years", "time", "years", "disease", f"time to {name}") for name in DISEASES),
    Label("cad_ever", "disease", "", "disease", "cad, ever"),
    Label("age", "covariate", "years", "covariate", "age"),
    Label("sex", "covariate", "", "covariate", "sex"),
)
METHODS = {"random", "mae", "scratch", "mean", "age+sex", "both"}
KEY = ["target", "group", "task", "method", "protocol", "labels", "metric"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("incident") / "cohort"
    random, n = np.random.default_rng(0), len(SPLITS)
    risk = random.normal(size=(n, 2))
    onset = random.exponential(9.0 * np.exp(-1.5 * risk))
    lost = random.uniform(3, 9, (n, 1))
    event, years = (onset <= lost).astype(float), np.minimum(onset, lost)
    rare = np.zeros((n, 1))
    rare[[0, 200, 300, 301]] = 1.0  # one event in training, one in validation, two in the test split
    event, years = np.hstack([event, rare]), np.hstack([years, lost - 1.0])
    event[random.random(event.shape) < 0.1] = np.nan
    years[random.random(years.shape) < 0.05] = np.nan
    event[[0, 200, 300, 301], 2], years[[0, 200, 300, 301], 2] = 1.0, 2.0
    ecg = random.standard_normal((n, 12, SAMPLES), dtype=np.float32)
    ecg[:, 0, 25:50] += 3.0 * risk[:, :1]
    ecg[:, 1, 50:75] += 3.0 * risk[:, 1:]
    age, sex = 60 + 5 * random.normal(size=n), random.integers(0, 2, n)
    layout = Layout(ecg=ECGLayout(samples=SAMPLES), cmr=None, labels=LABELS)
    rows = ShardRows(
        subject=[f"{k // 2:032x}" for k in range(n)],  # two recordings each, some without an ECG
        split=SPLITS.tolist(),
        ecg=ecg,
        has_ecg=np.arange(n) % 40 != 7,
        cmr=None,
        has_cmr=np.zeros(n, dtype=bool),
        labels=np.column_stack([event, years, random.random(n) < 0.5, age, sex]).astype(np.float32),
    )
    write_index(folder, layout, [write_shard(folder / "shards" / "shard-00000.h5", layout, rows)])
    oracle = pd.DataFrame({"subject": list(dict.fromkeys(rows.subject)), "cad_ever": 0.5})
    oracle.to_csv(folder / "oracle.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def problem(root: Path) -> Problem:
    return Problem.of("incident", "time_to_event", DISEASES, ShardIndex.load(root))


def write_experiment(folder: Path, root: Path) -> Path:
    folder.mkdir(exist_ok=True)
    encoder = {"class_path": "ecgcmr.encoders.ECGVisionTransformer", "init_args": ENCODER}
    mae = {"encoder": encoder, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    small = {"samples": SAMPLES, "batch_size": 40}
    tiny_configs.write_config(folder / "mae.yaml", "ECGMaskedAutoencoder", mae, "ECGDataModule", root, **small)
    stage = {"encoder": encoder, "optimiser": {"lr": 3e-3}}
    tiny_configs.write_config(
        folder / "tte.yaml", "TimeToEvent", stage, "LabelledDataModule", root, diseases=["cad"], **small
    )
    content: dict[str, Any] = {
        "cohort": {"root": str(root)},
        "stages": {"mae": {"config": "mae.yaml", "set": {"trainer.max_epochs": 1}}},
        "evaluation": {
            "tasks": {
                "incident": {
                    "task": "time_to_event",
                    "targets": DISEASES,
                    "finetune": "tte.yaml",
                    "set": {"trainer.max_epochs": 5},
                }
            },
            "labels": [40, "all"],
            "linear_probe": ["random", "mae"],
            "finetune": ["scratch"],
            "finetune_labels": ["all"],
            "baselines": ["mean", "age+sex", "oracle"],
            "stack": {"both": ["mae", "age+sex"]},
            "seeds": [0, 3],
            "resamples": 60,
        },
    }
    path = folder / "trial.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The folder of the finished experiment."""
    folder = tmp_path_factory.mktemp("trial")
    path = write_experiment(folder, root)
    assert main(["experiment", str(path), "--out", str(folder / "out"), "--workers", "1"]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def rows(finished: Path) -> list[dict[str, Any]]:
    return json.loads((finished / "results.json").read_text())


def value_of(rows: list[dict[str, Any]], method: str, target: str, labels: int | None = None) -> dict[str, Any]:
    wanted = {"method": method, "target": target, "metric": "concordance"}
    own = [row for row in rows if wanted.items() <= row.items() and labels in (None, row["labels"])]
    return max(own, key=lambda row: row["labels"])


@pytest.mark.parametrize(("diseases", "names"), [(DISEASES, DISEASES), (["af"], ["af"]), (["disease"], DISEASES)])
def test_the_same_subjects_as_the_stage_are_trained_on(root: Path, diseases: list[str], names: list[str]) -> None:
    problem = Problem.of("incident", "time_to_event", diseases, ShardIndex.load(root))
    assert [label.name for label in problem.labels] == [f"{name}_incident" for name in names]
    assert 100 < len(problem.training(None)) < COUNTS["train"]
    for count, seed in ((None, 0), (40, 0), (40, 3), (70, 3)):
        module = LabelledDataModule(root, diseases=diseases, samples=SAMPLES, train_labels=count, seed=seed)
        module.setup("fit")
        assert module.diseases == names
        rows = problem.training(count, seed)
        assert np.array_equal(problem.rows[rows], module.rows("train"))
        years, event = (values.numpy() for values in module.training_follow_up())
        np.testing.assert_array_equal(problem.values[rows], np.stack([event, years], axis=2))
    for split in ("val", "test"):
        assert np.array_equal(problem.rows[problem.part(split)], module.rows(split))


@pytest.mark.parametrize("ties", TIES)
def test_the_probe_and_the_stage_have_one_likelihood(problem: Problem, ties: Any) -> None:
    known = np.isfinite(problem.values[:, 0]).all(axis=1)
    event, time = problem.values[known, 0].T
    time = np.round(time, 1)  # some at once
    risk = np.random.default_rng(0).normal(size=len(time))
    columns = (torch.from_numpy(values)[:, None] for values in (risk, time, event))
    loss = float(CoxPartialLikelihood(ties)(*columns)) * event.sum()
    assert RiskSets.of(time, event, ties).log_likelihood(risk) == pytest.approx(-loss, rel=1e-9)


def test_recordings_of_two_a_subject_are_scored_together(problem: Problem) -> None:
    test = problem.part("test")
    truth, subjects = problem.values[test], np.array([f"{k // 2:032x}" for k in range(len(test))])
    prediction = np.random.default_rng(0).normal(size=truth.shape[:2])
    prediction[:, 2] = np.nan
    numbers, targets = np.arange(len(test)) % 2, tuple(problem.targets)
    made = Predictions(problem.task, targets, subjects, numbers, truth, prediction, "test", "mae", None, 9, 0)
    found = assess_task(table_of([made]), problem.task, Settings(resamples=30, seed=3), targets)
    wanted = resample(problem.task, truth, prediction, Resamples.draw(subjects, 30, 3))
    rows = {(row.target, row.metric): row for row in found.scores}
    for k, target in enumerate(targets[:2]):
        row = rows[target.name, "concordance"]
        assert row.value == pytest.approx(concordance(truth[:, k, 1], truth[:, k, 0], prediction[:, k]), abs=1e-12)
        interval = wanted.entry("concordance", [k])
        assert (row.ci_low, row.ci_high) == pytest.approx((interval.low, interval.high), abs=1e-9)
        assert row.n_test == len(set(subjects[np.isfinite(truth[:, k]).all(axis=1)]))
    assert rows["dm_incident", "concordance"].reason == "no prediction"


@pytest.mark.long
def test_every_method_is_scored_by_concordance(rows: list[dict[str, Any]]) -> None:
    assert {row["task"] for row in rows} == {"time_to_event"}
    assert {row["metric"] for row in rows} == {"concordance", "auroc_at_horizon"}
    assert {row["method"] for row in rows} == METHODS
    assert {row["target"] for row in rows} == {*(f"{name}_incident" for name in DISEASES), "mean"}
    for target in ("cad_incident", "af_incident"):
        assert value_of(rows, "mean", target)["value"] == value_of(rows, "mean", target)["ci_high"] == 0.5
        for method in ("random", "mae", "scratch", "both"):
            assert value_of(rows, method, target)["ci_low"] > 0.5, (method, target)
        chance = value_of(rows, "age+sex", target)
        assert chance["ci_low"] < 0.5 < chance["ci_high"]


@pytest.mark.long
def test_a_disease_of_one_event_has_no_number_and_a_note(finished: Path, rows: list[dict[str, Any]]) -> None:
    for method in METHODS - {"mean"}:
        row = value_of(rows, method, "dm_incident")
        assert (row["value"], row["ci_low"]) == (None, None)
        assert (row["n_test"], row["reason"]) == (0, "no prediction")
    text = (finished / "results.md").read_text()
    assert "## Mean concordance over 3 targets (all)" in text
    assert "## Concordance by disease\n" in text
    assert "means leave out dm_incident" in text
    notes = text.split("## Notes")[1]
    assert "dm_incident: 1 event among" in notes
    assert "(random, mae, scratch, age+sex)" in notes
    assert "incident: no oracle, since that of the cohort does not tell when a disease comes" in notes
    assert "dm_incident 1/1/2" in notes
    assert "dm_incident: 2 test events, so few that intervals are too narrow" in notes
    assert "cad_incident:" not in notes.replace("at 40 labels", "")
    assessed = (finished / "evaluation" / "incident" / "results.md").read_text()
    assert "dm_incident: 2 test events, so few" in assessed


@pytest.mark.long
def test_predictions_carry_times_and_events_and_give_the_same_numbers(
    finished: Path, rows: list[dict[str, Any]], problem: Problem, tmp_path: Path
) -> None:
    table = read_prediction_table(finished / "predictions.parquet")
    assert table["truth"].isna().all()
    assert set(table["kind"]) == {"time_to_event"}
    own = table[(table["method"] == "mean") & (table["target"] == "af_incident") & (table["labels"] == 40)]
    own = own[own["seed"] == 0].sort_values(["subject", "recording"])
    np.testing.assert_array_equal(own[["event", "time"]], problem.values[problem.part("test"), 1])
    command = ["evaluate", "--predictions", str(finished / "predictions.parquet"), "--out", str(tmp_path)]
    assert main([*command, "--resamples", "60"]) == 0
    again = json.loads((tmp_path / "results.json").read_text())
    assert any(row["p_holm"] is not None for row in again["differences"])
    found = {tuple(row[key] for key in KEY): row for row in again["scores"]}
    both = [(row, found[key]) for row in rows if (key := tuple(row[name] for name in KEY)) in found]
    assert len(both) == len(rows)
    for ours, theirs in both:
        for name in ("value", "ci_low", "ci_high"):
            assert ours[name] == pytest.approx(theirs[name], abs=2e-6), ours
    trained = table[table["method"] == "scratch"]
    assert set(trained["target"]) == {"cad_incident", "af_incident"}  # nothing is learnt of the rare one


@pytest.mark.long
def test_tables_and_assessment_of_recordings_of_two_a_subject_have_one_number_each(
    finished: Path, rows: list[dict[str, Any]], root: Path, problem: Problem
) -> None:
    """As of PTB-XL: every recording counts in all of them, resamples and counts are of subjects."""
    assessed = json.loads((finished / "evaluation" / "incident" / "results.json").read_text())
    assert assessed["scores"] == rows  # a time to event has no metric but those that are reported
    assert assessed["differences"] == json.loads((finished / "differences.json").read_text())
    test = problem.part("test")
    subjects = np.array(ShardIndex.load(root).subjects(problem.rows[test]))
    assert len(set(subjects)) < len(subjects)
    known = np.isfinite(problem.values[test]).all(axis=2)
    for k, name in enumerate(DISEASES[:2]):
        row = value_of(rows, "mean", f"{name}_incident", 40)
        assert row["n_test"] == len(set(subjects[known[:, k]])) < known[:, k].sum()
    notes = (finished / "results.md").read_text().split("## Notes")[1]
    assert f"{len(test)} recordings of {len(set(subjects))} subjects were scored" in notes
    text = (finished / "evaluation" / "incident" / "results.md").read_text()
    mean = next(row for row in rows if (row["target"], row["method"], row["labels"]) == ("mean", "mae", 40))
    shown = f"{mean['value']:.3f} ({mean['ci_low']:.3f} to {mean['ci_high']:.3f})"
    assert shown in text
    assert shown in (finished / "results.md").read_text()


@pytest.mark.long
def test_figures_are_drawn_and_no_curve_that_is_not_defined(finished: Path) -> None:
    figures = {path.stem for path in (finished / "figures").glob("*.png")}
    assert figures == {"incident_label_efficiency", "incident_forest_40_labels", "incident_forest_155_labels"}
    assert "concordance" in (finished / "results.tex").read_text()


@pytest.mark.long
def test_the_stage_is_told_diseases(finished: Path) -> None:
    config = yaml.safe_load((finished / "stages" / "incident-scratch-155" / "config.yaml").read_text())
    data = config["data"]["init_args"]
    assert (data["diseases"], data["labels"], data["train_labels"]) == (DISEASES, None, 155)


def test_an_oracle_of_the_risk_is_taken(root: Path, problem: Problem, tmp_path: Path) -> None:
    index = ShardIndex.load(root)
    assert oracle_outcome(index, problem) is None
    told = pd.read_csv(root / "oracle.csv", index_col="subject").assign(cad_incident=0.1, af_incident=0.2)
    object.__setattr__(index, "root", tmp_path)
    told.to_csv(tmp_path / "oracle.csv")
    found = oracle_outcome(index, problem.only([1, 0]))
    assert found is not None
    assert found.prediction[0].tolist() == [0.2, 0.1]
    with pytest.raises(UserError, match="no oracle for dm_incident"):
        oracle_outcome(index, problem)


def test_what_cannot_be_compared_is_told_before_anything_is_trained(root: Path, tmp_path: Path) -> None:
    index = ShardIndex.load(root)
    with pytest.raises(UserError, match="^diseases: cad_incident is not in the cohort, which has cad, af, dm"):
        Problem.of("incident", "time_to_event", ["cad_incident"], index)
    binary = Problem.of("diseases", "classification", ["cad_ever", "af_incident"], index)
    with pytest.raises(UserError, match="^task incident: af_incident is a target of task diseases too"):
        refuse_shared_targets([binary, Problem.of("incident", "time_to_event", DISEASES, index)])
    path = write_experiment(tmp_path, root)
    config = tmp_path / "tte.yaml"
    config.write_text(config.read_text().replace("diseases:", "labels:"))
    with pytest.raises(
        UserError, match=r"^trial.yaml: .*tasks.incident.finetune: tte.yaml has data.labels; .*diseases"
    ):
        load_plan(path)


def test_without_an_event_to_choose_by_nothing_is_trained(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_experiment(tmp_path, root)
    content = yaml.safe_load(path.read_text())
    content["evaluation"]["tasks"]["incident"]["targets"] = ["dm"]
    path.write_text(yaml.safe_dump(content))
    # The one event of the validation split is of a recording that is left out.
    original = ShardIndex.positions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShardIndex, "positions", lambda self, *args: np.setdiff1d(original(self, *args), [200]))
        assert main(["experiment", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "task incident: no subject of split val has an event of dm_incident" in capsys.readouterr().err
    assert not (tmp_path / "out" / "stages").exists()
