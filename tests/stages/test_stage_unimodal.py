"""Unimodal contrast through the command line: methods, targets, views, hand-over to alignment, resuming, mistakes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny_configs import CMR_ENCODER, ENCODER, write_alignment, write_config

from data_modules.sampling import PURPOSE
from ecgcmr.cli import main
from ecgcmr.encoders import ECGCNN, ECGVisionTransformer, View, load_encoder, read_encoder_card
from ecgcmr.errors import UserError
from ecgcmr.objectives import BYOLLoss, MomentumTarget
from ecgcmr.row_random import RowGenerator
from ecgcmr.shards import ShardIndex
from ecgcmr.stages import unimodal
from ecgcmr.stages.towers import follow
from ecgcmr.stages.unimodal import UnimodalContrast
from ecgcmr.stages.views import AugmentedViews, PatientViews, check_views

AUGMENTED = {
    "class_path": "ecgcmr.stages.views.AugmentedViews",
    "init_args": {"augmentation": {"class_path": "ecgcmr.augmentations.ECGAugmentation"}},
}
OF_CMR = {
    "class_path": "ecgcmr.stages.views.AugmentedViews",
    "init_args": {"augmentation": {"class_path": "ecgcmr.augmentations.CMRAugmentation"}},
}
ONE_LEAD_PATCHES = {**ENCODER, "init_args": {**ENCODER["init_args"], "patch_size": [1, 250]}}
PATIENT = {"class_path": "ecgcmr.stages.views.PatientViews", "init_args": {"segments": True, "leads": True}}
HEAD = {"projection_hidden": 16, "projection_size": 8, "optimiser": {"lr": 0.003, "warmup_epochs": 0}}


def objective(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"ecgcmr.objectives.{name}", "init_args": arguments}


METHODS: dict[str, dict[str, Any]] = {
    "simclr": {"encoder": ENCODER, "views": AUGMENTED, "objective": objective("NTXentLoss")},
    "byol": {
        "encoder": ENCODER,
        "views": AUGMENTED,
        "objective": objective("BYOLLoss", size=8, hidden=16, momentum=0.9),
        "projection_norm": True,
    },
    "barlow": {
        "encoder": ENCODER,
        "views": AUGMENTED,
        "objective": objective("BarlowTwinsLoss"),
        "projection_layers": 3,
        "projection_norm": True,
    },
    "clocs": {"encoder": ONE_LEAD_PATCHES, "views": PATIENT, "objective": objective("CLOCSLoss")},
    "cmr": {"encoder": CMR_ENCODER, "views": OF_CMR, "modality": "cmr"},
}


def write_unimodal(folder: Path, root: Path, name: str, **changes: Any) -> Path:
    """Write ``NAME.yaml`` of a method, probed on one label."""
    model = {**HEAD, **METHODS[name], **changes}
    samples = 2000 if name == "clocs" else 1000
    data = "PairedDataModule" if name == "cmr" else "ECGDataModule"
    path = folder / f"{name}.yaml"
    return write_config(path, "unimodal.UnimodalContrast", model, data, root, labels=["lv_edv"], samples=samples)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Callable[[str], Path]:
    """Give the config of a method that was fitted as it says; only evaluations may be added to its run folder."""

    @functools.cache
    def config_of(name: str) -> Path:
        config = write_unimodal(tmp_path_factory.mktemp("fitted"), cohort_root, name)
        assert main(["fit", "-c", str(config)]) == 0
        return config

    return config_of


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if name in ("barlow", "clocs", "byol", "cmr") else ())
        for name in METHODS
    ],
)
def test_every_method_leaves_a_whole_run_folder(name: str, fitted: Callable[[str], Path], cohort_root: Path) -> None:
    config = fitted(name)
    run = config.with_suffix("")
    assert main(["validate", "-c", str(config), "--ckpt_path", str(run / "last.ckpt")]) == 0
    for command in ("test", "predict"):
        assert main([command, "-c", str(config)]) == 0
    for file in ("config.yaml", "last.ckpt", "best.ckpt", "encoder.safetensors", "encoder.yaml", "metrics.json"):
        assert (run / file).is_file(), file
    metrics = json.loads((run / "metrics.json").read_text())
    expected = {"val/loss", "val/spread", "val/probe_r2", "val/view_recall@1", "val/view_median_rank", "train/loss"}
    assert expected <= set(metrics["fit"])
    assert all(np.isfinite(value) for value in metrics["fit"].values())
    assert 0.0 < metrics["fit"]["val/spread"] <= 1.0
    during = {key: value for key, value in metrics["fit"].items() if key.startswith("val/")}
    assert metrics["validate"] == pytest.approx(during, rel=1e-5, abs=1e-5)
    best = torch.load(run / "best.ckpt", weights_only=True)["state_dict"]
    exported = load_encoder(run).state_dict()
    assert all(torch.equal(exported[key], best[f"encoder.{key}"]) for key in exported)
    assert read_encoder_card(run).class_path == METHODS[name]["encoder"]["class_path"]
    with np.load(run / "predictions.npz", allow_pickle=False) as stored:
        assert stored["prediction"].shape == (
            len(ShardIndex.load(cohort_root).positions("test", ("ecg",))),
            load_encoder(run).feature_dim,
        )


def test_image_encoder_goes_on_to_the_alignment(
    tmp_path: Path, fitted: Callable[[str], Path], cohort_root: Path
) -> None:
    alignment = write_alignment(tmp_path, cohort_root)
    frozen = ["--model.optimiser.lr=0", "--trainer.max_epochs=1"]
    run = fitted("cmr").with_suffix("")
    assert main(["fit", "-c", str(alignment), *frozen, f"--model.cmr_encoder_weights={run}"]) == 0
    before, after = load_encoder(run), load_encoder(alignment.with_suffix("") / "cmr_encoder")
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(old, new), name


def test_target_starts_as_the_network_and_follows_by_the_schedule(tmp_path: Path, cohort_root: Path) -> None:
    config = write_unimodal(tmp_path, cohort_root, "byol")
    still = ["--model.optimiser.lr=0", "--trainer.max_epochs=1", "--model.optimiser.weight_decay=0"]
    assert main(["fit", "-c", str(config), *still]) == 0
    state = torch.load(config.with_suffix("") / "last.ckpt", weights_only=True)["state_dict"]
    copied = {name.removeprefix("target.towers.0."): value for name, value in state.items() if "target" in name}
    assert all(torch.equal(value, state[name]) for name, value in copied.items() if "running" not in name)
    # At the only step of a fit the momentum has grown to 1, and the target stays where it began.
    moving = ["--model.optimiser.lr=0.01", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]
    assert main(["fit", "-c", str(config), *moving, "--overwrite"]) == 0
    state = torch.load(config.with_suffix("") / "last.ckpt", weights_only=True)["state_dict"]
    weight = "encoder.blocks.0.attn.qkv.weight"
    assert torch.equal(state[f"target.towers.0.{weight}"], copied[weight])
    assert not torch.equal(state[weight], copied[weight])


def test_target_follows_with_the_momentum_of_the_step() -> None:
    tower = torch.nn.Linear(2, 2)
    target = MomentumTarget([tower])
    start = tower.weight.detach().clone()
    with torch.no_grad():
        tower.weight += 1.0
    trainer = SimpleNamespace(estimated_stepping_batches=8, global_step=3)
    stage = SimpleNamespace(trainer=trainer, objective=BYOLLoss(2, 2, momentum=0.5))
    follow(stage, target, [tower])  # the fourth of eight steps: half of the way from 0.5 to 1
    torch.testing.assert_close(target.towers[0].weight, start + 0.25)
    follow(stage, None, [tower])


@pytest.mark.long
@pytest.mark.usefixtures("interrupt_restored")
def test_resuming_equals_the_uninterrupted_run(
    tmp_path: Path, fitted: Callable[[str], Path], cohort_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BYOL has it all: views, a target that follows, batch norm over the global batch."""
    config = write_unimodal(tmp_path, cohort_root, "byol")
    content = yaml.safe_load(config.read_text())
    checkpoint = {"class_path": "ecgcmr.training.StepCheckpoint", "init_args": {"every_n_train_steps": 2}}
    content["trainer"]["callbacks"] = [checkpoint]
    config.write_text(yaml.safe_dump(content))
    parts = ["fit", "-c", str(config), f"--trainer.default_root_dir={tmp_path / 'parts'}"]
    with monkeypatch.context() as patched:
        patched.setattr(UnimodalContrast, "training_step", _interrupted_at_step_9(UnimodalContrast.training_step))
        assert main(parts) == 130
    assert torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)["global_step"] == 8
    assert main([*parts, "--ckpt_path=last"]) == 0
    runs = (fitted("byol").with_suffix(""), tmp_path / "parts")
    expected, found = (torch.load(run / "last.ckpt", weights_only=True) for run in runs)
    assert expected["global_step"] == found["global_step"] == 12
    for name, value in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], value), name


