"""``ecgcmr compare`` of runs that do not belong together, and folders that results must not be written to."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_evaluation_odd_tables import table

from ecgcmr.cli import main

ROW: dict[str, Any] = {
    "target": "lv_edv", "group": "LV", "task": "regression", "method": "mae", "protocol": None, "labels": None,
    "metric": "r2", "value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n_test": 60,
}  # fmt: skip


def run(folder: Path, frame: pd.DataFrame | None = None, results: Any = None) -> Path:
    folder.mkdir(parents=True)
    if frame is not None:
        frame.to_parquet(folder / "predictions.parquet", index=False)
    if results is not None:
        (folder / "results.json").write_text(json.dumps(results))
    return folder


def compared(out: Path, *runs: Path, options: tuple[str, ...] = ()) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return main(["compare", *map(str, runs), "--out", str(out), "--resamples", "20", *options])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": 5.0, "ci_high": 6.0}, "r2 is 5.0; it lies from -inf to 1"),
        ({"metric": "auroc"}, "auroc is a metric of classification, not of regression"),
        ({"metric": "mae", "value": -3.0, "ci_low": -4.0, "ci_high": -2.0}, "mae is -3.0; it lies from 0 to inf"),
        ({"value": None}, "has a part of value, ci_low and ci_high"),
        ({"ci_high": None}, "has a part of value, ci_low and ci_high"),
    ],
)
def test_results_that_no_metric_can_have_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = run(tmp_path / "a", table()), run(tmp_path / "b", results=[{**ROW, **change}])
    assert compared(tmp_path / "out", *runs) == 2
    assert f"row 1: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("results", "split"), [({"settings": {"split": "val"}, "scores": [ROW]}, "test"), ([ROW], "val")]
)
def test_results_of_another_split_are_not_set_beside_predictions(
    tmp_path: Path, results: Any, split: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = run(tmp_path / "a", table()), run(tmp_path / "b", results=results)
    assert compared(tmp_path / "out", *runs, options=("--split", split)) == 2
    assert f"not {split}; compare runs on one split" in capsys.readouterr().err


def test_two_methods_of_one_name_are_not_taken_for_seeds_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = run(tmp_path / "a", pd.concat([table(method="b"), table(method="c")]))
    assert compared(tmp_path / "out", several, run(tmp_path / "a: b", table(seed=1))) == 2
    assert "a: b, a: both have a method 'a: b'; rename one of the folders" in capsys.readouterr().err


def test_a_second_table_and_unread_columns_of_a_run_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tmp_path / "a", table().assign(Protocol="x"))
    table(seed=3).to_csv(first / "predictions.csv", index=False)
    # A column that one run has and another lacks: pandas warns where empty columns are joined.
    assert compared(tmp_path / "out", first, run(tmp_path / "b", table().assign(unit="mL"))) == 0
    said = capsys.readouterr().out
    assert "a has predictions.parquet and predictions.csv; the first is read" in said
    assert "columns that are not read: Protocol (is it protocol?)" in said


@pytest.mark.parametrize("name", ["config.yaml", "best.ckpt", "index.json", "experiment.json"])
@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_results_are_not_written_to_the_folder_of_a_run_or_a_cohort(
    tmp_path: Path, name: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = run(tmp_path / "a", table()), run(tmp_path / "b", table())
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("x")
    words = list(map(str, runs)) if command == "compare" else ["--predictions", str(runs[0] / "predictions.parquet")]
    assert main([command, *words, "--out", str(out), "--overwrite"]) == 2
    assert f"holds {name}, so it is a run, an experiment or a cohort" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [name]


@pytest.mark.slow
def test_figures_of_replaced_results_do_not_stay(tmp_path: Path) -> None:
    runs = run(tmp_path / "a", table()), run(tmp_path / "b", table())
    out = tmp_path / "out"
    words = ["--predictions", str(runs[0] / "predictions.parquet"), "--out", str(out), "--resamples", "20"]
    assert main(["evaluate", *words]) == 0
    assert list(out.glob("figures/*.png"))
    (out / "mine.txt").write_text("kept")
    assert compared(out, *runs, options=("--overwrite",)) == 0
    assert not list(out.glob("figures/*.png"))
    assert (out / "mine.txt").read_text() == "kept"
