"""Encoder weights meet recordings prepared like those they were trained on, or the line says in what they differ."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from labelled_cohort import LABELS, write_cohort, write_stage

from ecgcmr.cli import main
from ecgcmr.encoders import read_encoder_card
from ecgcmr.errors import UserError
from ecgcmr.experiments.features import encoder_features
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.recipe import compare_recipes, recipe_of
from ecgcmr.weights_import.published import published_preparation


@pytest.fixture(scope="module")
def mae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a masked autoencoder; its cohort lies beside it. No test may change either."""
    folder = tmp_path_factory.mktemp("pretrained")
    config = write_stage(folder, write_cohort(folder / "cohort"), "ECGMaskedAutoencoder", "mae", "ECGDataModule")
    assert main(["fit", "-c", str(config)]) == 0
    return config.with_suffix("")


@pytest.fixture
def config(tmp_path: Path, mae: Path) -> Path:
    return write_stage(tmp_path, mae.with_name("cohort"), "PhenotypeRegression", labels=["lv_edv"])


def _fit(config: Path, weights: Path, *more: str) -> int:
    quick = ["--trainer.fast_dev_run=true", f"--model.encoder_weights={weights}"]
    return main(["fit", "-c", str(config), *quick, *more])


def test_the_card_holds_all_steps_and_numbers(mae: Path) -> None:
    card = read_encoder_card(mae)
    assert card.preparation is not None
    assert card.preparation["cleaning"]["steps"][3] == {"zscore": {"groups": "leads"}}
    assert card.preparation["cleaning"]["steps"][2] == {"als": {"lambda_": 1e7, "p": 0.3, "solves": 5}}
    assert (card.preparation["sampling_rate"], card.preparation["unit"]) == (500.0, "z-score")
    assert card.preparation["leads"][:2] == ["I", "II"]
    assert card.training is not None
    assert (card.training["task"], card.training["targets"]) == ("pre-training", [])


def test_weights_of_another_preparation_are_refused_or_accepted_by_name(
    mae: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = f"--data.root={write_cohort(tmp_path / 'none', cleaning='none')}"
    assert _fit(config, mae, other) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "mae/encoder.yaml was trained on recordings of another preparation: unit z-score -> mV; cleaning " in line
    assert line.endswith("prepare the cohort alike, take other weights, or add --accept_other_preparation true")
    assert _fit(config, mae, other, "--accept_other_preparation=true") == 0
    assert "accepted by --accept_other_preparation true" in capsys.readouterr().err
    index = ShardIndex.load(tmp_path / "none")
    with pytest.raises(UserError, match="another preparation"):
        encoder_features(mae, index, index.positions("test", ("ecg",)), tmp_path / "features")


def test_labels_are_no_preparation_and_an_old_card_is_named(
    mae: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fewer = f"--data.root={write_cohort(tmp_path / 'fewer', labels=LABELS[:2])}"
    assert _fit(config, mae, fewer) == 0  # another fingerprint of the cohort, the same preparation
    assert "warning: " not in capsys.readouterr().err
    old = Path(shutil.copytree(mae, tmp_path / "old"))
    card = yaml.safe_load((old / "encoder.yaml").read_text())
    del card["preparation"], card["training"]
    (old / "encoder.yaml").write_text(yaml.safe_dump({**card, "version": 1}))
    assert _fit(config, old, fewer) == 0
    warning = capsys.readouterr().err
    assert "old/encoder.yaml does not say how the recordings it was trained on were prepared" in warning


@pytest.mark.long
def test_a_resumed_fit_does_not_need_the_weights_it_began_with(mae: Path, config: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copytree(mae, tmp_path / "mae"))
    arguments = ["fit", "-c", str(config), f"--model.encoder_weights={weights}"]
    assert main(arguments) == 0
    shutil.rmtree(weights)
    assert main([*arguments, "--ckpt_path=last"]) == 0


def test_published_weights_know_the_published_cleaning(tmp_path: Path) -> None:
    trained = published_preparation("signal", {"leads": 12, "sampling_rate": 500.0})
    published = recipe_of(ShardIndex.load(write_cohort(tmp_path / "a")).layout, "ecg")
    assert compare_recipes(trained, published, "ecg") == compare_recipes({}, {}, "ecg")
    filtered = recipe_of(ShardIndex.load(write_cohort(tmp_path / "b", cleaning="bandpass")).layout, "ecg")
    differences = ("cleaning fill, clip, als, zscore -> fill, bandpass, notch, zscore",)
    assert compare_recipes(trained, filtered, "ecg").differences == differences
    images = published_preparation("image", {"frames": 3})
    compared = compare_recipes(images, {**images, "crop": "auto", "field_of_view_mm": 160.0}, "cmr")
    assert (compared.differences, compared.unknown) == ((), ("crop", "field of view (mm)"))


def test_one_number_of_one_step_is_a_difference(tmp_path: Path) -> None:
    recipe = recipe_of(ShardIndex.load(write_cohort(tmp_path / "a")).layout, "ecg")
    other = {**recipe, "cleaning": {"steps": [*recipe["cleaning"]["steps"][:3], {"zscore": {"groups": "all"}}]}}
    assert compare_recipes(recipe, other, "ecg").differences == ("zscore groups leads -> all",)
    frames = {"version": 2, "frames": ["ES", "ED"], "crop": "auto", "field_of_view_mm": 160.0, "view": "sax"}
    changed = {**frames, "crop": "motion", "field_of_view_mm": 200.0}
    told = ("crop auto -> motion", "field of view (mm) 160.0 -> 200.0")
    assert compare_recipes(frames, changed, "cmr").differences == told
