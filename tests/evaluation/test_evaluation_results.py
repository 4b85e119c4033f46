from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgcmr.errors import UserError
from ecgcmr.evaluation import (
    Assessment,
    Predictions,
    ResultRow,
    Settings,
    Target,
    arrange,
    assess,
    checked_table,
    read_prediction_table,
    read_results_json,
    table_of,
    write_assessment,
    write_prediction_table,
    write_rows,
)
from ecgcmr.evaluation.rows import mean_sets
from ecgcmr.metrics.tasks import TASKS, task_for
from ecgcmr.reports.bullseye import bullseye
from ecgcmr.reports.figures import label_efficiency, roc, save_figure, scatter
from ecgcmr.reports.forest_figures import forest
from ecgcmr.reports.report_text import DETAILS, write_overview_md

TARGETS = [
    Target("lv_edv", "LV", "mL", "LV end-diastolic volume"),
    Target("lv_ef", "LV", "%"),
    Target("rv_edv", "RV", "mL"),
    Target("wt_global", "WT", "mm"),
]
DISEASES = [Target("cad_ever", "disease"), Target("af_ever", "disease")]
KEYS = ["target", "group", "task", "method", "protocol", "labels", "metric", "value", "ci_low", "ci_high", "n_test"]
ADDED = ["task_name", "ended", "n_seeds", "seed_sd", "reason"]


def cohort(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    truth = 100 + 20 * generator.normal(size=(n, 4))
    truth[:10, 0] = np.nan
    return truth, (generator.random((n, 2)) < 0.3).astype(float)


def predictions(task: str, targets: list[Target], truth: np.ndarray, values: np.ndarray, **about: Any) -> Predictions:
    subjects = np.array([f"{k:032x}" for k in range(len(truth))])
    recordings = np.zeros(len(truth), dtype=np.int64)
    about = {"split": "test", "method": "mae", "protocol": None, "labels": None, "seed": 0, **about}
    return Predictions(TASKS[task], tuple(targets), subjects, recordings, truth, values, **about)


def assessed() -> Assessment:
    """Four methods on a cohort; mae+alignment is best, the oracle better still."""
    truth, disease = cohort()
    full = np.where(np.isnan(truth), 100.0, truth)
    generator = np.random.default_rng(1)
    parts: list[Predictions] = []
    for method, protocol, noise, counts in (
        ("random", "linear_probe", 40.0, (50, 200)),
        ("mae+alignment", "linear_probe", 14.0, (50, 200)),
        ("age+sex", None, 25.0, (50, 200)),
        ("oracle", None, 5.0, (None,)),
    ):
        for labels in counts:
            about = {"method": method, "protocol": protocol, "labels": labels}
            prediction = full + noise * generator.normal(size=full.shape)
            prediction[:, 3] = np.nan
            parts.append(predictions("regression", TARGETS, truth, prediction, **about))
            score = disease + noise / 10 * generator.normal(size=disease.shape)
            parts.append(predictions("classification", DISEASES, disease, score, **about))
    table = checked_table(table_of(parts), "made", gaps=True)
    settings = Settings(resamples=100, focus="mae+alignment")
    return assess(arrange(table, "made", targets=[*TARGETS, *DISEASES]), settings)


FOUND = assessed()
ROWS: list[ResultRow] = [row for row in FOUND.scores if row.metric in TASKS[row.task].reported]


def test_mean_sets_never_carry_a_groups_name() -> None:
    assert mean_sets(TARGETS) == {"all": [0, 1, 2, 3], "LV+RV": [0, 1, 2], "LV mean": [0, 1]}
    assert mean_sets(DISEASES) == {"all": [0, 1]}
    assert mean_sets(DISEASES[:1]) == {}


def test_rows_hold_every_target_metric_and_mean() -> None:
    own = [row for row in ROWS if row.method == "random" and row.labels == 50 and row.task == "regression"]
    assert len(own) == 3 * 4 + 2 * 3
    assert {row.metric for row in own if row.target == "mean"} == {"r2", "pearson"}  # errors of mL and % have none
    by_key = {(row.target, row.group, row.metric): row for row in own}
    assert by_key["lv_edv", "LV", "r2"].n_test == 110
    assert by_key["mean", "LV+RV", "r2"].n_test == 120
    assert by_key["wt_global", "WT", "r2"].n_test == 0  # it has a truth, and no prediction
    members = [by_key["lv_edv", "LV", "r2"], by_key["lv_ef", "LV", "r2"], by_key["rv_edv", "RV", "r2"]]
    assert by_key["mean", "LV+RV", "r2"].value == pytest.approx(np.mean([row.value for row in members]))
    assert np.isnan(by_key["wt_global", "WT", "mae"].value)


def test_results_json_has_exactly_the_keys_and_null_for_nan(tmp_path: Path) -> None:
    path = write_rows(ROWS, tmp_path / "deep" / "results.json")
    again = [row for row in assessed().scores if row.metric in TASKS[row.task].reported]
    assert path.read_bytes() == write_rows(again, tmp_path / "again.json").read_bytes()
    assert "NaN" not in path.read_text()
    records = json.loads(path.read_text())
    assert all(list(record) == [*KEYS, *ADDED] for record in records)
    missing = [record for record in records if record["value"] is None]
    assert {record["target"] for record in missing} == {"wt_global"}
    assert all(record["ci_low"] is None and record["reason"] == "no prediction" for record in missing)
    assert {record["labels"] for record in records if record["method"] == "oracle"} == {None}
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]
    back = read_results_json(path)
    for name in (*KEYS[:7], "n_test", "task_name"):
        assert [getattr(row, name) for row in back] == [getattr(row, name) for row in ROWS]
    np.testing.assert_allclose([row.value for row in back], [row.value for row in ROWS], atol=1e-6)
    whole = json.loads(write_assessment(FOUND, tmp_path / "whole.json").read_text())
    assert [record for record in whole["scores"] if record["metric"] in ("r2", "auroc")] == [
        record for record in records if record["metric"] in ("r2", "auroc")
    ]


