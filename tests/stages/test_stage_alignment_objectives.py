"""Alignment with each objective through the command line; R peaks of a batch; what does not go together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_configs import CMR_ENCODER, ENCODER, write_config

from data_modules import PairedDataModule
from ecgcmr.cli import main
from ecgcmr.encoders import load_encoder, require_encoder
from ecgcmr.encoders.cmr_frames import CMRFrameResNet
from ecgcmr.errors import UserError
from ecgcmr.objectives.cardiac_phase import NO_PEAK
from ecgcmr.shards import CMRLayout, ECGLayout, Layout, ShardIndex, ShardRows, write_index, write_shard
from ecgcmr.shards.shard import Beats
from ecgcmr.stages.cycle_segments import BatchRPeaks, frame_phases

FRAME_ENCODER = {"class_path": "ecgcmr.encoders.cmr_frames.CMRFrameResNet", "init_args": CMR_ENCODER["init_args"]}
PHASES = [0.36, 0.18, 0.0]


def objective(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"ecgcmr.objectives.{name}", "init_args": arguments}


def ptacl(**arguments: Any) -> dict[str, Any]:
    return {"cmr_encoder": FRAME_ENCODER, "r_peaks": "detected", "objective": objective("PTACLLoss", **arguments)}


METHODS: dict[str, dict[str, Any]] = {
    "siglip": {"objective": objective("SigLIPLoss")},
    "barlow": {"objective": objective("BarlowTwinsLoss"), "projection_layers": 3, "projection_norm": True},
    "byol": {"objective": objective("BYOLLoss", size=8, hidden=16, shared_predictor=False), "projection_norm": True},
    "phenotypes": {"objective": objective("PhenotypeGuidedCLIPLoss", use="soft", learnable_temperature=True)},
    "clocs": {"objective": objective("CLOCSLoss")},
    "ptacl": ptacl(frame_phases=PHASES),
}


def write_method(folder: Path, root: Path, changes: dict[str, Any], **data: Any) -> Path:
    model = {"ecg_encoder": ENCODER, "cmr_encoder": CMR_ENCODER, "projection_hidden": 16, "projection_size": 8}
    data = {"labels": ["lv_edv", "age"], **data}
    return write_config(folder / "aligned.yaml", "ECGCMRAlignment", model | changes, "PairedDataModule", root, **data)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ("byol", "phenotypes") else pytest.mark.long) for name in METHODS]
)
def test_every_objective_aligns_and_is_judged_again_alike(name: str, tmp_path: Path, cohort_root: Path) -> None:
    config = write_method(tmp_path, cohort_root, METHODS[name])
    assert main(["fit", "-c", str(config)]) == 0
    run = config.with_suffix("")
    assert main(["validate", "-c", str(config), "--ckpt_path", str(run / "last.ckpt")]) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert all(np.isfinite(value) for value in metrics["fit"].values())
    during = {key: value for key, value in metrics["fit"].items() if key.startswith("val/")}
    assert {"val/loss", "val/ecg_to_cmr_recall@5", "val/cmr_to_ecg_median_rank", "val/probe_r2"} <= set(during)
    assert metrics["validate"] == pytest.approx(during, rel=1e-5, abs=1e-5)
    if name in ("siglip", "phenotypes", "clocs", "ptacl"):
        assert metrics["fit"]["train/temperature"] == pytest.approx(0.1, rel=0.1)
    assert load_encoder(run / "cmr_encoder").feature_dim == 16
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    assert any(key.startswith("target.") for key in state) == (name == "byol")


@pytest.mark.parametrize(
    ("changes", "data", "words"),
    [
        ({**ptacl(frame_phases=PHASES), "cmr_encoder": CMR_ENCODER}, {}, ["CMRResNet", "CMRFrameResNet"]),
        (ptacl(), {}, ["ES, mid, ED", "frame_phases"]),
        (ptacl(frame_phases=[0.0, 0.5]), {}, ["2 numbers", "3 frames"]),
        ({"objective": objective("PhenotypeGuidedCLIPLoss")}, {"labels": []}, ["data.labels"]),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(
    changes: dict, data: dict, words: list[str], tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "-c", str(write_method(tmp_path, cohort_root, changes, **data))]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]


@pytest.fixture(scope="module")
def beating_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of 12 subjects, ECGs of 3,000 samples that are 1 at their stored R peaks and 0 else; four phases."""
    root = tmp_path_factory.mktemp("beating")
    ecg = replace(ECGLayout(), samples=3000, max_beats=16)
    layout = Layout(ecg=ecg, cmr=CMRLayout(frames=("t0", "t1", "t2", "t3"), height=48, width=48, spacing_mm=2.0))
    random, entries = np.random.default_rng(0), []
    for shard in range(2):
        peaks = np.full((12, 16), -1)
        signal = np.zeros((12, 12, 3000), dtype=np.float32)
        for row in range(12):
            places = np.arange(random.integers(50, 200), 3000, random.integers(250, 600))
            peaks[row, : len(places)] = places
            signal[row][:, places] = 1.0
        rows = ShardRows(
            subject=[f"{12 * shard + row:032x}" for row in range(12)],
            split=["train"] * 8 + ["val"] * 4,
            ecg=signal,
            has_ecg=np.ones(12, dtype=bool),
            cmr=random.integers(0, 255, (12, 4, 48, 48), dtype=np.uint8),
            has_cmr=np.ones(12, dtype=bool),
            labels=np.empty((12, 0), dtype=np.float32),
            beats=Beats(peaks, np.full((12, 16, 8), -1)),
        )
        entries.append(write_shard(root / "shards" / f"shard-{shard:05d}.h5", layout, rows))
    write_index(root, layout, entries)
    return root


