"""Configs that compose: bases, pieces by path, references, parts given anew, networks read beside their weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonargparse
import pytest
import tiny_configs
import yaml
from tiny_configs import ENCODER

from ecgcmr.cli import main
from ecgcmr.encoders import ECGCNN, ECGVisionTransformer, export_encoder, read_encoder_card
from ecgcmr.encoders.ecg_vit import SIZES
from ecgcmr.errors import UserError
from ecgcmr.training.config_files import Composition
from ecgcmr.training.stage_cli import StageCLI

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MAE, ALIGNMENT = str(CONFIGS / "mae" / "demo.yaml"), str(CONFIGS / "alignment" / "demo.yaml")
ECG_VIT, ECG_CNN = (str(CONFIGS / "encoders" / name) for name in ("ecg_vit.yaml", "ecg_cnn.yaml"))
QUICK = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=2"]

Read = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def read() -> Read:
    """Return the settings that ``fit`` reads from a command line; nothing is built."""
    parser = jsonargparse.capture_parser(StageCLI, ["fit"])

    def settings(*words: str) -> dict[str, Any]:
        composition = Composition("fit", words)
        with composition.parsing():
            found: dict[str, Any] = parser.parse_args(["fit", *composition.arguments()]).fit.as_dict()
        return found

    return settings


def _arguments(settings: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = settings["model"]["init_args"][name]["init_args"]
    return found


@pytest.mark.long
def test_a_later_setting_reaches_every_place_that_refers_to_it(read: Read) -> None:
    found = read("-c", ALIGNMENT, "--data.samples", "1000", "--data.image_size=32")
    assert _arguments(found, "ecg_encoder")["samples"] == found["data"]["init_args"]["samples"] == 1000
    assert [_arguments(found, "cmr_encoder")[side] for side in ("height", "width")] == [32, 32]
    assert _arguments(read("-c", MAE), "encoder")["samples"] == 1250
    by_reference = read("-c", MAE, "--trainer.max_epochs=${model.decoder_width}", "--model.decoder_width", "7")
    assert by_reference["trainer"]["max_epochs"] == 7


@pytest.mark.parametrize("as_overlay", [True, False], ids=["overlay", "flag"])
def test_a_part_that_is_given_anew_keeps_nothing_of_the_one_before(
    read: Read, tmp_path: Path, as_overlay: bool
) -> None:
    """jsonargparse itself would mix the width of the first network into the second."""

    def with_encoder(piece: str) -> dict[str, Any]:
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"encoder": piece}}}))
        words = ["-c", str(tmp_path / "mine.yaml")] if as_overlay else ["--model.encoder", piece]
        return read("-c", MAE, *words, "--model.encoder.drop_path=0.2" if piece == ECG_VIT else "--compile=false")

    vit = _arguments(with_encoder(ECG_VIT), "encoder")
    assert (vit["size"], vit["width"], vit["patch_size"], vit["samples"]) == ("tiny", None, (1, 100), 1250)
    assert vit["drop_path"] == 0.2
    cnn = with_encoder(ECG_CNN)["model"]["init_args"]["encoder"]
    assert cnn["class_path"] == "ecgcmr.encoders.ECGCNN"
    assert (cnn["init_args"]["samples"], cnn["init_args"]["widths"]) == (1250, None)


def test_settings_of_a_class_that_is_not_named_again_are_changed_alone(read: Read, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: {init_args: {encoder: {init_args: {depth: 2}}, mask_ratio: 0.5}}")
    (tmp_path / "late.yaml").write_text("base: mine.yaml\nmodel: {init_args: {mask_ratio: 0.7}}")
    found = read("-c", MAE, "-c", str(tmp_path / "late.yaml"))
    assert [_arguments(found, "encoder")[name] for name in ("width", "depth")] == [96, 2]
    assert found["model"]["init_args"]["mask_ratio"] == 0.7
    (tmp_path / "alone.yaml").write_text(f"base: [{MAE}, late.yaml]")
    assert read("-c", str(tmp_path / "alone.yaml")) | {"config": None} == found | {"config": None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{base: none.yaml}", r"base: there is no file none\.yaml in /.*"),
        ("{model: {init_args: {encoder: none.yaml}}}", r"there is no file none\.yaml in /"),
        ("{model: {init_args: {encoder: list.yaml}}}", r"list\.yaml holds no class_path"),
        ("{model: {init_args: {mask_ratio: '${oc.env:HOME}'}}}", r"mask_ratio: '\$\{oc\.env:HOME\}' is not read"),
        ("{model: {init_args: {mask_ratio: '${oc.decode:${a}}'}}}", "is not read"),
        ("{model: {init_args: {mask_ratio: 'a ${data.samples}'}}}", "a reference stands alone"),
        ("{data: {init_args: {samples: '${model.encoder.samples}'}}}", "leads back to itself"),
        ("{model: {init_args: {mask_ratio: '${data}'}}}", "names a part"),
        ("{model: {init_args: {mask_ratio: '${data.sampels}'}}}", r"mask_ratio: .*data\.init_args\.sampels"),
        ("{model: {init_args: {encoder: {init_args: {size: tny}}}}}", "tny"),
    ],
)
def test_what_does_not_compose_is_refused_in_one_line(read: Read, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "list.yaml").write_text("- 1")
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises((UserError, jsonargparse.ArgumentError), match=message) as caught:
        read("-c", MAE, "-c", str(tmp_path / "mine.yaml"))
    assert isinstance(caught.value, UserError) is ("tny" not in content)


@pytest.mark.parametrize("word", ["--data.samples=${oc.env:HOME}", "--data.samples=${model.encoder.samples}"])
def test_a_hostile_reference_of_the_command_line_ends_in_one_line(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "-c", MAE, word]) == 2
    error = capsys.readouterr().err
    assert "samples: " in error
    assert error.count("\n") == 1


def test_pieces_that_multiply_each_other_are_refused(tmp_path: Path) -> None:
    for number in range(9):
        names = ", ".join([f"{number + 1}.yaml"] * 9)
        (tmp_path / f"{number}.yaml").write_text(f"{{class_path: a.B, init_args: {{parts: [{names}]}}}}")
    (tmp_path / "9.yaml").write_text("{class_path: a.B}")
    with pytest.raises(UserError, match="names pieces more than 1,000 times"):
        Composition("fit", ["-c", str(tmp_path / "0.yaml")])


def test_an_overlay_without_its_config_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overlay = str(CONFIGS / "objectives" / "byol.yaml")
    assert main(["fit", "-c", overlay]) == 2
    assert "model has no class_path, so these are changes to another config" in capsys.readouterr().err
    assert main(["fit", "-c", overlay, "-c", ALIGNMENT]) == 2
    assert "names the class of model, which a config before it only changes; give " in capsys.readouterr().err
    assert main(["fit", "-c", ECG_CNN]) == 2
    assert "is a part and no config; give it in its place" in capsys.readouterr().err
    assert main(["fit", "-c", str(tmp_path / "none.yaml")]) == 2
    assert "paths start from" in capsys.readouterr().err


def test_the_merged_settings_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "-c", MAE, "--data.samples", "1000", "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["init_args"]["encoder"]["init_args"]["samples"] == 1000
    assert main(["fit", "-c", MAE, "--data.samples", "1000", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--print_config" in shown
    assert "samples: 1000" in shown


def test_a_size_is_kept_as_the_numbers_that_were_built(tmp_path: Path) -> None:
    built = ECGVisionTransformer(samples=200, patch_size=(12, 50), size="pluto", depth=1)
    assert (built.feature_dim, built.num_layers) == (SIZES["pluto"][0], 2)
    arguments = {"samples": 200, "patch_size": [12, 50], "size": "pluto", "depth": 1}
    export_encoder(built, tmp_path, class_path=ENCODER["class_path"], init_args=arguments)
    kept = read_encoder_card(tmp_path).init_args
    assert kept == {"samples": 200, "patch_size": [12, 50], "width": 256, "depth": 1, "heads": 8}
    with pytest.raises(UserError, match="unknown ECG encoder size 'tny'"):
        ECGVisionTransformer(size="tny")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Path:
    """Run folder of a masked autoencoder of a named size; no test may change it."""
    config = tiny_configs.write_mae(tmp_path_factory.mktemp("sized"), cohort_root)
    content = yaml.safe_load(config.read_text())
    content["model"]["init_args"]["encoder"]["init_args"] |= {"size": "pluto", "width": 32, "heads": None}
    config.write_text(yaml.safe_dump(content))
    assert main(["fit", "-c", str(config), *QUICK]) == 0
    return config.with_suffix("")


def test_the_config_of_a_run_holds_what_was_built_and_repeats_it(weights: Path, tmp_path: Path) -> None:
    written = yaml.safe_load((weights / "config.yaml").read_text())
    numbers = written["model"]["init_args"]["encoder"]["init_args"]
    assert (numbers["width"], numbers["depth"], numbers["heads"]) == (32, 2, 8)
    assert "size" not in numbers
    again = ["--trainer.default_root_dir", str(tmp_path / "again")]
    assert main(["fit", "-c", str(weights / "config.yaml"), *again]) == 0
    assert (tmp_path / "again" / "encoder.safetensors").read_bytes() == (weights / "encoder.safetensors").read_bytes()


@pytest.mark.parametrize("given", ["absent", "null", "another pooling"])
def test_a_network_is_built_from_beside_its_weights(
    weights: Path, cohort_root: Path, tmp_path: Path, given: str
) -> None:
    config = tiny_configs.write_downstream(tmp_path, cohort_root, "PhenotypeRegression", ["lv_edv"])
    content = yaml.safe_load(config.read_text())
    encoder = content["model"]["init_args"].pop("encoder")
    if given != "absent":
        content["model"]["init_args"]["encoder"] = {
            "null": None,
            "another pooling": {"init_args": {"pooling": "attention"}},
        }[given]
    config.write_text(yaml.safe_dump(content))
    assert main(["fit", "-c", str(config), "--model.encoder_weights", str(weights), *QUICK]) == 0
    written = yaml.safe_load((config.with_suffix("") / "config.yaml").read_text())["model"]["init_args"]["encoder"]
    assert written["class_path"] == encoder["class_path"]
    assert (written["init_args"]["width"], written["init_args"]["heads"]) == (32, 8)
    assert written["init_args"]["pooling"] == ("attention" if given == "another pooling" else "mean")


def test_a_network_that_is_neither_given_nor_trusted_is_refused(
    weights: Path, cohort_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(tiny_configs.write_downstream(tmp_path, cohort_root, "PhenotypeRegression", ["lv_edv"]))
    strange = Path(shutil.copytree(weights, tmp_path / "strange"))
    card = yaml.safe_load((strange / "encoder.yaml").read_text())
    (strange / "encoder.yaml").write_text(yaml.safe_dump(card | {"class_path": "antigravity.Encoder"}))
    cnn = ECGCNN(samples=1000, widths=[8, 8])
    export_encoder(
        cnn, tmp_path / "cnn", class_path="ecgcmr.encoders.ECGCNN", init_args={"samples": 1000, "widths": [8, 8]}
    )
    for words, message in (
        ([f"--model.encoder_weights={strange}", "--model.encoder=null"], "which is not of this package and was not"),
        ([f"--model.encoder_weights={tmp_path / 'cnn'}"], "are of ecgcmr.encoders.ECGCNN; to take their network, add"),
        ([f"--model.encoder_weights={tmp_path / 'no'}", "--model.encoder=null"], "is read beside its weights: "),
        (["--model.encoder_weights=null", "--model.encoder=null"], "model.encoder: names no network"),
    ):
        assert main(["fit", "-c", config, *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


@pytest.mark.long
def test_a_resumed_run_is_compared_with_what_its_pieces_were(
    cohort_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_configs.write_mae(tmp_path, cohort_root)
    content = yaml.safe_load(config.read_text())
    content["model"]["init_args"]["encoder"] = "piece.yaml"
    config.write_text(yaml.safe_dump(content))
    piece = tmp_path / "piece.yaml"
    piece.write_text(yaml.safe_dump(ENCODER))
    assert main(["fit", "-c", str(config), *QUICK]) == 0
    piece.rename(tmp_path / "moved.yaml")
    config.write_text(config.read_text().replace("piece.yaml", "moved.yaml"))
    assert main(["fit", "-c", str(config), "--ckpt_path", "last", *QUICK]) == 0  # moved, not changed
    changed = {**ENCODER, "init_args": {**ENCODER["init_args"], "drop_path": 0.3}}
    (tmp_path / "moved.yaml").write_text(yaml.safe_dump(changed))
    capsys.readouterr()
    assert main(["fit", "-c", str(config), "--ckpt_path", "last", *QUICK]) == 2
    assert "model.encoder.drop_path 0.0 -> 0.3" in capsys.readouterr().err
