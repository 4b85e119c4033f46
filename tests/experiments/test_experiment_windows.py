"""Features averaged over windows of each recording, and kept apart from those of other windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecgcmr.encoders import ECGCNN, export_encoder, load_encoder
from ecgcmr.errors import UserError
from ecgcmr.experiments.features import encoder_features
from ecgcmr.shards import ShardIndex, read_ecgs

ENCODER: dict[str, Any] = {"samples": 40, "widths": [8, 8]}


@pytest.fixture
def encoder_folder(tmp_path: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = ECGCNN(**ENCODER)
    export_encoder(
        encoder, tmp_path / "encoder", class_path="ecgcmr.encoders.ECGCNN", init_args=ENCODER, fingerprint=None
    )
    return tmp_path / "encoder"


def test_features_are_the_mean_over_windows_from_the_first_to_the_last_place(
    cohort_root: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    index = ShardIndex.load(cohort_root)
    rows = index.positions(None, ("ecg",))[:5]
    stored = index.layout.ecg.samples if index.layout.ecg else 0
    cache = tmp_path / "features"

    encoder = load_encoder(encoder_folder).eval()

    def crop(start: int) -> np.ndarray:
        with torch.inference_mode():
            return encoder(torch.from_numpy(read_ecgs(index, rows, start, 40))).numpy()

    starts = [0, (stored - 40) // 2, stored - 40]
    expected = np.mean([crop(start) for start in starts], axis=0)
    single = encoder_features(encoder_folder, index, rows, cache, windows=1)
    several = encoder_features(encoder_folder, index, rows, cache, windows=3)
    np.testing.assert_allclose(single, crop(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(several, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(several - single).max() > 1e-3  # the kept single windows were not taken for these


def test_more_windows_than_places_are_refused_by_the_name_of_the_entry(
    cohort_root: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    index = ShardIndex.load(cohort_root)
    stored = index.layout.ecg.samples if index.layout.ecg else 0
    with pytest.raises(UserError, match=r"evaluation\.windows"):
        encoder_features(encoder_folder, index, index.positions(None, ("ecg",)), tmp_path, windows=stored)