def test_a_cohort_prepared_without_beats_has_no_stored_peaks(cohort: ShardIndex) -> None:
    data = PairedDataModule(cohort.root, batch_size=5, samples=20)
    data.setup("fit")
    with pytest.raises(UserError, match="stores no R peaks; .*detected"):
        BatchRPeaks("stored").load(data)


@pytest.mark.parametrize("epoch", [0, 3])
def test_stored_peaks_lie_where_the_crop_beats(beating_root: Path, epoch: int) -> None:
    data = PairedDataModule(beating_root, batch_size=5, samples=1000)
    data.setup("fit")
    source = BatchRPeaks("stored")
    source.load(data)
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    seen = 0
    for training, batches in ((True, loader), (False, data.val_dataloader())):
        for batch in batches:
            batch = data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0)
            peaks = source.of(batch, data, epoch, training)
            for signal, places in zip(batch["ecg"], peaks, strict=True):
                known = places[places < NO_PEAK]
                assert (known.diff() > 0).all()
                inside = known[(known >= 0) & (known < 1000)]
                assert inside.tolist() == torch.nonzero(signal[0])[:, 0].tolist()
                seen += len(inside)
                assert len(known) > len(inside)  # those beyond the crop close its outer beats
    assert seen > 20


def test_the_whole_cycle_with_stored_peaks_needs_no_phases(beating_root: Path, tmp_path: Path) -> None:
    encoder = {**FRAME_ENCODER, "init_args": {**FRAME_ENCODER["init_args"], "frames": 4}}
    changes = {"cmr_encoder": encoder, "r_peaks": "stored", "objective": objective("PTACLLoss")}
    config = write_method(tmp_path, beating_root, changes, labels=[])
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1"]) == 0
    metrics = json.loads((config.with_suffix("") / "metrics.json").read_text())["fit"]
    # Both terms are near their chance levels at the start: the local one has four phases to choose from.
    assert metrics["train/loss"] > np.log(4)


def test_frames_of_a_cycle_are_evenly_spaced() -> None:
    assert frame_phases(("t00", "t01", "t02", "t03")) == [0.0, 0.25, 0.5, 0.75]


def test_frame_encoder_meets_the_contract_and_sees_each_frame_alone() -> None:
    init = {**CMR_ENCODER["init_args"], "frames": 4, "height": 32, "width": 40}
    encoder = require_encoder(CMRFrameResNet(**init)).eval()
    x = torch.rand(2, 4, 32, 40, generator=torch.Generator().manual_seed(0))
    tokens = encoder.forward_tokens(x)
    assert tokens.shape == (2, 4, encoder.feature_dim)
    torch.testing.assert_close(encoder(x), tokens.mean(dim=1))
    shuffled = encoder.forward_tokens(x[:, [2, 0, 3, 1]])
    torch.testing.assert_close(shuffled, tokens[:, [2, 0, 3, 1]])
    assert {encoder.layer_of(name) for name, _ in encoder.named_parameters()} == {0, 1, 2, 3, 4}
    with pytest.raises(ValueError, match="expected CMR images"):
        encoder(x[:, :3])
