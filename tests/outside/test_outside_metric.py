"""A metric of the user's own: scored, resampled and shown like the built-in ones, or refused before work starts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from lab_files import write_predictions
from near_enough import WITHIN_TEN, share_within_ten

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.metrics.bootstrap import Resamples, resample
from ecgcmr.metrics.named_metric import load_metrics
from ecgcmr.metrics.tasks import TASKS

GOOD = {
    **{"key": "'mine'", "title": "'my own'", "kind": "'regression'"},
    **{"low": "0.0", "high": "1.0", "better": "True", "compute": "good"},
}
HEAD = """import numpy as np
from ecgcmr.metrics.catalogue import Metric


def good(truth, prediction, weights):
    return weights @ (np.abs(prediction - truth) <= 10.0) / weights.sum(axis=1)


"""


def write_module(folder: Path, name: str, body: str = "", **changed: str) -> str:
    """Write a module with ``MINE`` and return how it is named."""
    said = GOOD | changed
    made = "Metric({key}, {title}, {kind}, {low}, {high}, {better}, compute={compute})".format(**said)
    (folder / f"{name}.py").write_text(f"{HEAD}{body}\n\nMINE = {made}\n")
    return f"{name}:MINE"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_metric_is_in_results_and_tables_with_an_interval_over_subjects(tmp_path):
    table = write_predictions(tmp_path / "p.csv")
    arguments = ["--metric", "near_enough:WITHIN_TEN", "--resamples", "300", "--no-figures"]
    assert main(["evaluate", "--predictions", str(tmp_path / "p.csv"), "--out", str(tmp_path / "out"), *arguments]) == 0
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {(row["method"], row["target"]): row for row in content["scores"] if row["metric"] == "within_ten"}
    chosen = table[(table["method"] == "near") & (table["target"] == "ejection")].dropna()
    truth, prediction = (chosen[name].to_numpy()[:, None] for name in ("truth", "prediction"))
    row = rows["near", "ejection"]
    assert row["value"] == pytest.approx(float((np.abs(prediction - truth) <= 10).mean()), abs=1e-6)
    assert row["task"] == "regression"
    assert rows["near", "gone"]["value"] is None
    assert 0.0 <= row["ci_low"] < row["value"] < row["ci_high"] <= 1.0
    assert rows["far", "ejection"]["value"] < row["value"]
    shown = (tmp_path / "out" / "results.md").read_text()
    assert "| within 10 |" in shown
    assert f"**{row['value']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})**" in shown
    everyone = table[(table["method"] == "near") & (table["target"] == "ejection")]
    draws = Resamples.draw(everyone["subject"].to_numpy(), 300, 0)
    truth, prediction = (everyone[name].to_numpy()[:, None] for name in ("truth", "prediction"))
    again = resample(TASKS["regression"].with_metrics([WITHIN_TEN]), truth, prediction, draws).entry("within_ten", [0])
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((again.low, again.high), abs=1e-6)


def test_a_comparison_of_runs_shows_it_where_it_is_named_and_says_so_where_it_is_not(tmp_path, capsys):
    write_predictions(tmp_path / "p.csv")
    metric = ["--metric", "near_enough:WITHIN_TEN", "--resamples", "20"]
    for name in ("a", "b"):
        out = ["--out", str(tmp_path / name)]
        assert main(["evaluate", "--predictions", str(tmp_path / "p.csv"), *out, *metric, "--no-figures"]) == 0
    runs = [str(tmp_path / name) for name in "ab"]
    assert main(["compare", *runs, "--out", str(tmp_path / "both"), *metric]) == 0
    assert "| within 10 |" in (tmp_path / "both" / "results.md").read_text()
    assert main(["compare", *runs, "--out", str(tmp_path / "without")]) == 2
    assert "metric is 'within_ten'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("kind", ["classification", "time_to_event"])
def test_a_metric_of_another_kind_of_task_is_given_the_truth_of_that_kind(place, kind):
    body = """def events(truth, prediction, weights):
    event = truth[:, 0] if truth.ndim == 2 else truth
    return weights @ event / weights.sum(axis=1)
