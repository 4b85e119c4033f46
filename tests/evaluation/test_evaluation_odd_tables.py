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
from ecgcmr.evaluation.prediction_table import read_prediction_table, unread_note

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
        (CSV + "x" * 3_000_000 + ",lv_edv,3,4,test,0\n", "a line is longer than 1,000,000 bytes"),
        (CSV + '"d,' + "lv_edv,3,4,test,0\nd," * 200_000, "a quotation mark is never closed"),
    ],
)
def test_a_csv_whose_rows_do_not_fit_its_header_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_prediction_table(path)
    assert "lv_edv" not in str(caught.value)  # no message shows a row


def test_a_csv_that_does_not_begin_with_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(b"\x80" + CSV.encode())
    with pytest.raises(UserError, match=r"^odd\.csv: its first line is no text in UTF-8"):
        read_prediction_table(path)
    with pytest.raises(UserError, match=r"^odd\.csv: its first line is no text in UTF-8"):
        unread_note(path)


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


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("age", 1950.0, "age is outside 0 to 130 (years), such as 1950"),
        ("age", -1.0, "age is outside 0 to 130 (years), such as -1"),
        ("heart_rate", 850.0, "heart_rate is outside 10 to 400 (1/min), such as 850"),
        ("signal_quality", 93.0, "signal_quality is outside 0 to 1 (0 to 1), such as 93"),
        ("signal_quality", np.inf, "signal_quality is outside 0 to 1"),
        (
            "signal_quality",
            ["bad", *["0.5"] * (N + VALIDATION - 1)],
            "signal_quality holds numbers and, in 1 rows, words",
        ),
        ("truth", 1e300, "truth is larger than 1e+100"),
        ("prediction", -1e200, "prediction is larger than 1e+100"),
        ("kind", "classification", "lv_edv is a classification, but its truth is not 0 and 1 alone"),
    ],
)
def test_a_value_that_cannot_be_is_refused_and_not_put_into_a_band(
    tmp_path: Path, column: str, value: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, results = evaluated(table().assign(**{column: value}), tmp_path)
    assert (code, results) == (2, {})
    assert message in capsys.readouterr().err


def test_a_class_that_is_no_class_on_the_validation_rows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = table("af_ever", kind="classification").assign(kind="classification")
    frame.loc[frame.index[-1], "truth"] = 0.5
    assert evaluated(frame, tmp_path)[0] == 2
    assert "af_ever is a classification" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["val", "train"])
def test_a_subject_of_two_splits_is_refused(tmp_path: Path, other: str, capsys: pytest.CaptureFixture[str]) -> None:
    test = table().query("split == 'test'")
    assert evaluated(pd.concat([test, test.head(7).assign(split=other)]), tmp_path)[0] == 2
    assert f"7 subjects are in the splits {' and '.join(sorted((other, 'test')))}" in capsys.readouterr().err


def test_seeds_may_have_splits_of_their_own(tmp_path: Path) -> None:
    first, second = table(), table(seed=1)
    second["split"] = np.where(np.arange(len(second)) >= VALIDATION, "test", "val")
    assert evaluated(pd.concat([first, second]), tmp_path)[0] == 0


@pytest.mark.parametrize("change", [lambda text: f" {text} ", lambda text: text.encode()])
def test_spaces_and_bytes_make_no_other_name(tmp_path: Path, change: Any) -> None:
    frame = table().assign(**{name: table()[name].map(change) for name in ("subject", "target", "split", "method")})
    code, results = evaluated(frame, tmp_path)
    assert code == 0
    assert (results["targets"][0]["name"], results["targets"][0]["unit"]) == ("lv_edv", "mL")
    assert {row["method"] for row in results["scores"]} == {"a"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--horizon", "5"], "no target is the time to an event"),
        (["--horizon", "inf"], "must be above 0 and finite"),
        (["--focus", "oracle"], "is a ceiling"),
        (["--resamples", "1000000000"], "too many for 60 subjects; take at most 6,666,666"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluated(pd.concat([table(), table(method="oracle")]), tmp_path, *options)[0] == 2
    assert message in capsys.readouterr().err


def notes_of(frame: pd.DataFrame, folder: Path) -> str:
    code, results = evaluated(frame, folder)
    assert code == 0
    return "\n".join(results["notes"])


def test_subjects_that_one_seed_lacks_are_counted(tmp_path: Path) -> None:
    second = table(seed=1)
    frame = pd.concat([table(), second[(second["split"] == "val") | (second["subject"] >= f"{15:032x}")]])
    code, results = evaluated(frame, tmp_path)
    assert code == 0
    assert next(row["n_test"] for row in results["scores"] if row["metric"] == "r2") == N - 15
    assert "a: 15 test subjects lack the prediction of one of its 2 seeds" in "\n".join(results["notes"])


def test_targets_that_a_method_predicts_for_a_part_are_counted(tmp_path: Path) -> None:
    part = table("lv_ef", method="b").query(f"subject < '{20:032x}' or split == 'val'")
    frame = pd.concat([table(), table("lv_ef"), table(method="b"), part])
    assert "b predicts lv_ef for 20 of 60 test subjects" in notes_of(frame, tmp_path)


def test_methods_of_unlike_seeds_are_told_apart(tmp_path: Path) -> None:
    frame = pd.concat([table(), table(seed=1), table(method="bb", seed=1)])
    assert "Methods have unlike seeds, over which their values are means: 0, 1 of a. Seeds 1 of bb." in notes_of(
        frame, tmp_path
    )


def test_a_threshold_that_could_not_be_chosen_is_told(tmp_path: Path) -> None:
    frame = pd.concat([table("af_ever", kind="classification"), table("af_ever", "b", kind="classification")])
    frame = frame[(frame["method"] == "a") | (frame["split"] == "test")]
    assert "F1 of b is at a threshold of 0.5" in notes_of(frame, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame["prediction"] / 1000, "Far from the truth, yet correlated with it: lv_edv (a)"),
        (lambda frame: 200 - frame["prediction"], "is the unit, or the sign, another?"),
        (lambda frame: frame["truth"], "The predictions are the truth itself: lv_edv (a)."),
    ],
)
def test_predictions_that_a_mix_up_explains_are_pointed_at(tmp_path: Path, change: Any, message: str) -> None:
    assert message in notes_of(table().assign(prediction=change), tmp_path)


def test_a_class_ranked_the_wrong_way_round_is_pointed_at(tmp_path: Path) -> None:
    frame = table("af_ever", kind="classification")
    assert "Ranked" not in notes_of(frame, tmp_path)
    turned = frame.assign(prediction=1 - frame["prediction"])
    (tmp_path / "turned").mkdir()
    assert "Ranked the wrong way round: af_ever (a): AUROC" in notes_of(turned, tmp_path / "turned")


def test_a_class_coded_one_and_two_is_pointed_at(tmp_path: Path) -> None:
    frame = table("af_ever", kind="classification")
    note = "af_ever is scored as a number, but its truth is 1 or 2; if it is a class, write 0 and 1"
    assert note in notes_of(frame.assign(truth=frame["truth"] + 1), tmp_path)