def test_duplicate_and_foreign_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="row 2 repeats"):
        read_results_json(write_rows([ROWS[0], replace(ROWS[0], value=0.0)], tmp_path / "results.json"))
    (tmp_path / "other.json").write_text('[{"target": "x"}]')
    (tmp_path / "broken.json").write_text("[")
    for name in ("other.json", "broken.json", "absent.json"):
        with pytest.raises(UserError, match=name):
            read_results_json(tmp_path / name)


def test_rows_of_before_tasks_had_names_are_read(tmp_path: Path) -> None:
    records = json.loads(write_rows(ROWS, tmp_path / "new.json").read_text())
    old = [{key: record[key] for key in KEYS} for record in records]
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert {row.task_name for row in read_results_json(tmp_path / "old.json")} == {"regression", "classification"}


def test_results_md_leads_with_the_headline_and_marks_the_best(tmp_path: Path) -> None:
    text = write_overview_md([FOUND], tmp_path / "results.md", title="Results", notes=["one note"]).read_text()
    lead = text.partition(DETAILS)[0]
    assert "Mean AUROC over 2 targets (all)" in lead
    assert "## R2 by group" not in lead
    headline = text.split("## ")[1]
    assert headline.startswith("Mean R2 over 3 targets (LV+RV)")
    assert "n = 120 test subjects" in headline
    lines = [line for line in headline.splitlines() if line.startswith("| ")]
    assert lines[0] == "| method | 50 labels | 200 labels |"
    assert [line.split(" |")[0] for line in lines[1:5]] == [
        "| random, linear probe",
        "| mae+alignment, linear probe",
        "| age+sex",
        "| oracle",
    ]
    assert lines[2].count("**") == 4
    assert headline.count("**") == 4  # the oracle is not marked
    value = next(
        row
        for row in ROWS
        if (row.target, row.group, row.metric, row.method, row.labels) == ("mean", "LV+RV", "r2", "mae+alignment", 200)
    )
    assert f"**{value.value:.3f} ({value.ci_low:.3f} to {value.ci_high:.3f})**" in lines[2]
    assert "mae+alignment, linear probe - random, linear probe | 200 |" in text
    assert "## AUROC by disease or finding" in text
    assert "cad_ever (n = 120)" in text
    assert "- age+sex at 50 labels: means leave out wt_global (undefined or without prediction).\n" in text
    assert "## Notes\n\n- one note\n" in text


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