"""
    name = write_module(place, f"share_of_{kind}", body, kind=repr(kind), compute="events")
    (metric,) = load_metrics([name], "--metric")
    event, prediction = np.array([1.0, 0.0, 1.0, np.nan])[:, None], np.array([0.9, 0.1, 0.4, 0.4])[:, None]
    truth = np.stack([event, np.array([1.0, 2.0, 3.0, 4.0])[:, None]], axis=2) if kind == "time_to_event" else event
    weights = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 4.0]])
    found = TASKS[kind].with_metrics([metric]).score(truth, prediction, weights)["mine"][:, 0]
    np.testing.assert_allclose(found, [2 / 3, 0.5, np.nan])  # nobody counts in the last


def test_what_a_function_calls_undefined_is_a_dash_with_a_reason(place):
    write_predictions(place / "p.csv")
    name = write_module(
        place, "nowhere", "def none(truth, prediction, weights):\n    return weights[:, 0] * np.nan\n", compute="none"
    )
    assert main(["evaluate", "--predictions", "p.csv", "--metric", name, "--resamples", "20", "--no-figures"]) == 0
    rows = json.loads((place / "evaluation" / "results.json").read_text())["scores"]
    (row,) = (row for row in rows if (row["metric"], row["target"], row["method"]) == ("mine", "ejection", "near"))
    assert (row["value"], row["reason"]) == (None, "undefined by its function")


RETURNS = "def bad(truth, prediction, weights):\n    return {}\n"
REFUSED = {
    "not_there": ("absent_module:MINE", "absent_module cannot be imported (ModuleNotFoundError: No module named"),
    "no_name": ("near_enough", "is no name of a Metric; write package.module:NAME"),
    "mistyped": ("near_enough:WITHIN_TENN", "has no Metric WITHIN_TENN; did you mean WITHIN_TEN?"),
    "a_function": ("near_enough:share_within_ten", "holds a function, not a Metric, named share_within_ten"),
    "broken": ("import nothing_like_this\n", {}, "cannot be imported (ModuleNotFoundError: No module named"),
    "taken": ("", {"key": "'r2'"}, "there is a metric r2 already; give it another key"),
    "odd_key": ("", {"key": "'My metric'"}, "its key is 'My metric'; write small letters, digits and _"),
    "no_title": ("", {"title": "' '"}, "its title is"),
    "odd_kind": ("", {"kind": "'regresion'"}, "its kind is 'regresion'; write one of regression, classification"),
    "turned": ("", {"low": "1.0", "high": "0.0"}, "its range is 1.0 to 0.0; write low below high"),
    "odd_way": ("", {"better": "'up'"}, "higher_is_better is neither True, False nor None"),
    "without": ("", {"compute": "None"}, "it has no function; give compute="),
    "two_arguments": ("def bad(truth, weights):\n    return 0\n", {"compute": "bad"}, "TypeError: bad() takes 2"),
    "raising": (RETURNS.format("truth.nonsense"), {"compute": "bad"}, "(raising.py, line 10)"),
    "text": (RETURNS.format("'good'"), {"compute": "bad"}, "returned str good; it must return one number for each"),
    "one_number": (RETURNS.format("0.5"), {"compute": "bad"}, "returned numbers of shape (); it must return"),
    "outside": (RETURNS.format("weights[:, 0] * 0 + 3"), {"compute": "bad"}, "returned 3; its range is 0 to 1"),
    "endless": (RETURNS.format("1 / (0 * weights[:, 0])"), {"compute": "bad"}, "returned inf; its range is"),
    "unweighted": (
        RETURNS.format("np.full(len(weights), np.mean(np.abs(prediction - truth) <= 10))"),
        {"compute": "bad"},
        "a row of weight 2 must count as two rows",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_metric_is_refused_in_one_line_before_anything_is_scored(place, case):
    *given, message = REFUSED[case]
    name = given[0] if len(given) == 1 else write_module(place, case, given[0], **given[1])
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_metrics([name], "--metric")
    assert str(caught.value).startswith(f"--metric {name}: ")
    assert "\n" not in str(caught.value)


def test_two_metrics_of_one_name_and_one_of_no_task_are_refused():
    with pytest.raises(UserError, match="there is a metric within_ten already"):
        load_metrics(["near_enough:WITHIN_TEN"] * 2, "--metric")
    with pytest.raises(UserError, match="is of a regression, and there is no such task"):
        load_metrics(["near_enough:WITHIN_TEN"], "evaluation.metrics", ["classification"])


def test_a_function_that_fails_on_the_data_alone_costs_one_line(place, capsys):
    write_predictions(place / "p.csv")
    body = "def picky(truth, prediction, weights):\n    assert truth.mean() > 90, 'too small'\n"
    body += "    return good(truth, prediction, weights)\n"
    name = write_module(place, "picky_metric", body, compute="picky")
    assert main(["evaluate", "--predictions", "p.csv", "--metric", name, "--no-figures"]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert line == "error: metric mine: its function raised AssertionError: too small (picky_metric.py, line 10)"
    assert not (place / "evaluation" / "results.json").exists()


def test_the_example_counts_rows_by_their_weights():
    truth, prediction = np.array([50.0, 60.0, 70.0]), np.array([55.0, 75.0, 70.0])
    np.testing.assert_allclose(share_within_ten(truth, prediction, np.array([[1, 1, 1], [0, 3, 1.0]])), [2 / 3, 0.25])
