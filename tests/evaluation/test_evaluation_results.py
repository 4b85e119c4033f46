from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecgcmr.errors import UserError
from ecgcmr.evaluation import (
    DifferenceRow,
    Predictions,
    ResultRow,
    Target,
    evaluate,
    evaluate_difference,
    load_predictions,
    mean_sets,
    read_results_json,
    save_predictions,
    write_results_json,
)
from ecgcmr.reports.bullseye import bullseye
from ecgcmr.reports.figures import label_efficiency, roc, save_figure, scatter
from ecgcmr.reports.forest_figures import forest
from ecgcmr.reports.tables import write_results_md

TARGETS = [
    Target("lv_edv", "LV", "mL", "LV end-diastolic volume"),
    Target("lv_ef", "LV", "%"),
    Target("rv_edv", "RV", "mL"),
    Target("wt_global", "WT", "mm"),
]
DISEASES = [Target("cad_ever", "disease"), Target("af_ever", "disease")]
KEYS = ["target", "group", "task", "method", "protocol", "labels", "metric", "value", "ci_low", "ci_high", "n_test"]


def cohort(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    truth = 100 + 20 * generator.normal(size=(n, 4))
    truth[:10, 0] = np.nan
    return truth, (generator.random((n, 2)) < 0.3).astype(float)


def made_rows() -> list[ResultRow]:
    """Four methods on a cohort; mae+alignment is best, the oracle better still."""
    truth, disease = cohort()
    full = np.where(np.isnan(truth), 100.0, truth)
    generator = np.random.default_rng(1)
    rows: list[ResultRow] = []
    for method, protocol, noise, counts in (
        ("random", "linear_probe", 40.0, (50, 200)),
        ("mae+alignment", "linear_probe", 14.0, (50, 200)),
        ("age+sex", None, 25.0, (50, 200)),
        ("oracle", None, 5.0, (None,)),
    ):
        for labels in counts:
            about = {"method": method, "protocol": protocol, "labels": labels, "resamples": 100}
            prediction = full + noise * generator.normal(size=full.shape)
            prediction[:, 3] = np.nan
            rows += evaluate(truth, prediction, TARGETS, "regression", generator=np.random.default_rng(0), **about)
            score = disease + noise / 10 * generator.normal(size=disease.shape)
            rows += evaluate(disease, score, DISEASES, "classification", generator=np.random.default_rng(0), **about)
    return rows


ROWS = made_rows()


def test_mean_sets_never_carry_a_groups_name() -> None:
    assert mean_sets(TARGETS) == {"all": [0, 1, 2, 3], "LV+RV": [0, 1, 2], "LV mean": [0, 1]}
    assert mean_sets(DISEASES) == {"all": [0, 1]}
    assert mean_sets(DISEASES[:1]) == {}
    with pytest.raises(ValueError, match="name of a group"):
        evaluate(
            *([np.zeros((3, 4))] * 2),
            TARGETS,
            "regression",
            method="m",
            protocol=None,
            labels=1,
            generator=np.random.default_rng(0),
            sets={"LV": [0]},
        )


def test_rows_hold_every_target_metric_and_mean() -> None:
    own = [row for row in ROWS if row.method == "random" and row.labels == 50 and row.task == "regression"]
    assert len(own) == 3 * 4 + 2 * 3
    assert {row.metric for row in own if row.target == "mean"} == {"r2", "pearson"}  # errors of mL and % have none
    by_key = {(row.target, row.group, row.metric): row for row in own}
    assert by_key["lv_edv", "LV", "r2"].n_test == 110
    assert by_key["mean", "LV+RV", "r2"].n_test == 120
    members = [by_key["lv_edv", "LV", "r2"], by_key["lv_ef", "LV", "r2"], by_key["rv_edv", "RV", "r2"]]
    assert by_key["mean", "LV+RV", "r2"].value == pytest.approx(np.mean([row.value for row in members]))
    assert np.isnan(by_key["wt_global", "WT", "mae"].value)


def test_results_json_has_exactly_the_keys_and_null_for_nan(tmp_path: Path) -> None:
    path = write_results_json(ROWS, tmp_path / "deep" / "results.json")
    assert path.read_bytes() == write_results_json(made_rows(), tmp_path / "again.json").read_bytes()
    assert "NaN" not in path.read_text()
    records = json.loads(path.read_text())
    assert all(list(record) == KEYS for record in records)
    missing = [record for record in records if record["value"] is None]
    assert {record["target"] for record in missing} == {"wt_global"}
    assert all(record["ci_low"] is None and record["n_test"] == 120 for record in missing)
    assert {record["labels"] for record in records if record["method"] == "oracle"} == {None}
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]
    back = read_results_json(path)
    assert [replace(row, value=0.0, ci_low=0.0, ci_high=0.0) for row in back] == [
        replace(row, value=0.0, ci_low=0.0, ci_high=0.0) for row in ROWS
    ]
    np.testing.assert_allclose([row.value for row in back], [row.value for row in ROWS], atol=1e-8)


