"""An experiment refuses features of a network that are not finite, fresh and kept, before anything is scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_configs
import torch

from ecgcmr.encoders import ECGVisionTransformer, export_encoder
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