def _interrupted_at_step_9(step: Any) -> Any:
    def interrupted(self: UnimodalContrast, batch: dict, batch_idx: int) -> torch.Tensor:
        if self.global_step == 9:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    return interrupted


def _generators(rows: torch.Tensor) -> tuple[RowGenerator, RowGenerator]:
    return RowGenerator(rows, 0, 0), RowGenerator(rows, 0, 1)


def test_augmented_views_differ_and_belong_to_the_row() -> None:
    views = AugmentedViews(lambda x, generator: x + generator.normal(*x.shape[1:]))
    rows, x = torch.arange(4), torch.zeros(4, 2, 10)
    a, b = views(View(x), *_generators(rows))
    assert a.lead_mask is b.lead_mask is None
    assert (a.x != b.x).all()
    alone, _ = views(View(x[2:3]), *_generators(rows[2:3]))
    assert torch.equal(alone.x, a.x[2:3])


def test_patient_views_are_halves_in_time_and_leads() -> None:
    x = torch.arange(2 * 12 * 10.0).view(2, 12, 10)
    early, late = PatientViews(segments=True)(View(x), *_generators(torch.arange(2)))
    assert torch.equal(torch.cat([early.x, late.x], dim=2), x)
    assert early.lead_mask is None
    both = PatientViews(segments=False, leads=True)(View(x), *_generators(torch.arange(2)))
    first, second = (view.lead_mask for view in both)
    assert first is not None
    assert second is not None
    assert first.sum(dim=1).tolist() == [6, 6]
    assert torch.equal(first, ~second)
    assert not torch.equal(first[0], first[1])
    assert all(torch.equal(view.x, x) for view in both)
    with pytest.raises(UserError, match="segments, leads or both"):
        PatientViews(segments=False)