@pytest.mark.slow
def test_figures_are_written_and_deterministic(tmp_path: Path) -> None:
    truth, disease = cohort()
    scores = {("random", "linear_probe"): np.random.default_rng(0).random(disease.shape), ("oracle", None): disease}
    made = {
        "labels": lambda: label_efficiency(ROWS),
        "auroc": lambda: label_efficiency(ROWS, "auroc", target="cad_ever"),
        "forest": lambda: forest(ROWS, 200, targets=TARGETS),
        "scatter": lambda: scatter(truth, np.where(np.isnan(truth), 100.0, truth), TARGETS),
        "roc": lambda: roc(disease, scores, DISEASES),
        "bullseye": lambda: bullseye([np.linspace(0, 1, 16), np.full(16, np.nan)], ["a", "b"]),
    }
    for name, make in made.items():
        first, second = (save_figure(make(), tmp_path / f"{name}{i}.png") for i in range(2))
        assert min(png_size(first)) > 350
        assert first.read_bytes() == second.read_bytes()


def test_figures_draw_what_the_rows_say() -> None:
    figure = label_efficiency(ROWS)
    axes = figure.axes[0]
    lines = {text.get_text() for text in figure.legends[0].get_texts()}
    assert lines == {"random, linear probe", "mae+alignment, linear probe", "age+sex", "oracle"}
    drawn = axes.containers[1].lines[0].get_ydata()
    expected = [
        row.value
        for row in ROWS
        if (row.group, row.metric, row.method) == ("LV+RV", "r2", "mae+alignment") and row.target == "mean"
    ]
    np.testing.assert_allclose(drawn, expected)
    with pytest.raises(ValueError, match="no r2"):
        label_efficiency([])
    with pytest.raises(ValueError, match="no r2 at 7 labels"):
        forest([row for row in ROWS if row.labels], 7, targets=TARGETS)
    with pytest.raises(ValueError, match="16 numbers"):
        bullseye([[0.0] * 17], ["a"])


def made_predictions(**changes: Any) -> Predictions:
    """Three subjects with two recordings each."""
    truth, _ = cohort(6)
    truth[0, 1] = np.nan
    made = predictions("regression", TARGETS, truth, np.nan_to_num(truth, nan=50.0) + 1.0, labels=7, seed=101)
    subjects = np.array([f"{k // 2:032x}" for k in range(6)])
    return replace(made, **{"subjects": subjects, "recordings": np.arange(6) % 2, **changes})


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_predictions_come_back_from_the_table_as_they_were(tmp_path: Path, suffix: str) -> None:
    first = made_predictions(task=task_for("regression", "volumes"))
    first.prediction[:, 3] = np.nan
    path = write_prediction_table(tmp_path / f"p{suffix}", table_of([first]))
    assert path.read_bytes() == write_prediction_table(tmp_path / f"q{suffix}", table_of([first])).read_bytes()
    data = arrange(read_prediction_table(path), path.name, targets=TARGETS)
    assert [target.name for target in data.targets] == ["lv_edv", "lv_ef", "rv_edv"]  # one has no prediction
    assert [target.unit for target in data.targets] == ["mL", "%", "mL"]
    assert [(task.name, task.kind) for task in data.tasks] == [("volumes", "regression")]
    assert data.test.subjects.tolist() == first.subjects.tolist()
    np.testing.assert_array_equal(data.test.truth, first.truth[:, :3])
    (variant,) = data.variants
    assert (variant.method, variant.protocol, variant.labels) == ("mae", None, 7)
    np.testing.assert_array_equal(data.test.predictions[variant][101], first.prediction[:, :3])


def test_a_table_of_one_recording_a_subject_has_no_column_for_it(tmp_path: Path) -> None:
    first = made_predictions(recordings=np.zeros(6, dtype=np.int64), subjects=np.array([f"{k:032x}" for k in range(6)]))
    header = write_prediction_table(tmp_path / "p.csv", table_of([first])).read_text().splitlines()[0]
    assert "recording" not in header
    twice = made_predictions(recordings=np.zeros(6, dtype=np.int64))
    with pytest.raises(UserError, match="rows repeat a subject, .* or number a subject's recordings"):
        checked_table(table_of([twice]), "t")


def test_predictions_refuse_source_ids_and_other_shapes(tmp_path: Path) -> None:
    named = made_predictions(subjects=np.array(["1000012"] * 6))
    with pytest.raises(ValueError, match="keyed hashes"):
        write_prediction_table(tmp_path / "p.csv", table_of([named]))
    with pytest.raises(ValueError, match="recordings x targets"):
        made_predictions(targets=(TARGETS[0],))
