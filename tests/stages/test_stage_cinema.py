"""CineMA as the image encoder of an alignment: imported weights in, one encoder out; images that do not fit refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from measured_cohort import write_measured
from published_files import published_tensors
from safetensors.torch import load_file
from tiny_configs import ENCODER, write_config

from ecgcmr.cli import main
from ecgcmr.encoders import load_encoder
from ecgcmr.encoders.published import published_image_encoders
from ecgcmr.errors import UserError
from ecgcmr.interpretation.pair import load_pair
from ecgcmr.shards import CMRLayout, Layout
from ecgcmr.stages.image_check import check_images
from ecgcmr.stages.transfer import check_shape

ENTRIES = published_image_encoders()
QUICK = ["--trainer.fast_dev_run=true", "--trainer.logger=false"]
STACKS = tuple(f"{phase}-{number}" for phase in ("ED", "ES") for number in range(1, 5))
LAYOUTS = {
    "cinema": CMRLayout(STACKS, 32, 32, 1.0, slices=4),
    "cinema-4ch": CMRLayout(("ES", "mid", "ED"), 32, 32, 1.0),
}
MADE: dict[str, dict[str, Any]] = {
    "cinema": {"view": "sax", "field_of_view_mm": 32.0, "slice_distance_mm": 10.0},
    "cinema-4ch": {"view": "4ch", "field_of_view_mm": 32.0},
}


def encoder_of(name: str) -> dict[str, Any]:
    return {"class_path": ENTRIES[name].class_path, "init_args": {**ENTRIES[name].init_args, **ENTRIES[name].small}}


def alignment(folder: Path, root: Path, name: str, weights: Path | None = None) -> Path:
    arguments = {
        "ecg_encoder": {**ENCODER, "init_args": {**ENCODER["init_args"], "samples": 1000}},
        "cmr_encoder": encoder_of(name),
        "projection_hidden": 16,
        "projection_size": 8,
        **({} if weights is None else {"cmr_encoder_weights": str(weights)}),
    }
    return write_config(
        folder / "alignment.yaml", "ECGCMRAlignment", arguments, "PairedDataModule", root, labels=["lv_edv"]
    )


@pytest.mark.parametrize("name", ["cinema", pytest.param("cinema-4ch", marks=pytest.mark.long)])
def test_an_alignment_starts_from_imported_weights_and_leaves_one_encoder(name: str, tmp_path: Path) -> None:
    root = write_measured(tmp_path / "cohort", images=LAYOUTS[name], images_made=MADE[name])
    tensors, network = published_tensors(ENTRIES[name])
    torch.save(tensors, tmp_path / "cinema.pt")
    sizes = [f"--argument={key}={json.dumps(value)}" for key, value in ENTRIES[name].small.items()]
    imported = tmp_path / "imported"
    assert main(["import-weights", str(tmp_path / "cinema.pt"), "--as", name, "--out", str(imported), *sizes]) == 0
    config = alignment(tmp_path, root, name, imported)
    more = ["--trainer.max_epochs=1", "--model.optimiser.lr=0.001", "--model.optimiser.warmup_epochs=0"]
    assert main(["fit", "-c", str(config), *more]) == 0
    run = tmp_path / "alignment"
    after = load_file(run / "cmr_encoder" / "encoder.safetensors")
    before = network.state_dict()
    assert list(after) == sorted(before)
    moved = {key: float((after[key] - before[key]).abs().max()) for key in after}
    assert moved["pos_embed"] == 0
    assert all(0 < distance < 0.05 for key, distance in moved.items() if key != "pos_embed")
    pair = load_pair(run)
    images = LAYOUTS[name]
    places = pair.cmr_places(torch.rand(2, *images.shape))
    assert places.shape == (2, len(images.frames), 2, 2, 8)
    again: Any = load_encoder(run / "cmr_encoder")
    assert again.input_spec == network.input_spec


OTHER_IMAGES = [
    ("cinema", {}, {"view": "2ch"}, "this cohort's are of view 2ch; prepare it"),
    ("cinema", {}, {"view": None}, "this cohort's do not say their view; prepare it"),
    ("cinema", {"spacing_mm": 1.67}, {}, "this cohort's have pixels of 1.67 mm at 32 x 32; prepare it"),
    ("cinema", {"slices": 2}, {}, "this cohort's have 2 slices a moment; prepare it"),
    ("cinema", {}, {"slice_distance_mm": None}, "this cohort's have slices spread over each stack; prepare it"),
    ("cinema", {}, {"slice_distance_mm": 8.0}, "this cohort's have slices 8 mm apart; prepare it"),
    ("cinema-4ch", {}, {"view": "sax"}, "this cohort's are of view sax; prepare it"),
]
COMMANDS = {
    "cinema": "'ecgcmr prepare ... --view sax --content volumes --slices 4 --slice-distance 10 --size 32 "
    "--field-of-view 32'",
    "cinema-4ch": "'ecgcmr prepare ... --view 4ch --size 32 --field-of-view 32'",
}


@pytest.mark.parametrize(("name", "layout", "made", "words"), OTHER_IMAGES)
def test_images_that_do_not_fit_are_refused_with_the_command_that_mends_it(
    name: str, layout: dict[str, Any], made: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {key: value for key, value in {**MADE[name], **made}.items() if value is not None}
    cohort = Layout(None, replace(LAYOUTS[name], **layout), (), {"cmr": said})
    network: Any = published_tensors(ENTRIES[name])[1]
    specification = {"kind": "CMRInput", **vars(network.input_spec)}
    with pytest.raises(UserError) as raised:
        check_images(specification, cohort, "model.cmr_encoder")
    assert words in str(raised.value)
    assert COMMANDS[name] in str(raised.value)
    check_images(specification, cohort, "model.cmr_encoder", accept=True)
    assert "warning: model.cmr_encoder takes images of view" in capsys.readouterr().err
    check_images({**specification, "view": None}, cohort, "model.cmr_encoder")  # an encoder that does not ask
    check_images(specification, Layout(None, LAYOUTS[name], (), {"cmr": MADE[name]}), "model.cmr_encoder")
    assert capsys.readouterr().err == ""


def test_another_number_of_moments_is_an_argument_away() -> None:
    network: Any = published_tensors(ENTRIES["cinema-4ch"])[1]
    given = {"frames": 50, "height": 32, "width": 32}
    with pytest.raises(UserError, match=r"\(--model\.cmr_encoder\.init_args\.frames 50\)$"):
        check_shape(network, given, "cmr", "model.cmr_encoder", "the data gives")


@pytest.mark.parametrize("stage", ["alignment", "contrast"])
def test_every_stage_of_images_asks(stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_measured(tmp_path / "cohort")
    config = alignment(tmp_path, root, "cinema")
    if stage == "contrast":
        arguments = {
            "encoder": encoder_of("cinema"),
            "modality": "cmr",
            "views": {
                "class_path": "ecgcmr.stages.views.AugmentedViews",
                "init_args": {"augmentation": {"class_path": "ecgcmr.augmentations.CMRAugmentation"}},
            },
        }
        config = write_config(tmp_path / "one.yaml", "UnimodalContrast", arguments, "CMRDataModule", root)
    assert main(["fit", "-c", str(config), *QUICK]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert COMMANDS["cinema"] in line