def test_patient_views_deal_out_the_recorded_leads() -> None:
    recorded = torch.zeros(5, 12, dtype=torch.bool)
    for row, count in enumerate((1, 2, 3, 11, 12)):
        recorded[row, torch.randperm(12, generator=torch.Generator().manual_seed(row))[:count]] = True
    views = PatientViews(segments=False, leads=True)
    first, second = (v.lead_mask for v in views(View(torch.zeros(5, 12, 4), recorded), *_generators(torch.arange(5))))
    assert first is not None
    assert second is not None
    assert torch.equal(first | second, recorded)
    assert first.sum(dim=1).tolist() == [1, 1, 1, 5, 6]
    assert (first & second).sum(dim=1).tolist() == [1, 0, 0, 0, 0]
    whole = PatientViews(segments=True).whole(View(torch.zeros(5, 12, 4), recorded))
    assert whole.x.shape == (5, 12, 2)
    assert whole.lead_mask is recorded
    pair = AugmentedViews(lambda x, generator: x)(View(torch.zeros(5, 12, 4), recorded), *_generators(torch.arange(5)))
    assert all(view.lead_mask is recorded for view in pair)


def test_subsets_of_leads_suit_encoders_that_do_not_tell_leads_apart() -> None:
    given = {"leads": 2, "lead_rows": (1, 6), "sampling_rate": 500.0, "samples": 200}
    views = AugmentedViews(lambda x, generator: x)
    check_views(views, ECGCNN(leads=2, samples=200), given, "ecg")
    vit = {"samples": 200, "patch_size": (1, 50), "width": 8, "depth": 1, "heads": 1, "leads": 2}
    check_views(views, ECGVisionTransformer(**vit, lead_rows=(1, 6)), given, "ecg")
    with pytest.raises(UserError, match=r"lead_rows \[0, 1\], its views have lead_rows \[1, 6\]; .*data.leads"):
        check_views(views, ECGVisionTransformer(**vit), given, "ecg")


def test_views_share_no_stream_with_what_the_data_module_draws() -> None:
    """The keys of training (views, 1, epoch, view) and evaluation (views, 0, view) against (purpose, epoch)."""
    rows = torch.arange(2)
    keys = [(PURPOSE.views, 1, epoch, view) for epoch in range(3) for view in (0, 1)]
    keys += [(PURPOSE.views, 0, view) for view in (0, 1)]
    keys += [(purpose, epoch) for purpose in PURPOSE if purpose != PURPOSE.views for epoch in range(12)]
    draws = {tuple(RowGenerator(rows, 0, *key).uniform(3).flatten().tolist()) for key in keys}
    assert len(draws) == len(keys)
    seen: list[Any] = []
    original = unimodal.RowGenerator

    def noted(rows: torch.Tensor, *key: int, device: Any) -> RowGenerator:
        seen.append(key)
        return original(rows, *key, device=device)

    stage = UnimodalContrast(ECGCNN(samples=200), AugmentedViews(lambda x, generator: x), seed=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unimodal, "RowGenerator", noted)
        stage._trainer = SimpleNamespace(current_epoch=7)  # type: ignore[assignment]
        stage._embed({"ecg": torch.randn(2, 12, 200), "row": rows}, training=True)
    assert seen == [(4, PURPOSE.views, 1, 7, view) for view in (0, 1)]


@pytest.mark.parametrize(
    ("name", "changes", "arguments", "words"),
    [
        ("simclr", {}, ["--data.samples=2000"], ["samples 1000", "samples 2000", "data.samples"]),
        ("clocs", {}, ["--data.samples=1000"], ["samples 1000", "samples 500"]),
        ("clocs", {"encoder": ENCODER}, [], ["patches of one lead"]),
        ("cmr", {"views": PATIENT}, [], ["parts of an ECG"]),
        ("simclr", {"modality": "cmr"}, [], ["model.modality is cmr", "ECGDataModule"]),
        ("simclr", {"objective": objective("PTACLLoss")}, [], ["PTACLLoss needs segments_a"]),
        ("simclr", {"objective": objective("MaskedReconstruction")}, [], ["MaskedReconstruction is not an objective"]),
        ("simclr", {"projection_layers": 0}, [], ["projection_layers 0"]),
        ("simclr", {"encoder_weights": "nowhere"}, [], ["model.encoder_weights", "nowhere"]),
    ],
)
def test_mistakes_are_told_in_one_line(
    name: str,
    changes: dict,
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    cohort_root: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = write_unimodal(tmp_path, cohort_root, name, **changes)
    assert main(["fit", "-c", str(config), *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]
