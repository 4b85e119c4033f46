"""ECGs aligned with measurements, and with images too, through the command line; what does not go together."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from labelled_cohort import ENCODER as SHORT_ENCODER
from labelled_cohort import SPLITS, write_cohort
from tiny_configs import CMR_ENCODER, ENCODER, write_config

from ecgcmr.cli import main
from ecgcmr.encoders import load_encoder, read_encoder_card
from ecgcmr.interpretation.pair import load_pair
from ecgcmr.shards import ECGLayout, Label, Layout, ShardIndex, ShardRows, read_labels, write_index, write_shard

NAMES = ["lv_edv", "lv_ef", "age"]
HEAD = {"projection_hidden": 16, "projection_size": 8, "optimiser": {"lr": 0.003, "warmup_epochs": 0}}
TWO, THREE = "ECGMeasurementAlignment", "ECGCMRMeasurementAlignment"


def measuring(names: Any = "${data.measurements}", **arguments: Any) -> dict[str, Any]:
    given = {"names": names, "width": 16, "depth": 1, "heads": 2, **arguments}
    return {"class_path": "ecgcmr.encoders.MeasurementEncoder", "init_args": given}


def write_short(folder: Path, root: Path, name: str = "aligned", **changes: Any) -> Path:
    """Write ``NAME.yaml``: an alignment on a cohort of 100-sample ECGs, in one epoch."""
    model = {"ecg_encoder": SHORT_ENCODER, "measurement_encoder": measuring(), **HEAD, **changes}
    data = {"measurements": NAMES, "samples": 100, "batch_size": 4}
    path = write_config(folder / f"{name}.yaml", TWO, model, "MeasuredDataModule", root, **data)
    content = yaml.safe_load(path.read_text())
    content["trainer"] |= {"max_epochs": 1, "logger": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    path.write_text(yaml.safe_dump(content))
    return path


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]


def digest(run: Path, file: str = "encoder.safetensors") -> str:
    return hashlib.sha256((run / file).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("measured") / "cohort", missing={"lv_ef": [0, 5, 21], "age": [5]})


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """Give the config of an alignment that was fitted; only evaluations may be added to its run folder."""
    config = write_short(tmp_path_factory.mktemp("fitted"), root)
    assert main(["fit", "-c", str(config)]) == 0
    return config


@pytest.mark.long
def test_it_leaves_a_whole_run_folder(fitted: Path, root: Path) -> None:
    run = fitted.with_suffix("")
    for command in ("validate", "test", "predict"):
        assert main([command, "-c", str(fitted)]) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"val/loss", "val/ecg_to_measurements_recall@5", "val/measurements_to_ecg_median_rank"} <= set(
        metrics["fit"]
    )
    assert all(np.isfinite(value) for value in metrics["fit"].values())
    during = {key: value for key, value in metrics["fit"].items() if key.startswith("val/")}
    assert metrics["validate"] == pytest.approx(during, rel=1e-5, abs=1e-5)
    assert np.isfinite(metrics["test"]["test/loss"])
    with np.load(run / "predictions.npz", allow_pickle=False) as stored:
        assert stored["prediction"].shape == (SPLITS.count("test"), 8)
    card = read_encoder_card(run / "measurement_encoder")
    assert card.input_spec == {"kind": "MeasurementInput", "names": NAMES}
    assert card.preparation == {"units": ["lv_edv (mL)", "lv_ef (%)", "age (years)"]}
    assert card.training is not None
    assert [column["name"] for column in card.training["measurements"]] == NAMES
    assert read_encoder_card(run).input_spec["kind"] == "ECGInput"
    loaded: Any = load_encoder(run / "measurement_encoder")
    index = ShardIndex.load(root)
    values = read_labels(index, NAMES, index.positions("train", ["ecg"]))
    np.testing.assert_allclose(loaded.mean, np.nanmean(values, axis=0), rtol=1e-5)
    np.testing.assert_allclose(loaded.deviation, np.nanstd(values, axis=0), rtol=1e-5)


def test_labels_of_the_test_split_change_no_weight(fitted: Path, tmp_path: Path) -> None:
    test = [row for row, split in enumerate(SPLITS) if split == "test"]
    missing = {"lv_edv": test, "lv_ef": [0, 5, 21, *test[1:]], "age": [5, *test]}
    other = write_cohort(tmp_path / "other", missing=missing)
    config = write_short(tmp_path, other)
    assert main(["fit", "-c", str(config)]) == 0
    for file in ("encoder.safetensors", "measurement_encoder/encoder.safetensors"):
        assert digest(config.with_suffix(""), file) == digest(fitted.with_suffix(""), file)


def test_a_label_of_training_changes_the_weights(fitted: Path, tmp_path: Path) -> None:
    other = write_cohort(tmp_path / "other", missing={"lv_ef": [0, 5, 7, 21], "age": [5]})
    config = write_short(tmp_path, other)
    assert main(["fit", "-c", str(config)]) == 0
    assert digest(config.with_suffix("")) != digest(fitted.with_suffix(""))


def test_weights_of_measurements_bring_their_scale(fitted: Path, tmp_path: Path) -> None:
    """A later alignment sees numbers on the scale that the encoder was trained on."""
    other = write_cohort(tmp_path / "other", scale=3.0)
    config = write_short(tmp_path, other, measurement_encoder=None)
    earlier = fitted.with_suffix("") / "measurement_encoder"
    still = ["--model.optimiser.lr=0", f"--model.measurement_encoder_weights={earlier}"]
    assert main(["fit", "-c", str(config), *still]) == 0
    before, after = (
        load_encoder(run / "measurement_encoder") for run in (fitted.with_suffix(""), config.with_suffix(""))
    )
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())


def test_the_ecg_encoder_goes_on_to_a_probe(fitted: Path, root: Path, tmp_path: Path) -> None:
    model = {"encoder": None, "encoder_weights": str(fitted.with_suffix("")), "protocol": "linear_probe"}
    data = {"labels": ["lv_edv"], "samples": 100, "batch_size": 4}
    config = write_config(tmp_path / "probe.yaml", "PhenotypeRegression", model, "LabelledDataModule", root, **data)
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1"]) == 0
    assert (config.with_suffix("") / "best.ckpt").is_file()


def test_the_encoder_of_measurements_is_none_of_ecgs(
    fitted: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = fitted.with_suffix("") / "measurement_encoder"
    model = {"encoder": None, "encoder_weights": str(weights)}
    data = {"labels": ["lv_edv"], "samples": 100}
    config = write_config(tmp_path / "probe.yaml", "PhenotypeRegression", model, "LabelledDataModule", root, **data)
    assert main(["fit", "-c", str(config)]) == 2
    assert (
        "model.encoder takes measurements; a downstream stage takes an encoder of ECGs or images" in errors(capsys)[0]
    )


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({}, ["--data.measurements", "[LV]"], ["LV is a group", "lv_edv, lv_ef"]),
        (
            {"measurement_encoder": measuring(["age"])},
            [],
            ["model.measurement_encoder takes names ['age']", "data.measurements"],
        ),
        ({"measurement_encoder": SHORT_ENCODER}, [], ["not an encoder of measurements"]),
        (
            {"objective": {"class_path": "ecgcmr.objectives.ThreeWayContrast"}},
            [],
            ["ThreeWayContrast needs c, which this stage does not have"],
        ),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(
    changes: dict, options: list[str], words: list[str], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "-c", str(write_short(tmp_path, root, **changes)), *options]) == 2
    told = errors(capsys)
    assert len(told) == 1
    assert all(word in told[0] for word in words), told[0]


def test_data_without_measurements_are_refused(
    cohort_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"ecg_encoder": ENCODER, "measurement_encoder": measuring(["lv_edv"]), **HEAD}
    config = write_config(tmp_path / "aligned.yaml", TWO, model, "PairedDataModule", cohort_root)
    assert main(["fit", "-c", str(config)]) == 2
    assert "aligns ECGs with measurements, which PairedDataModule does not give" in errors(capsys)[0]
    model |= {"cmr_encoder": CMR_ENCODER}
    config = write_config(
        tmp_path / "three.yaml", THREE, model, "MeasuredDataModule", cohort_root, measurements=["lv_edv"]
    )
    assert main(["fit", "-c", str(config)]) == 2
    assert "aligns ECGs with cmr, which MeasuredDataModule does not give" in errors(capsys)[0]


def test_a_checkpoint_is_refused_for_other_measurements(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-c", str(fitted), "--data.measurements", "[lv_ef, lv_edv, age]"]) == 2
    assert "in another order" in errors(capsys)[0]


@pytest.mark.long
def test_three_modalities_are_aligned_and_their_pair_is_explained(cohort_root: Path, tmp_path: Path) -> None:
    model = {"ecg_encoder": ENCODER, "cmr_encoder": CMR_ENCODER, "measurement_encoder": measuring(kind="mlp"), **HEAD}
    data = {"measurements": ["lv_edv", "lv_ef", "age", "sex"], "images": True, "labels": ["lv_mass"]}
    config = write_config(tmp_path / "three.yaml", THREE, model, "MeasuredDataModule", cohort_root, **data)
    assert main(["fit", "-c", str(config)]) == 0
    run = config.with_suffix("")
    metrics = json.loads((run / "metrics.json").read_text())["fit"]
    ways = ("ecg_to_cmr", "cmr_to_ecg", "ecg_to_measurements", "measurements_to_ecg", "cmr_to_measurements")
    assert {f"val/{way}_median_rank" for way in (*ways, "measurements_to_cmr")} <= set(metrics)
    assert np.isfinite(metrics["val/probe_r2"])
    assert metrics["train/temperature"] == pytest.approx(0.1)
    assert load_encoder(run / "measurement_encoder").feature_dim == 16
    pair = load_pair(run)
    assert pair.cmr_embedding(torch.rand(2, 3, 48, 48)).shape == (2, 8)


@pytest.mark.long
def test_an_ecg_finds_its_own_measurements(tmp_path: Path) -> None:
    """Two numbers shape the ECG: after some epochs an ECG never seen before is near its own numbers."""
    splits, draw = ["train"] * 96 + ["val"] * 24 + ["test"] * 4, np.random.default_rng(0)
    n = len(splits)
    labels = tuple(Label(name, "phenotype", "mL", "LV", name) for name in ("height", "slope"))
    layout = Layout(ECGLayout(samples=100, unit="mV"), None, labels, {"version": 2})
    values = draw.normal(100.0, 20.0, (n, 2)).astype(np.float32)
    time = np.linspace(-1.0, 1.0, 100)
    shape = (values[:, :1] - 100) / 20 * np.cos(6 * time) + (values[:, 1:] - 100) / 20 * time
    ecg = shape[:, None] + 0.1 * draw.standard_normal((n, 12, 100))
    values[::5, 0] = np.nan
    rows = ShardRows(
        subject=[f"{i:032x}" for i in range(n)],
        split=splits,
        ecg=ecg.astype(np.float32),
        has_ecg=np.ones(n, dtype=bool),
        cmr=None,
        has_cmr=np.zeros(n, dtype=bool),
        labels=values,
    )
    root = tmp_path / "cohort"
    write_index(root, layout, [write_shard(root / "shards" / "shard-00000.h5", layout, rows)])
    columns = {**SHORT_ENCODER, "init_args": {**SHORT_ENCODER["init_args"], "patch_size": [12, 20]}}
    config = write_short(tmp_path, root, ecg_encoder=columns)
    options = ["--data.measurements", "[height, slope]", "--trainer.max_epochs=12", "--data.batch_size=16"]
    options += ["--model.optimiser.lr=0.01"]
    assert main(["fit", "-c", str(config), *options]) == 0
    metrics = json.loads((config.with_suffix("") / "metrics.json").read_text())["fit"]
    assert metrics["val/ecg_to_measurements_median_rank"] < 0.2
    assert metrics["val/measurements_to_ecg_median_rank"] < 0.2
