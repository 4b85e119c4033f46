"""Features averaged over windows of a recording, against the same crops cut by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from tiny_configs import CMR_ENCODER, ENCODER
from torch import Tensor

from data_modules import LabelledDataModule
from ecgcmr.encoders import ECGCNN, CMRResNet, ECGVisionTransformer, View
from ecgcmr.encoders.readout import AttentionReadout, read_out
from ecgcmr.encoders.window_pooling import WindowAttention
from ecgcmr.errors import UserError
from ecgcmr.shards import read_ecgs, read_labels
from ecgcmr.stages import (
    DiagnosisClassification,
    ECGMaskedAutoencoder,
    OptimiserSettings,
    PhenotypeRegression,
    TimeToEvent,
)

STARTS = (0, 1333, 2666, 4000)
"""Of four windows of 1,000 samples among 5,000."""
FAST = OptimiserSettings(lr=0.01, weight_decay=0.0)


def vision_transformer(**options: Any) -> ECGVisionTransformer:
    return ECGVisionTransformer(**{**ENCODER["init_args"], **options})


def cnn() -> ECGCNN:
    return ECGCNN(samples=1000, widths=[8, 16])


def quiet_trainer() -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_epochs=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.parametrize("attends", [False, True], ids=["own", "attention"])
@pytest.mark.parametrize("masked", [False, True], ids=["all-leads", "some-leads"])
def test_features_are_the_mean_over_windows(attends: bool, masked: bool) -> None:
    encoder = vision_transformer(patch_size=(1, 100)).eval()
    readout = AttentionReadout(encoder.feature_dim, 2).eval() if attends else None
    windows = torch.randn(3, 4, 12, 1000, generator=torch.Generator().manual_seed(1))
    mask = None
    if masked:
        mask = torch.ones(3, 12, dtype=torch.bool)
        mask[0, 3] = mask[1, :6] = mask[2, 11] = False
    with torch.no_grad():
        got = read_out(encoder, readout, View(windows, mask))
        each = [read_out(encoder, readout, View(windows[:, window], mask)) for window in range(4)]
    assert got.shape == (3, encoder.feature_dim)
    torch.testing.assert_close(got, torch.stack(each).mean(dim=0))
    assert not torch.allclose(got, each[0], atol=1e-3)


def test_frames_are_no_windows() -> None:
    encoder = CMRResNet(**CMR_ENCODER["init_args"]).eval()
    frames = torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(read_out(encoder, None, View(frames)), encoder(frames))


def test_the_mean_over_windows_is_not_rounded() -> None:
    encoder = vision_transformer().eval()
    with torch.no_grad():
        half = encoder.bfloat16()
        windows = torch.randn(2, 3, 12, 1000).bfloat16()
        features = read_out(half, None, View(windows))
    assert features.dtype == torch.float32
    assert not torch.equal(features, features.bfloat16().float())


def by_hand(stage: Any, data: LabelledDataModule, split: str) -> Tensor:
    """Return the head's outputs for a split, from four runs of the encoder on crops cut here."""
    rows = data.rows(split)
    whole = torch.from_numpy(read_ecgs(data.index, rows))
    stage.eval()
    with torch.no_grad():
        crops = [whole[:, :, start : start + 1000] for start in STARTS]
        if stage.readout is None:
            features = [stage.encoder(crop) for crop in crops]
        else:
            features = [stage.readout(stage.encoder.forward_tokens(crop)) for crop in crops]
        mean = torch.stack(features).mean(dim=0)
        if stage.covariates is not None:
            covariates = torch.from_numpy(read_labels(data.index, data.covariate_names, rows))
            mean = torch.cat([mean, stage.covariates(covariates)], dim=1)
        return stage.head(mean)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "encoder", "protocol", "targets"),
    [
        (PhenotypeRegression, cnn, "finetune", {"labels": ["lv_edv", "lv_ef"], "covariates": ["age", "sex"]}),
        (PhenotypeRegression, vision_transformer, "attention_probe", {"labels": ["lv_edv", "lv_ef"]}),
        (DiagnosisClassification, vision_transformer, "linear_probe", {"labels": ["cad_ever", "af_ever"]}),
        (TimeToEvent, vision_transformer, "finetune", {"diseases": ["cad", "af"]}),
    ],
)
def test_predictions_are_those_of_crops_cut_by_hand(
    cohort_root: Path, make: Any, encoder: Any, protocol: str, targets: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    stage = make(encoder(), protocol=protocol, optimiser=FAST)
    data = LabelledDataModule(cohort_root, batch_size=8, samples=1000, evaluation_windows=4, **targets)
    trainer = quiet_trainer()
    trainer.fit(stage, datamodule=data)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    values, rows = data.label_values(), data.rows("val")
    assert values is not None
    val = torch.from_numpy(values[rows])
    further = {"years": torch.from_numpy(data._years[rows])} if data.diseases else {}
    loss = stage._loss(by_hand(stage, data, "val"), stage._targets({"labels": val, **further}))
    assert metrics["val/loss"] == pytest.approx(float(loss), rel=1e-4)
    trainer.test(stage, datamodule=data, verbose=False)
    parts: Any = trainer.predict(stage, datamodule=data)
    got = torch.cat([part["prediction"][part["valid"]] for part in parts])
    expected = stage._to_prediction(by_hand(stage, data, "test"))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    # The first window alone says something else.
    once = LabelledDataModule(cohort_root, batch_size=8, samples=1000, **targets)
    first: Any = trainer.predict(stage, datamodule=once)
    assert not torch.allclose(torch.cat([part["prediction"] for part in first]), got, rtol=1e-4, atol=1e-5)


def test_pre_training_takes_one_window(cohort_root: Path) -> None:
    stage = ECGMaskedAutoencoder(vision_transformer(), decoder_width=16, decoder_depth=1, decoder_heads=2)
    data = LabelledDataModule(cohort_root, ["lv_edv"], samples=1000, evaluation_windows=4)
    with pytest.raises(UserError, match="evaluation_windows 4: ECGMaskedAutoencoder takes one window"):
        quiet_trainer().fit(stage, datamodule=data)


def test_attention_over_windows_begins_as_their_mean() -> None:
    pooling, features = WindowAttention(8), torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(pooling(features), features.mean(dim=1))
    assert torch.equal(pooling(features[:, :1]), features[:, 0])
    pooling(features).square().sum().backward()
    assert pooling.query.grad is not None
    assert torch.count_nonzero(pooling.query.grad) == 8
    with torch.no_grad():
        pooling.query.normal_(generator=torch.Generator().manual_seed(2))
    assert not torch.allclose(pooling(features), features.mean(dim=1), atol=1e-3)
    torch.testing.assert_close(pooling(features[:, :1]), features[:, 0])
    torch.testing.assert_close(pooling(features.flip(1)), pooling(features))
    # It looks at what windows say, not at how large an encoder's features are.
    torch.testing.assert_close(pooling(100 * features), 100 * pooling(features), rtol=1e-3, atol=1e-3)


def test_attention_over_windows_is_trained_with_the_head_and_used_everywhere(cohort_root: Path) -> None:
    stages = []
    for pooling in ("mean", "attention"):
        torch.manual_seed(0)
        stage = PhenotypeRegression(cnn(), window_pooling=pooling, optimiser=FAST, trained="last:1")
        data = LabelledDataModule(
            cohort_root, ["lv_edv"], batch_size=16, samples=1000, train_windows=2, evaluation_windows=3
        )
        quiet_trainer().fit(stage, datamodule=data)
        stages.append(stage)
    names = {name for group in stages[1].configure_optimizers()["optimizer"].param_groups for name in [group["name"]]}
    assert names == {"layer2", "layer2_no_decay", "heads", "heads_no_decay"}
    mean, attention = stages
    assert torch.count_nonzero(attention.window_pooling.query) > 0
    x = torch.randn(2, 3, 12, 1000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        attention.eval()
        batch = {"ecg": x, "labels": torch.zeros(2, 1)}
        features = attention.window_pooling(attention.encoder(x.flatten(0, 1)).unflatten(0, (2, 3)))
        torch.testing.assert_close(attention._output(batch), attention.head(features))
        torch.testing.assert_close(attention(x), attention.head(features))
    assert not torch.equal(mean.head.weight, attention.head.weight)


@pytest.mark.parametrize("train_windows", [1, 2])
def test_training_on_windows_is_for_stages_that_take_them(cohort_root: Path, train_windows: int) -> None:
    data = LabelledDataModule(cohort_root, ["lv_edv"], samples=1000, train_windows=train_windows)
    if train_windows == 1:
        stage: Any = PhenotypeRegression(cnn(), window_pooling="attention")
        message = "attention, which learns nothing from one window .*: set data.train_windows to 2 or more"
    else:
        stage = ECGMaskedAutoencoder(vision_transformer(), decoder_width=16, decoder_depth=1, decoder_heads=2)
        message = "train_windows 2: ECGMaskedAutoencoder takes one window"
    with pytest.raises(UserError, match=message):
        quiet_trainer().fit(stage, datamodule=data)