def test_duplicate_and_foreign_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two results"):
        write_results_json([ROWS[0], replace(ROWS[0], value=0.0)], tmp_path / "results.json")
    (tmp_path / "other.json").write_text('[{"target": "x"}]')
    (tmp_path / "broken.json").write_text("[")
    for name in ("other.json", "broken.json", "absent.json"):
        with pytest.raises(UserError, match=name):
            read_results_json(tmp_path / name)


def test_results_md_leads_with_the_headline_and_marks_the_best(tmp_path: Path) -> None:
    truth, _ = cohort()
    full = np.where(np.isnan(truth), 100.0, truth)
    differences = evaluate_difference(
        truth,
        full,
        full + 5.0,
        TARGETS,
        "regression",
        method="mae+alignment",
        reference="random",
        protocol="linear_probe",
        labels=200,
        generator=np.random.default_rng(0),
        resamples=50,
    )
    assert all(isinstance(row, DifferenceRow) for row in differences)
    text = write_results_md(ROWS, tmp_path / "results.md", differences=differences, notes=["one note"]).read_text()
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
    assert "mae+alignment, linear probe - random | 200 |" in text
    assert "## AUROC by disease or finding" in text
    assert "cad_ever (n = 120)" in text
    assert "- age+sex at 50 labels: means leave out wt_global (undefined or without prediction).\n" in text
    assert text.endswith("- one note\n")


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_figures_are_written_and_deterministic(tmp_path: Path) -> None:
    truth, disease = cohort()
    scores = {("random", "linear_probe"): np.random.default_rng(0).random(disease.shape), ("oracle", None): disease}
    made = {
        "labels": lambda: label_efficiency(ROWS),
        "auroc": lambda: label_efficiency(ROWS, "auroc", target="cad_ever", task="classification"),
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
    axes = label_efficiency(ROWS).axes[0]
    lines = {text.get_text() for text in axes.get_legend().get_texts()}
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


def made_predictions() -> Predictions:
    truth, _ = cohort(6)
    truth[0, 1] = np.nan
    return Predictions(
        subjects=tuple(f"{i // 2:032x}" for i in range(6)),
        targets=tuple(target.name for target in TARGETS),
        truth=truth,
        prediction=np.nan_to_num(truth, nan=50.0) + 1.0,
        task="regression",
        split="test",
        method="mae+alignment",
        protocol="linear_probe",
        labels=None,
        seed=101,
    )


def test_predictions_come_back_as_they_were(tmp_path: Path) -> None:
    first = made_predictions()
    path = save_predictions(tmp_path / "predictions.npz", first)
    assert path.read_bytes() == save_predictions(tmp_path / "again.npz", first).read_bytes()
    back = load_predictions(path)
    np.testing.assert_array_equal(back.truth, first.truth)
    np.testing.assert_array_equal(back.prediction, first.prediction)
    for name in ("subjects", "targets", "task", "split", "method", "protocol", "labels", "seed"):
        assert getattr(back, name) == getattr(first, name)


def test_predictions_refuse_source_ids_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keyed hashes"):
        replace(made_predictions(), subjects=("1000012",) * 6)
    with pytest.raises(ValueError, match="subjects x targets"):
        replace(made_predictions(), targets=("one",))
    with pytest.raises(UserError, match=r"absent\.npz"):
        load_predictions(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", truth=np.zeros(2))
    np.savez(tmp_path / "pickled.npz", **{name: np.array([{}], dtype=object) for name in ("format", "subject")})
    for name in ("text.npz", "other.npz", "pickled.npz"):
        with pytest.raises(UserError, match=name):
            load_predictions(tmp_path / name)
