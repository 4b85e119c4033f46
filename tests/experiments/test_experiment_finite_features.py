"""An experiment refuses features of a network that are not finite, fresh and kept, before anything is scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_configs
import torch

from ecgcmr.encoders import ECGResNet, ECGVisionTransformer, export_encoder
from ecgcmr.errors import UserError
from ecgcmr.experiments.features import encoder_features
from ecgcmr.shards import ShardIndex


def exported(folder: Path, factor: float = 1.0) -> Path:
    arguments = tiny_configs.ENCODER["init_args"]
    encoder = ECGVisionTransformer(**arguments)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(factor)
    given: dict[str, Any] = {"class_path": "ecgcmr.encoders.ECGVisionTransformer", "init_args": arguments}
    return export_encoder(encoder, folder, **given)


def test_features_that_are_nan_are_refused_and_not_kept(tmp_path: Path, cohort_root: Path) -> None:
    index = ShardIndex.load(cohort_root)
    rows = index.positions("test", ("ecg",))
    huge = exported(tmp_path / "huge", factor=1e30)  # finite weights, whose products are not
    with pytest.raises(UserError, match=r"^the encoder of huge: features of 12 of 12 recordings are NaN or infinite"):
        encoder_features(huge, index, rows, tmp_path / "features" / "huge")
    assert not (tmp_path / "features" / "huge" / "features.npy").exists()


def test_features_that_were_kept_by_an_earlier_version_are_looked_at(tmp_path: Path, cohort_root: Path) -> None:
    index = ShardIndex.load(cohort_root)
    rows = index.positions("test", ("ecg",))
    folder, cache = exported(tmp_path / "mae"), tmp_path / "features" / "mae"
    features = encoder_features(folder, index, rows, cache)
    assert np.isfinite(features).all()
    features[3, 0] = np.nan
    np.save(cache / "features.npy", features)
    with pytest.raises(UserError, match=r"^the encoder of mae \(kept in features/mae\): features of 1 of 12 rec"):
        encoder_features(folder, index, rows, cache)


def test_features_of_another_pooling_are_not_those_kept_before(tmp_path: Path, cohort_root: Path) -> None:
    index = ShardIndex.load(cohort_root)
    rows, cache = index.positions("test", ("ecg",)), tmp_path / "features"
    arguments: dict[str, Any] = {
        "samples": 1000,
        "variant": "custom",
        "block": "basic",
        "layers": [1] * 4,
        "widths": [8] * 4,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = ECGResNet(**arguments)
    given: dict[str, Any] = {"class_path": "ecgcmr.encoders.ECGResNet"}
    widths = []
    for pooling in ("mean", "mean_max"):  # of the same weights
        init_args = {**arguments, "pooling": pooling}
        folder = export_encoder(encoder, tmp_path / pooling, init_args=init_args, **given)
        widths.append(encoder_features(folder, index, rows, cache).shape[1])
    assert widths[1] == 2 * widths[0]
