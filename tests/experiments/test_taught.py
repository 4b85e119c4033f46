"""Methods that a reader of images teaches: what they are given, what stands in the table, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_experiment import LITTLE, TWO_STEPS, change

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import read_prediction_table
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.run_graph import run_graph
from ecgcmr.experiments.teachers import check_lessons
from ecgcmr.probes.linear_probe import fit_probe
from ecgcmr.shards import ShardIndex

TAUGHT: dict[str, Any] = {
    **LITTLE,
    "teacher": "alignment",
    "linear_probe": ["mae", "random"],
    "taught_probe": ["mae", "random"],
    "taught": ["mae", "scratch"],
    "taught_labels": [20],
    "labels": [20, "all"],
}


def with_pupils(copied: Path) -> Path:
    path = copied / "trial.yaml"
    change(path, lambda plan: plan["evaluation"].update(TAUGHT))
    change(path, lambda plan: plan["evaluation"]["tasks"]["phenotypes"]["set"].update(TWO_STEPS))
    return path


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_pupils_learn_what_a_probe_on_images_says_of_all_recordings(
    copied: Path, cohort_root: Path, commands: list, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = with_pupils(copied), copied / "out"
    assert main(["experiment", str(path), "--out", str(out), "--jobs", "1"]) == 0
    assert [name for command, name in commands if command == "fit"] == [
        "phenotypes-mae@taught-20",
        "phenotypes-scratch@taught-20",
    ]
    said = read_prediction_table(out / "features" / "phenotypes-mae@taught-20-teacher" / "predictions.parquet")
    assert set(said["split"]) == {"train"}
    assert said[said["truth"].notna()]["subject"].nunique() <= 20, "labels of no other recording"
    index = ShardIndex.load(cohort_root)
    assert said["subject"].nunique() == len(index.positions("train", ("ecg", "cmr")))

    # The probe again, by another way to the same rows.
    problem = Problem.of("phenotypes", "regression", ["LV", "RV"], index)
    rows = index.positions(None, ("cmr",))
    features = pd.DataFrame(np.load(out / "features" / "alignment@images" / "features.npy"), index=rows)
    chosen, val = problem.rows[problem.training(20, 0)], problem.rows[problem.part("val")]
    values = pd.DataFrame(problem.values, index=problem.rows)
    chosen, val = (part[np.isin(part, rows)] for part in (chosen, val))
    probe = fit_probe(problem.task, features.loc[chosen], values.loc[chosen], features.loc[val], values.loc[val])
    pupils = index.positions("train", ("ecg", "cmr"))
    expected = probe.predict(features.loc[pupils].to_numpy(dtype=np.float64))
    wide = said.pivot(index="subject", columns="target", values="prediction")
    found = wide.loc[list(index.subjects(pupils)), [label.name for label in problem.labels]].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9)

    table = read_prediction_table(out / "predictions.parquet")
    about = table[["method", "protocol", "labels"]].drop_duplicates().astype(str).apply(tuple, axis=1)
    assert set(about) >= {("mae", "taught", "20.0"), ("scratch", "taught", "20.0")}
    assert set(about) >= {("mae", "taught_probe", "20.0"), ("random", "taught_probe", "20.0")}
    (note,) = (line for line in (out / "results.md").read_text().splitlines() if "the teacher labels" in line)
    others = index.positions("train", ("ecg", "cmr"))
    assert f"the teacher labels {len(np.setdiff1d(others, chosen))} training recordings beside the 20 that" in note
    assert "scratch (taught by images)" in note  # trained, where the other two are probed too
    assert "mae, fine-tuned, taught by images" in (out / "results.md").read_text()

    # What it says stands for labels that are not among the 20; the probe on features of ECGs learns from both.
    own_labels = np.where(np.isin(problem.rows, chosen)[:, None], problem.values, np.nan)
    lesson = pd.DataFrame(own_labels, index=problem.rows)
    answers = pd.DataFrame(expected, index=pupils, columns=lesson.columns)
    train = problem.rows[problem.split == "train"]
    lesson = lesson.loc[train].fillna(answers).dropna(how="all")
    read = pd.DataFrame(np.load(out / "features" / "mae" / "features.npy"), index=problem.rows)
    everyone, test = problem.rows[problem.part("val")], problem.rows[problem.part("test")]
    pupil = fit_probe(problem.task, read.loc[lesson.index], lesson, read.loc[everyone], values.loc[everyone])
    own = table[(table["method"] == "mae") & (table["protocol"] == "taught_probe") & (table["seed"] == 0)]
    wide = own.pivot(index="subject", columns="target", values="prediction")
    found = wide.loc[list(index.subjects(test)), [label.name for label in problem.labels]].to_numpy()
    np.testing.assert_allclose(found, pupil.predict(read.loc[test].to_numpy(dtype=np.float64)), rtol=1e-6)

    # Again: nothing is left to do; the model is exported as what it is.
    commands.clear()
    assert main(["experiment", str(path), "--out", str(out), "--jobs", "1"]) == 0
    assert commands == []
    words = ["export", str(out), "--method", "mae", "--protocol", "taught", "--out", str(copied / "model")]
    assert main([*words, "--without-calibration"]) == 0
    assert "taught by images" in (copied / "model" / "model.yaml").read_text()
    capsys.readouterr()


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_with_all_labels_pairs_that_have_none_are_taught(copied: Path, commands: list) -> None:
    path, out = with_pupils(copied), copied / "out"
    entries = {"labels": ["all"], "taught_labels": ["all"], "taught": ["mae"], "taught_probe": ["mae"]}
    change(path, lambda plan: plan["evaluation"].update(entries))
    assert main(["experiment", str(path), "--out", str(out), "--jobs", "1"]) == 0
    (run,) = [name for command, name in commands if command == "fit" and "@taught" in name]
    said = read_prediction_table(out / "features" / f"{run}-teacher" / "predictions.parquet")
    assert said["truth"].isna().any()
    table = read_prediction_table(out / "predictions.parquet")
    found = set(table[["method", "protocol"]].drop_duplicates().apply(tuple, axis=1))
    assert {("mae", "taught"), ("mae", "taught_probe")} <= found


def test_a_taught_run_needs_its_own_encoder_and_the_teacher(copied: Path) -> None:
    nodes = {node.name: node.needs for node in run_graph(load_plan(with_pupils(copied)))}
    assert nodes["phenotypes-mae@taught-20"] == ("mae", "alignment")
    assert nodes["phenotypes-scratch@taught-20"] == ("mae", "alignment")
    assert not [name for name in nodes if name.startswith("diseases-")]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"teacher": None}, "evaluation.taught_probe: name the alignment that teaches under"),
        ({"teacher": "cnn"}, "evaluation.teacher"),
        ({"teacher": "mae"}, "evaluation.teacher: mae hands on no cmr_encoder"),
        ({"taught": [], "taught_probe": []}, "evaluation.teacher teaches nobody"),
        ({"taught_probe": ["alignment"]}, "evaluation.taught_probe"),
        ({"taught": ["mae", "mae"]}, "evaluation.taught names mae twice"),
        ({"taught": ["nobody"]}, "evaluation.taught"),
        ({"taught_labels": [], "labels": ["all"]}, "evaluation.labels names all of them alone; if the cohort has"),
        (
            {"gain": {"method": "scratch", "over": ["mae"], "task": "phenotypes", "labels": 20}},
            "evaluation.gain: 'scratch' is not",
        ),
        ({"taught_labels": ["some"]}, "evaluation.taught_labels holds 'some'"),
    ],
)
def test_what_cannot_be_taught_is_refused(
    copied: Path, entries: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_pupils(copied)
    change(path, lambda plan: plan["evaluation"].update(entries))
    assert main(["experiment", str(path), "--out", str(copied / "other"), "--dry-run"]) == 2
    assert message in capsys.readouterr().err
    assert not (copied / "other").exists()


def test_the_table_of_a_task_without_numbers_is_no_lesson(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = with_pupils(copied)
    change(path, lambda plan: plan["evaluation"]["tasks"].pop("phenotypes"))
    assert main(["experiment", str(path), "--out", str(copied / "other"), "--dry-run"]) == 2
    assert "numbers alone are taught" in capsys.readouterr().err


def test_the_setting_belongs_to_the_experiment(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = with_pupils(copied)
    settings = {"data.pseudo_labels": "mine.parquet"}
    change(path, lambda plan: plan["evaluation"]["tasks"]["phenotypes"]["set"].update(settings))
    assert main(["experiment", str(path), "--out", str(copied / "other"), "--dry-run"]) == 2
    assert "name an alignment under evaluation.teacher" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["data.min_quality", "data.paired", "data.selection"])
def test_rows_are_chosen_alike_by_teacher_and_pupil(
    copied: Path, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, value = with_pupils(copied), {"data.min_quality": 0.5, "data.paired": True, "data.selection": "train_10pct"}
    settings = {setting: value[setting]}
    change(path, lambda plan: plan["evaluation"]["tasks"]["phenotypes"]["set"].update(settings))
    assert main(["experiment", str(path), "--out", str(copied / "other"), "--dry-run"]) == 2
    assert f"{setting} chooses other labelled recordings than those its teacher has" in capsys.readouterr().err


def test_a_teacher_without_images_is_refused_before_anything_is_trained(
    copied: Path, cohort_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, index = load_plan(with_pupils(copied)), ShardIndex.load(cohort_root)
    problem = Problem.of("phenotypes", "regression", ["LV", "RV"], index)
    check_lessons(plan, problem, {20: 20, "all": 52}, index)
    labelled = problem.rows[problem.training(20, 0)]
    positions = index.positions

    def without(split: str | None, need: Any) -> np.ndarray:
        found = positions(split, need)
        return np.setdiff1d(found, labelled) if "cmr" in need else found

    monkeypatch.setattr(index, "positions", without)
    with pytest.raises(UserError, match=r"of 20 labelled recordings of task phenotypes \(seed \d\) \d+ have images"):
        check_lessons(plan, problem, {20: 20, "all": 52}, index)


def test_more_labels_than_there_are_teach_nobody(copied: Path, cohort_root: Path) -> None:
    path, index = with_pupils(copied), ShardIndex.load(cohort_root)
    change(path, lambda plan: plan["evaluation"].update({"labels": [20, 5000], "taught_labels": [5000]}))
    problem = Problem.of("phenotypes", "regression", ["LV", "RV"], index)
    with pytest.raises(UserError, match="fewer labelled recordings than any of 5000; nobody would be taught"):
        check_lessons(load_plan(path), problem, {20: 20}, index)


@pytest.mark.parametrize("entry", ["all", 52, "100 %"])
def test_all_labels_are_a_lesson_where_recordings_with_images_lack_one(
    copied: Path, cohort_root: Path, entry: int | str
) -> None:
    path = with_pupils(copied)
    change(path, lambda plan: plan["evaluation"].update({"labels": ["all"], "taught_labels": [entry]}))
    plan, index = load_plan(path), ShardIndex.load(cohort_root)
    problem = Problem.of("phenotypes", "regression", ["LV", "RV"], index)
    problem = replace(problem, values=np.random.default_rng(0).normal(size=problem.values.shape))
    everyone = problem.training(None)
    with pytest.raises(UserError, match=rf"{len(everyone)} labels of task phenotypes are those of all .* with images"):
        check_lessons(plan, problem, {entry: len(everyone)}, index)

    values = problem.values.copy()
    values[everyone[:5]] = np.nan
    fewer = replace(problem, values=values)
    check_lessons(plan, fewer, {entry: len(everyone) - 5}, index)
    assert len(fewer.training(None)) == len(everyone) - 5
    assert "phenotypes-mae@taught-" + str(entry).replace(" ", "") in {node.name for node in run_graph(plan)}

    values = problem.values.copy()
    values[everyone[:5], 0] = np.nan  # one target of a few is enough to teach
    check_lessons(plan, replace(problem, values=values), {entry: len(everyone)}, index)
