"""Tables of predictions that are read wrongly if they are read carelessly: each is refused, repaired or noted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import read_prediction_table

N, VALIDATION = 60, 20


def table(target: str = "lv_edv", method: str = "a", seed: int = 0, kind: str = "regression") -> pd.DataFrame:
    """One method's predictions of one target for 60 test and 20 validation subjects."""
    world, own = np.random.default_rng(1), np.random.default_rng([2, seed, len(method)])
    count = N + VALIDATION
    truth = 100.0 + 20.0 * world.normal(size=count)
    prediction = truth + 10.0 * own.normal(size=count)
    if kind == "classification":
        truth, prediction = (truth > 110) * 1.0, 1 / (1 + np.exp(-(prediction - 110) / 10))
    return pd.DataFrame(
        {
            "subject": [f"{k:032x}" for k in range(count)],
            "target": target,
            "truth": truth,
            "prediction": prediction,
            "split": np.where(np.arange(count) < N, "test", "val"),
            "seed": seed,
            "method": method,
        }
    )


def evaluated(frame: pd.DataFrame, folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Run ``ecgcmr evaluate`` on a frame; the exit code and results.json, empty if there is none."""
    path = folder / "table.parquet"
    frame.to_parquet(path, index=False)
    out = folder / "out"
    words = ["--predictions", str(path), "--out", str(out), "--resamples", "20", "--no-figures", *options]
    code = main(["evaluate", *words])
    results = out / "results.json"
    return code, json.loads(results.read_text()) if results.is_file() else {}


CSV = "subject,target,truth,prediction,split,seed\nb,lv_edv,1,2,test,0\nc,lv_edv,3,4,test,0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("b,", "x,b,").replace("c,", "x,c,"), "Expected 6 columns, got 7"),
        (CSV + "d,lv_edv,3,4,test,0,9\n", "Expected 6 columns, got 7"),
        (CSV + "d,lv_edv,3\n", "Expected 6 columns, got 3"),
        (CSV.replace("\n", ",\n").replace(",\n", "\n", 1), "Expected 6 columns, got 7"),
        (CSV.replace("seed\n", "seed,truth\n").replace("0\n", "0,1\n"), "has two columns truth; keep one"),
        (CSV + "x" * 3_000_000 + ",lv_edv,3,4,test,0\n", "cannot be read as CSV"),
    ],
)
def test_a_csv_whose_rows_do_not_fit_its_header_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_prediction_table(path)
    assert "lv_edv" not in str(caught.value)  # no message shows a row


@pytest.mark.parametrize("name", ["null", "None", "NA", "nan"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_method_may_be_called_null(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    frame = table(method=name).assign(truth=[np.nan, *range(N + VALIDATION - 1)])
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path, index=False)
    read = read_prediction_table(path)
    assert set(read["method"]) == {name}
    assert int(read["truth"].isna().sum()) == 1


def test_columns_that_are_not_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = table().rename(columns={"method": "Method"}).assign(Sex=1, comment="x")
    code, results = evaluated(frame, tmp_path)
    note = "columns that are not read: Method (is it method?), Sex (is it sex?), comment."
    assert code == 0
    assert note in capsys.readouterr().out
    assert any(note in line for line in results["notes"])
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    assert main(["evaluate", "--predictions", str(path), "--resamples", "20", "--no-figures"]) == 0
    assert note in capsys.readouterr().out
