"""Masked autoencoder by config: ways of masking, second view, probes, lead subsets, missing leads, adapted weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_configs import ENCODER, write_config

from data_modules.sampling import PURPOSE
from ecgcmr.cli import main
from ecgcmr.encoders import ECGVisionTransformer, load_encoder
from ecgcmr.row_random import RowGenerator
from ecgcmr.shards import ECGLayout, Layout, ShardRows, write_index, write_shard
from ecgcmr.shards.layout import LEAD_FLAGS
from ecgcmr.shards.shard import LeadQuality
from ecgcmr.stages import ECGMaskedAutoencoder
from ecgcmr.stages.figures import lead_names, reconstruction_figure
from ecgcmr.stages.masked_autoencoder import SecondViewSettings
from ecgcmr.stages.randomness import training_noise
from ecgcmr.stages.whole_split import cross_fitted_scores

BY_LEAD = {**ENCODER, "init_args": {**ENCODER["init_args"], "patch_size": [1, 250]}}
DECODER = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
SPANS = {"class_path": "ecgcmr.encoders.TimePatchMasking", "init_args": {"spans": 3}}
JITTER = {"class_path": "ecgcmr.augmentations.ECGAugmentation", "init_args": {"jitter_sigma": 0.1}}
SOME = ["I", "II", "V1"]
OF_SOME = {**BY_LEAD, "init_args": {**BY_LEAD["init_args"], "leads": 3, "lead_rows": [0, 1, 6], "samples": 500}}


def write_mae(folder: Path, root: Path, encoder: dict, data: dict | None = None, **model: Any) -> Path:
    given = {"encoder": encoder, **DECODER, **model}
    return write_config(folder / "mae.yaml", "ECGMaskedAutoencoder", given, "ECGDataModule", root, **(data or {}))


def _fit(config: Path, *arguments: str) -> dict[str, float]:
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1", *arguments]) == 0
    metrics = json.loads((config.with_suffix("") / "metrics.json").read_text())["fit"]
    assert all(np.isfinite(value) for value in metrics.values())
    return metrics


def _error(config: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["fit", "-c", str(config), *arguments]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize(("masking", "encoder"), [("lead", BY_LEAD), ("time", ENCODER), (SPANS, ENCODER)])
def test_every_masking_trains(masking: Any, encoder: dict, tmp_path: Path, cohort_root: Path) -> None:
    metrics = _fit(write_mae(tmp_path, cohort_root, encoder, masking=masking, mask_ratio=0.6))
    assert metrics["val/loss"] > 0


def test_masking_over_whole_patches_of_leads_is_refused(
    tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "patch_size" in _error(write_mae(tmp_path, cohort_root, ENCODER, masking="lead"), capsys)


@pytest.mark.long
def test_second_view_trains_and_leaves_the_export_as_it_is(tmp_path: Path, cohort_root: Path) -> None:
    second = {"weight": 0.5, "size": 16, "hidden": 8, "augmentation": JITTER}
    config = write_mae(
        tmp_path, cohort_root, ENCODER, second_view=second, probe="linear", data={"labels": ["cad_ever", "age"]}
    )
    metrics = _fit(config)
    assert 0 < metrics["train/disagreement"] < 2
    assert 0 <= metrics["val/probe_auroc"] <= 1
    assert metrics["val/probe_r2"] <= 1
    names = set(load_encoder(config.with_suffix("")).state_dict())
    assert names == set(ECGVisionTransformer(**ENCODER["init_args"]).state_dict())


@pytest.mark.long
def test_lead_subset_and_adapted_weights(tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From twelve leads and 1,000 samples to three leads and 500, then to a regression; never without being asked."""
    source = tmp_path / "twelve"
    source.mkdir()
    whole = write_mae(source, cohort_root, BY_LEAD)
    _fit(whole)
    run = whole.with_suffix("")
    few = {"leads": SOME, "samples": 500}
    config = write_mae(tmp_path, cohort_root, OF_SOME, few, encoder_weights=str(run), optimiser={"lr": 0.0})
    assert "encoder expects input" in _error(config, capsys)
    _fit(config, "--model.adapt_encoder_weights=true")
    adapted, before = load_encoder(config.with_suffix("")).state_dict(), load_encoder(run).state_dict()
    assert adapted["pos_embed"].shape == (1, 1 + 3 * 2, 32)
    assert all(torch.equal(adapted[name], before[name]) for name in before if name != "pos_embed")
    line = _error(write_mae(tmp_path, cohort_root, BY_LEAD, {"leads": SOME}), capsys, "--overwrite")
    assert "takes leads 12, lead_rows None, the data gives leads 3, lead_rows [0, 1, 6]" in line
    others = {**OF_SOME, "init_args": {**OF_SOME["init_args"], "lead_rows": None}}
    line = _error(write_mae(tmp_path, cohort_root, others, few), capsys, "--overwrite")
    assert "takes lead_rows [0, 1, 2], the data gives lead_rows [0, 1, 6]" in line
    assert "data.leads" in line
    arguments = {"encoder": OF_SOME, "encoder_weights": str(run), "adapt_encoder_weights": True}
    labels = {**few, "labels": ["lv_edv"]}
    config = write_config(
        tmp_path / "reg.yaml", "PhenotypeRegression", arguments, "LabelledDataModule", cohort_root, **labels
    )
    _fit(config)


