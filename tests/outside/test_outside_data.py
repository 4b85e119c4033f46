"""A data set, labels of all four kinds, splits and a file format from outside: prepared, checked, shown and learnt."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from lab_files import write_lab
from tiny_configs import ENCODER, write_config

from ecgcmr.cli import main
from ecgcmr.shards import ShardIndex, read_labels

COLLECTION = ("--collection", "heart_lab:HeartLab", "--reader", "beat_reader:BeatReader")
QUICK = ("--cleaning", "none", "--no-beats", "--workers", "2", "--shard-size", "16")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw folder ``raw`` and the cohort ``out`` prepared from it."""
    place = tmp_path_factory.mktemp("lab")
    write_lab(place / "raw data")
    (place / "key").write_bytes(bytes(32))
    arguments = (
        "--collection-args",
        f"folder={place / 'raw data'}",
        "least_quality=5",
        "--key-file",
        str(place / "key"),
    )
    assert main(["prepare", *COLLECTION, *arguments, *QUICK, "--out", str(place / "out")]) == 0
    return place


def column(index: ShardIndex, name: str) -> list[float]:
    return sorted(read_labels(index, [name], index.positions(None, ()))[:, 0].tolist())


def test_every_recording_that_can_be_read_has_its_labels_and_its_split(lab):
    index = ShardIndex.load(lab / "out")
    assert {split: index.counts[split] for split in ("train", "val", "test")} == {"train": 17, "val": 6, "test": 6}
    names = ["ejection", "smoker", "rhythm_sinus", "rhythm_af", "stroke", "stroke_years", "age"]
    assert list(index.label_names) == names
    kinds = {label.name: (label.kind, label.group) for label in index.layout.labels}
    assert kinds["ejection"] == ("phenotype", "LV")
    assert kinds["smoker"] == ("finding", "habits")
    assert kinds["rhythm_af"] == ("finding", "rhythm")
    assert kinds["stroke"] == ("disease", "")
    assert kinds["stroke_years"] == ("time", "")
    assert kinds["age"] == ("covariate", "covariate")
    values = read_labels(index, names, index.positions(None, ()))
    assert np.nansum(values[:, 0]) == sum(40 + number for number in range(28))
    assert np.isnan(values[:, 0]).sum() == 1  # the implausible 400 %
    assert np.nansum(values[:, 1]) == 14
    known = ~np.isnan(values[:, 2])
    assert (values[known, 2] + values[known, 3] == 1).all()
    np.testing.assert_allclose(np.nanmin(values[:, 5]), 100 / 365.25, rtol=1e-6)
    assert index.layout.preparation["splits"] == {"by": "collection"}


def test_the_report_says_what_was_left_out_and_why(lab):
    report = json.loads((lab / "out" / "report.json").read_text())
    reasons = {item["file"]: item["reason"] for item in report["skipped"]}
    assert set(reasons) == {"cut.beat", "away.beat", "x"}
    assert "not whole columns" in reasons["cut.beat"]
    assert reasons["x"] == "is of too low quality"
    assert report["phenotypes_out_of_range"] == {"ejection": 1}
    text = (
        "".join(path.read_text() for path in (lab / "out" / "shards").glob("*.json"))
        + (lab / "out" / "index.json").read_text()
    )
    assert not re.search(r"visit|\.beat|P\d|raw data", text)


def test_the_cohort_is_whole_and_is_shown(lab, capsys):
    assert main(["verify", str(lab / "out")]) == 0
    assert main(["inspect", str(lab / "out"), "--no-figures", "--all"]) == 0
    assert "rhythm_sinus" in capsys.readouterr().out


def test_inspect_reads_a_file_as_prepare_does(lab, capsys):
    path = lab / "raw data" / "again.beat"
    assert main(["inspect", str(path), "--reader", "beat_reader:BeatReader", "--no-figures"]) == 0
    shown = capsys.readouterr().out
    assert "read by beat_reader:BeatReader" in shown
    assert "12 leads, 5,000 samples at 500 Hz" in shown
    assert "takes this recording as it is" in shown
    assert main(["inspect", str(path), "--no-figures"]) == 2
    assert main(["inspect", str(path.with_name("cut.beat")), "--reader", "beat_reader:BeatReader"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: cut.beat: has 12 leads and")


@pytest.mark.parametrize(
    ("stage", "targets"),
    [
        ("PhenotypeRegression", {"labels": ["LV"], "covariates": ["age"]}),
        ("DiagnosisClassification", {"labels": ["smoker"]}),
        ("DiagnosisClassification", {"labels": ["rhythm"]}),
        ("TimeToEvent", {"diseases": ["stroke"]}),
    ],
    ids=["number", "yes/no", "one of several", "event with time"],
)
def test_a_network_learns_from_each_kind_of_label(lab, tmp_path, stage, targets):
    path = tmp_path / "stage.yaml"
    config = write_config(path, stage, {"encoder": ENCODER}, "LabelledDataModule", lab / "out", **targets)
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1"]) == 0
    logged = json.loads((config.with_suffix("") / "metrics.json").read_text())
    assert any(np.isfinite(value) for value in logged["fit"].values())
