"""A run that ended at an edge of its budget is marked in the cell, wherever its predictions are scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_compared_runs import ROW, compared, run
from test_evaluation_odd_tables import table

from ecgcmr.cli import main
from ecgcmr.evaluation.arrangement import arrange
from ecgcmr.evaluation.assessment import Assessment, assess
from ecgcmr.evaluation.prediction_table import checked_table, read_prediction_table, write_prediction_table
from ecgcmr.evaluation.predictions import Predictions, table_of
from ecgcmr.evaluation.rows import Settings, Target
from ecgcmr.evaluation.training_ends import ENDS, MARKS, legend_of, marked
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.reports.report_text import write_report_md, write_report_tex
from ecgcmr.training.budget_course import Course
from ecgcmr.training.budget_plan import Budget, budget_for

TARGETS = (Target("lv_edv", "LV", "mL"), Target("rv_edv", "RV", "mL"))


def predicted(method: str, ended: tuple[str, ...], seed: int = 0) -> Predictions:
    world, own = np.random.default_rng(0), np.random.default_rng([1, seed, len(method)])
    truth = 100.0 + 20.0 * world.normal(size=(60, 2))
    subjects, numbers = np.array([f"{k:032x}" for k in range(60)]), np.zeros(60, dtype=np.int64)
    prediction = truth + 10.0 * own.normal(size=truth.shape)
    about = ("test", method, "finetune", 20, seed)
    return Predictions(TASKS["regression"], TARGETS, subjects, numbers, truth, prediction, *about, ended)


def frame() -> pd.DataFrame:
    """A model for each target and seed: one seed of one target of ``cnn`` ended at its most steps."""
    parts = [predicted("cnn", ("", "most")), predicted("cnn", (), seed=1), predicted("mae", ("", ""))]
    return table_of([*parts, predicted("short", ("below least", "most"))])


def found(rows: pd.DataFrame) -> Assessment:
    data = arrange(checked_table(rows, "the table"), "the table")
    return assess(data, Settings(resamples=20, compared=(("mae", "cnn"),)))


def marks(text: str, line: str) -> list[str]:
    """Return the marks in the cells of the first line of a table that begins so."""
    (first, *_) = [row for row in text.splitlines() if row.startswith(f"| {line} |")]
    return [next((mark for mark in MARKS.values() if mark in cell), "") for cell in first.split("|")[2:-1]]


def test_the_mark_of_a_cell_is_the_worst_of_its_seeds_and_targets(tmp_path: Path) -> None:
    path = write_prediction_table(tmp_path / "predictions.parquet", frame())
    scored = found(read_prediction_table(path))
    ends = {(row.method, row.target): row.ended for row in scored.scores}
    assert ends == {
        ("cnn", "lv_edv"): "", ("cnn", "rv_edv"): "most", ("cnn", "mean"): "most",
        ("mae", "lv_edv"): "", ("mae", "rv_edv"): "", ("mae", "mean"): "",
        ("short", "lv_edv"): "below least", ("short", "rv_edv"): "most", ("short", "mean"): "below least",
    }  # fmt: skip
    pair = {row.target: row.ended for row in scored.differences if {row.method, row.reference} == {"mae", "cnn"}}
    assert pair == {"lv_edv": "", "rv_edv": "most", "mean": "most"}


def test_marks_stand_in_every_written_table_with_one_line_below_it(tmp_path: Path) -> None:
    scored = found(frame())
    text = write_report_md(scored, tmp_path / "results.md", title="T").read_text()
    assert set(marks(text, "cnn, fine-tuned")) == {"†"}
    assert set(marks(text, "short, fine-tuned")) == {"‡"}
    assert set(marks(text, "mae, fine-tuned")) == {""}
    assert "\n\n† trained to the most steps of its budget" in text
    assert "; ‡ trained for less than the least number of steps" in text
    latex = write_report_tex(scored, tmp_path / "results.tex").read_text()
    assert r"\dag{} trained to the most" in latex
    assert latex.isascii()
    whole = found(table_of([predicted("mae", ())]))
    assert not any(mark in write_report_md(whole, tmp_path / "w.md", title="T").read_text() for mark in MARKS.values())


def test_evaluate_and_compare_mark_what_the_table_of_predictions_says(tmp_path: Path) -> None:
    run(tmp_path / "a", table().assign(ended=np.where(np.arange(80) < 60, "most", None)))
    run(tmp_path / "b", table(method="bee"))
    run(tmp_path / "c", results=[{**ROW, "task_name": "regression", "ended": "below least"}])
    options = ["--resamples", "20", "--no-figures", "--out", str(tmp_path / "e")]
    assert main(["evaluate", "--predictions", str(tmp_path / "a" / "predictions.parquet"), *options]) == 0
    assert "†" in (tmp_path / "e" / "results.md").read_text()
    assert compared(tmp_path / "out", *(tmp_path / name for name in "abc")) == 0
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["scores"]
    assert {row["method"]: row["ended"] for row in rows} == {"a": "most", "b": "", "c": "below least"}
    assert "‡" in (tmp_path / "out" / "results.md").read_text()


@pytest.mark.parametrize("wrong", ["flat", "early"])
def test_an_end_that_no_budget_has_is_refused(tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    runs = run(tmp_path / "a", table().assign(ended=wrong)), run(tmp_path / "b", table())
    assert compared(tmp_path / "out", *runs) == 2
    assert f"ended is '{wrong}'; it must be one of most, below least" in capsys.readouterr().err
    runs = run(tmp_path / "c", table()), run(tmp_path / "d", results=[{**ROW, "ended": wrong}])
    assert compared(tmp_path / "out", *runs) == 2
    assert f"row 1: ended is '{wrong}'; it must be one of most, below least, or empty" in capsys.readouterr().err
    with pytest.raises(ValueError, match="for each of 2 targets"):
        predicted("mae", (wrong, ""))


def test_marks_are_of_the_ends_that_a_budget_reports() -> None:
    course = Course(budget_for(64, 32, Budget(most=10, interval=1)))
    assert [course.ended(steps) for steps in (10, 3)] == list(ENDS[1:])
    assert marked("0.5", course.ended(10)) == "0.5 †"
    assert marked("0.5", "") == "0.5"
    assert legend_of(["0.5 ‡", "0.1"]).startswith("‡ trained for less")
    assert legend_of(["0.5", "-"]) == ""
