"""Every shipped config runs one batch of training and validation on the tiny synthetic cohort; recipes made small."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_configs import small_recipe

from ecgcmr.cli import main
from ecgcmr.encoders.ecg_vit import SIZES
from ecgcmr.experiments.plan import load_plan

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ROOMS = ("mae", "alignment", "unimodal", "downstream")
STAGE_CONFIGS = sorted(path for room in ROOMS for path in (CONFIGS / room).glob("*.yaml"))
RECIPES = [path for path in STAGE_CONFIGS if path.name.startswith("turgut2025_")]
EXPERIMENTS = sorted((CONFIGS / "experiments").glob("*.yaml"))


def _name(path: Path) -> str:
    return path.relative_to(CONFIGS).as_posix()


def _content(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def _built(part: Any) -> Any:
    """Make what a config describes, as the command line does, which takes its time over types."""
    if isinstance(part, list):
        return [_built(item) for item in part]
    if not (isinstance(part, dict) and "class_path" in part):
        return part
    module, _, name = part["class_path"].rpartition(".")
    arguments = {argument: _built(value) for argument, value in part.get("init_args", {}).items()}
    return getattr(import_module(module), name)(**arguments)


def test_the_rooms_hold_configs() -> None:
    assert {path.parent.name for path in RECIPES} == set(ROOMS)
    methods = {"ecg_simclr", "ecg_byol", "ecg_barlow_twins", "ecg_clocs", "cmr_simclr"}
    unimodal = {path.stem for path in STAGE_CONFIGS if path.parent.name == "unimodal"}
    assert unimodal >= methods | {f"turgut2025_{method}" for method in methods}
    assert EXPERIMENTS


@pytest.mark.parametrize("config", STAGE_CONFIGS, ids=_name)
def test_every_stage_config_trains(config: Path, cohort_root: Path, tmp_path: Path) -> None:
    arguments = ["--data.root", str(cohort_root), "--data.batch_size", "4", "--data.num_workers", "0"]
    arguments += ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    arguments += ["--trainer.default_root_dir", str(tmp_path), "--trainer.enable_progress_bar", "false"]
    if config in RECIPES:
        arguments += small_recipe(_content(config))
    if config.name == "ptbxl.yaml" and "labels" in _content(config)["data"]["init_args"]:
        # The cohort of these tests has diseases in place of PTB-XL's findings; both are 0/1 labels.
        arguments += ["--data.labels", "[cad_ever, af_ever, dm_ever]"]
    assert main(["fit", "-c", str(config), *arguments]) == 0


@pytest.mark.parametrize("config", RECIPES, ids=_name)
def test_every_recipe_can_be_built_at_its_full_size(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))  # numbers of stochastic depth
    with torch.device("meta"):  # all else as shapes without numbers
        stage = _built(_content(config)["model"])
    assert sum(parameter.numel() for parameter in stage.parameters()) > 1e6


def test_sizes_of_the_masked_autoencoder_differ_in_the_network_alone() -> None:
    tiny = _content(CONFIGS / "mae" / "turgut2025_tiny.yaml")
    for size, (width, depth, heads) in SIZES.items():
        other = _content(CONFIGS / "mae" / f"turgut2025_{size}.yaml")
        encoder = other["model"]["init_args"]["encoder"]["init_args"]
        assert (encoder["width"], encoder["depth"], encoder["heads"]) == (width, depth, heads)
        encoder |= {"width": 384, "depth": 3, "heads": 6}
        other["model"]["init_args"] |= {"decoder_width": 256, "decoder_depth": 2, "decoder_heads": 8}
        assert other == tiny, size


def test_encoders_fit_from_recipe_to_recipe() -> None:
    """All ECG encoders are of one shape, and the image encoder of the alignment is that of its SimCLR."""
    chained = [path for path in RECIPES if path.parent.name != "mae" or path.stem == "turgut2025_tiny"]
    ecg, cmr = set(), []
    for path in chained:
        for name, part in _content(path)["model"]["init_args"].items():
            if name.endswith("encoder"):
                given = part["init_args"]
                if part["class_path"].endswith("CMRResNet"):
                    cmr.append(given)
                else:
                    ecg.add((given["samples"], *given["patch_size"], given["width"], given["depth"], given["heads"]))
    assert ecg == {(2500, 1, 100, 384, 3, 6)}
    assert len(cmr) == 2
    assert cmr[0] == cmr[1]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=_name)
def test_every_experiment_file_is_understood(path: Path) -> None:
    plan = load_plan(path)
    assert plan.description
    assert all(plan.file(stage.config) in STAGE_CONFIGS for stage in plan.stages.values())
