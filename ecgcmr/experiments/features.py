"""Features of a finished encoder for every recording of a cohort, computed once and kept in the experiment's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_modules import ShardIndex, cut_windows, read_ecgs, window_starts
from ecgcmr.encoders import load_encoder, read_encoder_card
from ecgcmr.encoders.kernels import use_kernels
from ecgcmr.errors import UserError
from ecgcmr.evaluation.ecg_features import FEATURES_VERSION, extract_features
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.files import replace_atomically
from ecgcmr.speed_choices.choose import FULL_PRECISION, choose_on_cpu
from ecgcmr.stages.readout import read_out

_BLOCK = 256


def encoder_features(
    encoder_folder: Path, index: ShardIndex, rows: NDArray[np.int64], cache: Path, windows: int = 1
) -> NDArray:
    """Return pooled features of an exported encoder, averaged over windows of each recording.

    Args:
        encoder_folder: Holds ``encoder.safetensors`` and ``encoder.yaml``.
        index: The cohort.
        rows: (n,) positions of recordings in the index.
        cache: Folder that keeps the result; recognised by weights, cohort, rows and windows.
        windows: How many, spread evenly; 1 is the first samples alone.

    Returns:
        (n, D) float32.

    Raises:
        UserError: If the encoder takes other leads, or the recordings have no place for so many windows.
    """
    card = read_encoder_card(encoder_folder)
    fingerprint = fingerprint_of({"weights": card.sha256, "windows": windows, **_identity(index, rows)})
    if is_finished(cache, fingerprint):
        return np.load(cache / "features.npy", allow_pickle=False)
    encoder = load_encoder(encoder_folder).eval()
    specification: Any = encoder.input_spec
    if index.layout.ecg is None or len(index.layout.ecg.leads) != specification.leads:
        raise UserError(f"{encoder_folder}: the encoder takes {specification.leads} leads, the cohort has others")
    stored, samples = index.layout.ecg.samples, specification.samples
    length = window_starts(stored, samples, windows, "evaluation.windows")[-1] + samples
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        use_kernels(encoder, choose_on_cpu(torch.nn.ModuleList([encoder]), FULL_PRECISION, training=False).kernels)
    encoder.to(device)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), _BLOCK):
            ecg = torch.from_numpy(read_ecgs(index, rows[start : start + _BLOCK], length=length)).to(device)
            parts.append(read_out(encoder, None, cut_windows(ecg, samples, windows)).float().cpu().numpy())
    return _keep(np.concatenate(parts), cache, fingerprint)


def classical_features(index: ShardIndex, rows: NDArray[np.int64], cache: Path, workers: int) -> NDArray:
    """Return classical ECG features (amplitudes, intervals, axes) of the recordings; NaN where undefined.

    Args:
        index: The cohort.
        rows: (n,) positions of recordings in the index.
        cache: Folder that keeps the result.
        workers: Processes.

    Returns:
        (n, F) float32.
    """
    fingerprint = fingerprint_of({"features": "classical", "version": FEATURES_VERSION, **_identity(index, rows)})
    if is_finished(cache, fingerprint):
        return np.load(cache / "features.npy", allow_pickle=False)
    parts = []
    for start in range(0, len(rows), 4 * _BLOCK):
        ecg = read_ecgs(index, rows[start : start + 4 * _BLOCK])
        parts.append(extract_features(ecg, sampling_rate=500.0, workers=workers).values)
    return _keep(np.concatenate(parts).astype(np.float32), cache, fingerprint)


def _identity(index: ShardIndex, rows: NDArray[np.int64]) -> dict[str, object]:
    return {"shards": [shard["sha256"] for shard in index.shards], "rows": fingerprint_of(rows.tolist())}


def _keep(features: NDArray, cache: Path, fingerprint: str) -> NDArray:
    with replace_atomically(cache / "features.npy") as temporary, temporary.open("wb") as out:
        np.save(out, features, allow_pickle=False)
    write_marker(cache, fingerprint, finished=True)
    return features
