"""Every shipped config runs one batch of training and validation on the tiny synthetic cohort; recipes made small."""

from __future__ import annotations

import re
import runpy
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tiny_configs import small_recipe

from ecgcmr.cli import main
from ecgcmr.config_pieces import laid_over, read_config
from ecgcmr.encoders.ecg_vit import SIZES, ECGVisionTransformer
from ecgcmr.experiments.plan_file import load_plan

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ROOMS = ("mae", "alignment", "unimodal", "downstream")
STAGE_CONFIGS = sorted(path for room in ROOMS for path in (CONFIGS / room).glob("*.yaml"))
RECIPES = [path for path in STAGE_CONFIGS if path.name.startswith("turgut2025_")]
EXPERIMENTS = sorted((CONFIGS / "experiments").glob("*.yaml"))
OVERLAYS = sorted((CONFIGS / "objectives").glob("*.yaml"))


def _name(path: Path) -> str:
    return path.relative_to(CONFIGS).as_posix()


def _content(*paths: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for path in paths:
        content = laid_over(content, read_config(path))
    resolved = OmegaConf.to_container(OmegaConf.create(content), resolve=True)
    assert isinstance(resolved, dict)
    return resolved  # type: ignore[return-value]


def _built(part: Any) -> Any:
    """Make what a config describes, as the command line does, which takes its time over types."""
    if isinstance(part, list):
        return [_built(item) for item in part]
    if not (isinstance(part, dict) and "class_path" in part):
        return part
    module, _, name = part["class_path"].rpartition(".")
    arguments = {argument: _built(value) for argument, value in part.get("init_args", {}).items()}
    return getattr(import_module(module), name)(**arguments)


def _fit(paths: list[Path], cohort_root: Path, out: Path, *further: str) -> int:
    """Run one batch of training and validation; a recipe with small networks."""
    arguments = ["--data.root", str(cohort_root), "--data.batch_size", "4", "--data.num_workers", "0"]
    arguments += ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    arguments += ["--trainer.default_root_dir", str(out), "--trainer.enable_progress_bar", "false"]
    if paths[0] in RECIPES:
        arguments += small_recipe(_content(*paths))
    if paths[0].name in ("ptbxl.yaml", "cmr_groups.yaml") and _content(*paths)["data"]["init_args"].get("labels"):
        # The cohort of these tests has diseases in place of PTB-XL's findings and ACDC's groups; all are 0/1 labels.
        arguments += ["--data.labels", "[cad_ever, af_ever, dm_ever]"]
    return main(["fit", *[word for path in paths for word in ("-c", str(path))], *arguments, *further])


def test_the_rooms_hold_configs() -> None:
    assert {path.parent.name for path in RECIPES} == set(ROOMS)
    methods = {"ecg_simclr", "ecg_byol", "ecg_barlow_twins", "ecg_clocs", "cmr_simclr"}
    unimodal = {path.stem for path in STAGE_CONFIGS if path.parent.name == "unimodal"}
    assert unimodal >= methods | {f"turgut2025_{method}" for method in methods}
    assert EXPERIMENTS


def test_configs_repeat_little() -> None:
    files = list(CONFIGS.rglob("*.yaml"))
    lines = [line.strip() for path in files for line in path.read_text().splitlines() if line.strip()]
    assert len(lines) <= 14 * len(files)
    assert len(set(lines)) >= len(lines) / 2


def test_the_list_of_configs_is_current() -> None:
    """If this fails, run ``python configs/make_readme.py``."""
    made = runpy.run_path(str(CONFIGS / "make_readme.py"))
    assert made["readme"]() == (CONFIGS / "README.md").read_text(encoding="utf-8")
    assert set(made["ROOMS"]) == {path.parent.name for path in CONFIGS.rglob("*.yaml")}


LATER = [
    pytest.param(config, marks=pytest.mark.long)
    if config.stem.startswith("turgut2025") or config.parent.name == "unimodal"
    else config
    for config in STAGE_CONFIGS
]


@pytest.mark.parametrize("config", LATER, ids=_name)
def test_every_stage_config_trains(config: Path, cohort_root: Path, tmp_path: Path) -> None:
    assert _fit([config], cohort_root, tmp_path) == 0


@pytest.mark.parametrize("overlay", OVERLAYS, ids=_name)
def test_every_overlay_trains_after_the_config_that_it_names(overlay: Path, cohort_root: Path, tmp_path: Path) -> None:
    named = re.match(r"# -c (configs/\S+\.yaml): ", overlay.read_text())
    assert named is not None
    assert _fit([CONFIGS.parent / named[1], overlay], cohort_root, tmp_path) == 0


@pytest.mark.parametrize("piece", sorted((CONFIGS / "encoders").glob("*.yaml")), ids=_name)
def test_every_encoder_can_be_built(piece: Path) -> None:
    data: dict[str, Any] = {"init_args": {"samples": 1250, "image_size": 64}, "class_path": "D"}
    data["init_args"]["measurements"] = ["lvef_value", "age"]
    if piece.stem == "ecg_vit":
        data["init_args"] = {"samples": 2500}
    content = read_config_of_piece(piece, data)
    with torch.device("meta"):
        assert _built(content).feature_dim > 0


@pytest.mark.parametrize("piece", ["ecg_xresnet1d18", "ecg_s4_small"])
def test_supervised_networks_of_other_kinds_train(piece: str, cohort_root: Path, tmp_path: Path) -> None:
    network = str(CONFIGS / "encoders" / f"{piece}.yaml")
    assert _fit([CONFIGS / "downstream" / "demo.yaml"], cohort_root, tmp_path, "--model.encoder", network) == 0


def read_config_of_piece(piece: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return a piece with its references to the data resolved."""
    config = OmegaConf.create({"piece": read_config(piece, {"data": data}), "data": data})
    resolved: dict[str, Any] = OmegaConf.to_container(config, resolve=True)["piece"]  # type: ignore[index, call-overload]
    return resolved


@pytest.mark.parametrize("config", RECIPES, ids=_name)
def test_every_recipe_can_be_built_at_its_full_size(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))  # numbers of stochastic depth
    with torch.device("meta"):  # all else as shapes without numbers
        stage = _built(_content(config)["model"])
    assert sum(parameter.numel() for parameter in stage.parameters()) > 1e6


def test_sizes_of_the_masked_autoencoder_differ_in_the_network_alone() -> None:
    tiny = _content(CONFIGS / "mae" / "turgut2025_tiny.yaml")
    for size, numbers in SIZES.items():
        other = _content(CONFIGS / "mae" / f"turgut2025_{size}.yaml")
        encoder = other["model"]["init_args"]["encoder"]["init_args"]
        built = ECGVisionTransformer.spelled_out(encoder)
        assert (built["width"], built["depth"], built["heads"]) == numbers
        encoder |= {"size": "tiny"}
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
                    given = ECGVisionTransformer.spelled_out(given)
                    ecg.add((given["samples"], *given["patch_size"], given["width"], given["depth"], given["heads"]))
    assert ecg == {(2500, 1, 100, 384, 3, 6)}
    assert len(cmr) == 2
    assert cmr[0] == cmr[1]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=_name)
def test_every_experiment_file_is_understood(path: Path) -> None:
    plan = load_plan(path)
    assert plan.description
    assert all(plan.file(stage.config) in STAGE_CONFIGS for stage in plan.stages.values())