@pytest.fixture(scope="module")
def marked_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 + 4 ECGs of noise; half of the leads of each are missing and hold a huge number in place of zeros."""
    layout = Layout(ecg=replace(ECGLayout(), samples=200, quality=True), cmr=None)
    random = np.random.default_rng(0)
    flags = np.zeros((16, 12), dtype=np.uint8)
    for row in flags:
        row[random.permutation(12)[:6]] = 1 << LEAD_FLAGS.index("missing")
    ecg = random.standard_normal((16, 12, 200), dtype=np.float32)
    ecg[flags > 0] = 6e4
    rows = ShardRows(
        subject=[f"{i:032x}" for i in range(16)],
        split=["train"] * 12 + ["val"] * 4,
        ecg=ecg,
        has_ecg=np.ones(16, dtype=bool),
        cmr=None,
        has_cmr=np.zeros(16, dtype=bool),
        labels=np.empty((16, 0), dtype=np.float32),
        quality=LeadQuality(flags, np.ones((16, 12), dtype=np.float32)),
    )
    root = tmp_path_factory.mktemp("marked")
    write_index(root, layout, [write_shard(root / "shards" / "shard-00000.h5", layout, rows)])
    return root


@pytest.mark.long
@pytest.mark.parametrize("masking", ["random", "lead"])
def test_missing_leads_count_nowhere(masking: str, marked_root: Path, tmp_path: Path) -> None:
    encoder = {**BY_LEAD, "init_args": {**BY_LEAD["init_args"], "samples": 200, "patch_size": [1, 50]}}
    data = {"samples": 200, "batch_size": 6, "leave_out_leads": ["missing"]}
    second = {"weight": 0.1, "size": 8, "hidden": 4}
    metrics = _fit(write_mae(tmp_path, marked_root, encoder, data, masking=masking, second_view=second))
    assert metrics["val/mse"] < 10  # of noise of variance 1; the missing leads' numbers would make it 1e9
    assert metrics["train/mse"] < 10


def test_encoders_that_cannot_leave_leads_out_are_refused(
    marked_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = {**ENCODER, "init_args": {**ENCODER["init_args"], "samples": 200}}
    config = write_mae(tmp_path, marked_root, encoder, {"samples": 200, "leave_out_leads": ["missing"]}, mask_ratio=0.5)
    line = _error(config, capsys)
    assert "model.encoder: data.leave_out_leads is set" in line
    assert "patches of one lead" in line


def test_weight_zero_adds_nothing() -> None:
    def stage(**changes: Any) -> ECGMaskedAutoencoder:
        torch.manual_seed(0)
        return ECGMaskedAutoencoder(ECGVisionTransformer(**ENCODER["init_args"]), 16, 1, 2, **changes)

    batch = {"ecg": torch.randn(4, 12, 1000), "row": torch.arange(4)}
    losses, names = [], []
    for settings in (None, SecondViewSettings(0.0), SecondViewSettings(1.0, 8, 4)):
        model = stage(second_view=settings)
        names.append(list(model.state_dict()))
        losses.append(model.training_step(batch, 0).item())
        assert {name for name in names[0] if name.startswith("encoder.")} == {
            name for name in names[-1] if name.startswith("encoder.")
        }
    assert losses[0] == losses[1] != losses[2]
    assert names[0] == names[1] != names[2]


def test_masks_share_no_stream_with_anything_else() -> None:
    """NumPy takes (seed, epoch) and (seed, epoch, 0) for one key; a purpose second in every key keeps them apart."""
    rows, draws = torch.arange(3), 40
    epochs = range(len(PURPOSE) + 2)
    masks = [training_noise(rows, draws, 0, epoch) for epoch in epochs]
    others = [training_noise(rows, draws, 0, epoch, purpose=PURPOSE.second_mask) for epoch in epochs]
    others += [
        RowGenerator(rows, 0, purpose, epoch).uniform(draws)
        for purpose in PURPOSE
        for epoch in epochs
        if purpose not in (PURPOSE.mask, PURPOSE.second_mask)
    ]
    everything = torch.stack([*masks, *others])
    assert len({tuple(row.tolist()) for row in everything.flatten(0, 1)}) == len(everything) * len(rows)
    assert len(set(PURPOSE)) == len(PURPOSE)
    alone = training_noise(rows[1:2], draws, 0, 3)
    assert torch.equal(alone, masks[3][1:2])


def test_probe_kinds() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=generator, requires_grad=True)
    number = x.detach() @ torch.randn(5, 1, generator=generator)
    labels = torch.cat([number, (number > 0).float(), torch.randn(200, 1, generator=generator)], dim=1)
    labels[::7, 0] = torch.nan
    plain = cross_fitted_scores(x, labels, penalty=0.0)
    assert plain["r2"][0].item() == pytest.approx(1.0, abs=1e-9)
    assert plain["auroc"][1] > 0.97
    assert plain["r2"][2] < 0.1
    assert torch.isnan(plain["auroc"][[0, 2]]).all()
    ridge = cross_fitted_scores(x, labels, penalty=0.1)
    assert 0.9 < ridge["r2"][0] < 0.999
    assert not ridge["r2"].requires_grad
    wide = torch.randn(20, 60, generator=generator)
    assert torch.isfinite(cross_fitted_scores(wide, wide[:, :1], penalty=0.0)["r2"]).all()


def test_leads_have_names_in_figures() -> None:
    assert lead_names(3, (0, 1, 6)) == ["I", "II", "V1"]
    assert lead_names(12, None)[-1] == "V6"
    assert lead_names(2, None) == ["1", "2"]


def test_each_lead_of_a_reconstruction_is_drawn_in_its_own_row_over_its_own_range() -> None:
    time = np.arange(40, dtype=np.float32)
    signal = np.stack([np.sin(time), 1000 * np.cos(time), np.zeros(40)]).astype(np.float32)
    removed = np.zeros((3, 40), dtype=bool)
    removed[1, 10:20] = True
    figure = reconstruction_figure(signal, signal / 2, removed, 10.0, ["I", "II", "V1"])
    [axes] = figure.axes
    curves = [line.get_ydata() for line in axes.lines]
    assert len(curves) == 6
    for lead, ground in enumerate((2, 1, 0)):  # from the top
        drawn = np.stack(curves[2 * lead : 2 * lead + 2])
        assert ground < drawn.min() <= drawn.max() < ground + 1
        if lead < 2:
            assert np.ptp(drawn[0]) > 0.8
            assert np.corrcoef(drawn[0], signal[lead])[0, 1] == pytest.approx(1.0)
            assert np.ptp(drawn[1]) == pytest.approx(np.ptp(drawn[0]) / 2)
    grounds = [path for part in axes.collections[:3] for path in part.get_paths()]
    assert len(grounds) == 1
    box = grounds[0].get_extents()
    assert box.bounds == pytest.approx((1.0, 1.0, 0.9, 1.0))  # from the first sample removed to the last, a row high
    assert dict(zip((text.get_text() for text in axes.get_yticklabels()), axes.get_yticks(), strict=True)) == {
        "V1": 0.5,
        "II": 1.5,
        "I": 2.5,
    }
