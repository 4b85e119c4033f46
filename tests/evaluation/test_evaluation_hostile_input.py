"""Predictions and results of strangers: what is no number or no name is refused, and no name is obeyed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import read_prediction_table
from ecgcmr.evaluation.result_rows import read_results_json

ROW: dict[str, Any] = {
    "target": "lv_edv",
    "group": "LV",
    "task": "regression",
    "method": "mae",
    "protocol": "linear_probe",
    "labels": 100,
    "metric": "r2",
    "value": 0.5,
    "ci_low": 0.4,
    "ci_high": 0.6,
    "n_test": 200,
}
HOSTILE = "\x1b]0;x\x07|[a](javascript:alert(1))<img src=x onerror=x>$\\frac{1$\n# b [red]\u202e"


def write(folder: Path, content: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("value", "0.5", "value is '0.5'; it must be a number or null"),
        ("value", True, "value is True"),
        ("value", [0.5], "value is"),
        ("ci_low", "x", "ci_low is 'x'"),
        ("ci_low", 0.7, "ci_low 0.7 is above ci_high 0.6"),
        ("n_test", None, "n_test is None; it must be a whole number"),
        ("n_test", 1.5, "n_test is 1.5"),
        ("n_test", -1, "n_test is -1"),
        ("labels", "100", "labels is '100'"),
        ("labels", 10**400, "labels is 1000"),
        ("target", 3, "target is 3; it must be a text"),
        ("target", "x" * 2000, "target is"),
        ("method", None, "method is None"),
        ("protocol", {}, "protocol is {}"),
        ("task", "regresion", "task is 'regresion'; it must be one of regression"),
        ("task", [], "task is"),
        ("metric", "r3", "metric is 'r3'; it must be one of"),
        ("metric", {}, "metric is"),
    ],
)
def test_an_entry_of_results_that_is_not_what_it_should_be_is_named(
    tmp_path: Path, field: str, value: Any, message: str
) -> None:
    path = write(tmp_path, [ROW, {**ROW, "target": "rv_edv", field: value}])
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read_results_json(path)
    assert str(caught.value).startswith(f"{path}: row 2")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        (json.dumps([ROW]).replace("0.5", "NaN"), "NaN, which JSON does not have"),
        (json.dumps([ROW]).replace("0.5", "1e999"), "too large"),
        ([ROW, ROW], "row 2 repeats lv_edv"),
        ([{name: ROW[name] for name in ROW if name != "value"}], "row 1: has no value"),
        ({"scores": 3}, "no result rows"),
        ([3], "no result rows"),
        ("3", "no result rows"),
    ],
)
def test_compare_refuses_results_that_are_none_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any, message: str
) -> None:
    write(tmp_path / "good", [ROW])
    write(tmp_path / "bad", content)
    assert main(["compare", str(tmp_path / "good"), str(tmp_path / "bad"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def frame(**changes: Any) -> pd.DataFrame:
    truth = np.linspace(0, 1, 40)
    rows = {
        "subject": [f"{k:032x}" for k in range(40)],
        "target": "lv_edv",
        "truth": truth,
        "prediction": truth**2,
        "split": "test",
        "seed": 0,
        "method": "mae",
    }
    return pd.DataFrame({**rows, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction": [[0.5]] * 40}, "column prediction holds text"),
        ({"truth": pd.Timestamp("2020-01-01")}, "column truth holds dates"),
        ({"seed": 1e300}, "seed is no whole number"),
        ({"labels": 1e300}, "labels is no count"),
        ({"recording": -1}, "recording is no count"),
        ({"recording": "first"}, "column recording holds text"),
        ({"task": 3}, "column task holds numbers"),
        ({"age": np.inf}, "age is infinite"),
        ({"target": "mean"}, "a target is called 'mean'"),
        ({"method": "x" * 5000}, "a text of 5,000 characters"),
        ({"prediction": "x"}, "column prediction holds text"),
    ],
)
def test_a_table_with_a_column_of_another_kind_is_refused(tmp_path: Path, changes: Any, message: str) -> None:
    frame(**changes).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(UserError, match=re.escape(message)):
        read_prediction_table(tmp_path / "p.parquet")


def test_a_small_file_that_claims_millions_of_rows_is_not_read(tmp_path: Path) -> None:
    pd.DataFrame({"prediction": np.zeros(1_100_000)}).to_parquet(tmp_path / "p.parquet", compression="zstd")
    with pytest.raises(UserError, match="claims 1,100,000 rows in"):
        read_prediction_table(tmp_path / "p.parquet")
    (tmp_path / "p.csv").write_bytes(b"subject," * 200_000)
    with pytest.raises(UserError, match="no line break"):
        read_prediction_table(tmp_path / "p.csv")


def test_rows_scattered_over_an_array_larger_than_memory_are_refused(tmp_path: Path) -> None:
    names = [f"{k:032x}" for k in range(20_000)]
    many = pd.DataFrame({"subject": names, "target": names, "truth": 0.5, "prediction": 0.5})
    many.assign(split="test", seed=0).to_parquet(tmp_path / "p.parquet")
    assert main(["evaluate", "--predictions", str(tmp_path / "p.parquet")]) == 2


@pytest.mark.slow
def test_hostile_names_are_shown_and_not_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = frame(target=HOSTILE, method=HOSTILE, unit=HOSTILE, group=HOSTILE)
    other = frame(target="second | _x_", method=HOSTILE, group=HOSTILE)
    pd.concat([table, other]).to_csv(tmp_path / "p.csv", index=False)
    arguments = ["evaluate", "--predictions", str(tmp_path / "p.csv"), "--resamples", "20"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(line.isprintable() for line in shown.splitlines())
    text = (tmp_path / "evaluation" / "results.md").read_text()
    assert all(line.isprintable() for line in text.splitlines())
    assert not re.search(r"(?<!\\)<img|\n# b|(?<!\\)\]\(|javascript:", text)
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("|"):
            bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
            assert len(bars) == 1, block
    latex = (tmp_path / "evaluation" / "results.tex").read_text()
    assert "\\frac" not in latex
    assert all(line.isprintable() for line in latex.splitlines())
    assert list((tmp_path / "evaluation" / "figures").glob("*.png"))


def test_an_error_line_neutralises_whatever_message_comes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["\x1b[31mfit\nerror: fine\udcff"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.rstrip("\n").isprintable()
    assert r"\x1b[31mfit\nerror: fine\xff" in error
