"""What ``predict`` and ``test`` say: tables that evaluate and compare read, all splits, another place, units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_configs import ENCODER, write_config, write_downstream, write_mae

from ecgcmr.cli import main
from ecgcmr.evaluation import read_prediction_table
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.stages.run_contract import Column
from ecgcmr.training.target_table import table_of_targets

LABELS = ["lv_edv", "lv_ef"]


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Path:
    """Config of a fitted regression, whose test split has been predicted."""
    config = write_downstream(tmp_path_factory.mktemp("predicted"), cohort_root, "PhenotypeRegression", LABELS)
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1"]) == 0
    assert main(["predict", "-c", str(config)]) == 0
    return config


def test_predictions_are_a_table_of_truth_and_prediction(regression: Path, cohort_root: Path) -> None:
    run, index = regression.with_suffix(""), ShardIndex.load(cohort_root)
    table = read_prediction_table(run / "predictions.parquet")
    with np.load(run / "predictions.npz", allow_pickle=False) as stored:
        rows, predicted = stored["row"], stored["prediction"]
    assert table["target"].tolist() == LABELS * len(rows)
    assert table["subject"].tolist() == np.repeat(index.subjects(rows).astype(str), 2).tolist()
    np.testing.assert_allclose(table["prediction"], predicted.ravel(), rtol=1e-6)
    np.testing.assert_allclose(table["truth"], read_labels(index, LABELS, rows).ravel(), rtol=1e-6)
    np.testing.assert_allclose(table["age"], read_labels(index, ["age"], rows)[:, 0].repeat(2), rtol=1e-6)
    about = table[["split", "seed", "method", "protocol", "labels", "kind"]].drop_duplicates()
    assert about.astype(object).values.tolist() == [["test", 0, "PhenotypeRegression", "finetune", 52.0, "regression"]]
    assert dict(zip(table["target"], table["unit"], strict=True)) == {"lv_edv": "mL", "lv_ef": "%"}


@pytest.mark.long
def test_evaluate_and_compare_read_what_predict_wrote(regression: Path, tmp_path: Path) -> None:
    run = regression.with_suffix("")
    words = ["--resamples", "50", "--no-figures", "--out", str(tmp_path / "evaluation")]
    assert main(["evaluate", "--predictions", str(run / "predictions.parquet"), *words]) == 0
    assert main(["test", "-c", str(regression)]) == 0
    logged = json.loads((run / "metrics.json").read_text())["test"]
    rows = json.loads((tmp_path / "evaluation" / "results.json").read_text())["scores"]
    means = [row["value"] for row in rows if (row["metric"], row["target"]) == ("r2", "mean")]
    assert means[0] == pytest.approx(logged["test/r2"], abs=1e-4)
    other = tmp_path / "other"
    assert main(["predict", "-c", str(regression), "--out", str(other)]) == 0
    words = ["--resamples", "50", "--out", str(tmp_path / "compared")]
    assert main(["compare", str(run), str(other), *words]) == 0
    assert (tmp_path / "compared" / "results.md").is_file()


def test_all_splits_are_predicted_at_once_to_a_place_of_choice(
    regression: Path, cohort_root: Path, tmp_path: Path
) -> None:
    before = (regression.with_suffix("") / "predictions.parquet").read_bytes()
    out = tmp_path / "new" / "all.csv"
    words = ["predict", "-c", str(regression), "--data.predict_split=all", "--data.train_labels=20"]
    assert main([*words, "--out", str(out)]) == 0
    table, index = pd.read_csv(out), ShardIndex.load(cohort_root)
    expected = {name: 2 * len(index.positions(name, ("ecg",))) for name in ("train", "val", "test")}
    assert table["split"].value_counts().to_dict() == expected
    assert main([*words, "--out", str(tmp_path / "both")]) == 0
    with np.load(tmp_path / "both" / "predictions.npz", allow_pickle=False) as stored:
        rows, splits = stored["row"], stored["split"]
    assert rows.tolist() == index.positions(None, ("ecg",)).tolist()
    assert [split.decode() for split in splits] == index.splits(rows).tolist()
    assert (regression.with_suffix("") / "predictions.parquet").read_bytes() == before


def test_predictions_go_to_no_folder_that_is_called_like_a_file(
    regression: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "-c", str(regression), "--data.train_labels=20", "--out", str(tmp_path / "all.txt")]) == 2
    line = f"and .txt is the ending of a file; give {tmp_path / 'all'}, or a table: .parquet or .csv"
    assert line in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.long
def test_risks_of_events_come_with_event_and_time(tmp_path: Path, cohort_root: Path) -> None:
    given: dict[str, Any] = {"diseases": ["cad", "af"]}
    config = write_config(
        tmp_path / "event.yaml", "TimeToEvent", {"encoder": ENCODER}, "LabelledDataModule", cohort_root, **given
    )
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1"]) == 0
    assert main(["predict", "-c", str(config), "--data.predict_split=all", "--out", str(tmp_path / "e.parquet")]) == 0
    table = read_prediction_table(tmp_path / "e.parquet")
    assert set(table["kind"]) == {"time_to_event"}
    assert table["truth"].isna().all()
    assert (table["event"].isna() == table["time"].isna()).all()
    index = ShardIndex.load(cohort_root)
    names = [name for name in ("cad_incident", "af_incident") if name in set(table["target"])]
    truth = read_labels(index, names, index.positions(None, ("ecg",)))
    assert np.nansum(table["event"]) == np.nansum(truth[np.isfinite(truth)])


@pytest.mark.long
def test_a_table_of_features_is_refused(tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_mae(tmp_path, cohort_root)
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1"]) == 0
    assert main(["predict", "-c", str(config), "--out", str(tmp_path / "features.parquet")]) == 2
    assert "no target" in capsys.readouterr().err
    assert main(["predict", "-c", str(config)]) == 0
    run = config.with_suffix("")
    assert [path.name for path in run.glob("predictions*")] == ["predictions.npz"]


def test_test_prints_each_target_in_its_unit(regression: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["test", "-c", str(regression)]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert lines["target"][1:4] == ["n", "R2", "MAE"]
    assert lines["lv_edv"][4] == "mL"
    assert lines["lv_ef"][4] == "%"
    logged = json.loads((regression.with_suffix("") / "metrics.json").read_text())["test"]
    mean = (float(lines["lv_edv"][2]) + float(lines["lv_ef"][2])) / 2
    assert mean == pytest.approx(logged["test/r2"], abs=2e-3)


def test_a_target_that_was_not_scored_has_no_numbers() -> None:
    targets = (Column("lv_edv", "phenotype", "mL"), Column("lv_ef", "phenotype", "%"))
    text = table_of_targets(targets, {0: {"n": 1200, "r2": 0.5, "mae": 12.34}})
    assert text.splitlines() == [
        "target      n     R2      MAE",
        "lv_edv  1,200  0.500  12.3 mL",
        "lv_ef       -      -        -",
    ]
