"""Features of a finished encoder for every recording of a cohort, computed once and kept in the experiment's folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules import cut_windows, window_starts
from data_modules.batch import to_float
from ecgcmr.encoders import View, load_encoder, read_encoder_card
from ecgcmr.encoders.kernels import use_kernels
from ecgcmr.encoders.layer_features import layer_features
from ecgcmr.encoders.readout import read_out
from ecgcmr.errors import UserError
from ecgcmr.evaluation.finite_values import require_finite_features
from ecgcmr.experiments.kept_results import kept_arrays
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.files import write_atomically
from ecgcmr.preparation.t_end import t_end_of
from ecgcmr.probes.ecg_features import FEATURE_NAMES, FEATURES_VERSION, IN_MILLIVOLTS, extract_features
from ecgcmr.shards import ShardIndex, read_cmr, read_ecgs
from ecgcmr.shards.layout import LEADS
from ecgcmr.shards.recipe import comes_in_volts, recipe_of
from ecgcmr.speed_choices.choose import FULL_PRECISION, choose_on_cpu
from ecgcmr.stages.preparation_check import check_encoder_preparation

_BLOCK = 256
CLASSICAL = "the classical ECG features"
CLASSICAL_FOLDER = "classical"
"""Below ``features`` of an experiment's folder; no encoder is called so."""
LAYERS_FOLDER, IMAGES_FOLDER = "{}@layers", "{}@images"


def encoder_features(
    encoder_folder: Path,
    index: ShardIndex,
    rows: NDArray[np.int64],
    cache: Path,
    windows: int = 1,
    trusted: Collection[str] = (),
) -> NDArray:
    """Return pooled features of an exported encoder, averaged over windows of each recording.

    Args:
        encoder_folder: Holds ``encoder.safetensors`` and ``encoder.yaml``.
        index: The cohort.
        rows: (n,) positions of recordings in the index.
        cache: Folder that keeps the result; recognised by weights, cohort, rows and windows.
        windows: How many, spread evenly; 1 is the first samples alone.
        trusted: Modules or classes beside this package's that the encoder may be of.

    Returns:
        (n, D) float32.

    Raises:
        UserError: If the encoder takes other leads or another sampling rate, or was trained on recordings of another
            preparation, the recordings have no place for so many windows, or a feature is not finite.
    """
    method = f"the encoder of {encoder_folder.name}"
    fingerprint = encoder_fingerprint(encoder_folder, index, rows, windows)
    if is_finished(cache, fingerprint):
        return _kept(cache, method)
    encoder, length = _checked(encoder_folder, index, windows, trusted)
    device = _placed(encoder)

    def read(ecg: Tensor) -> Tensor:
        return read_out(encoder, None, View(ecg))

    parts = list(_read_all(read, index, rows, length, (encoder.input_spec.samples, windows), device))
    return _keep(np.concatenate(parts), cache, fingerprint, method)


def layer_fingerprint(encoder_folder: Path, index: ShardIndex, rows: NDArray[np.int64], windows: int) -> str:
    """Return what recognises the kept features of an encoder's layers; arguments as of ``encoder_features``."""
    return fingerprint_of({"layers_of": encoder_fingerprint(encoder_folder, index, rows, windows)})


def encoder_layers(
    encoder_folder: Path,
    index: ShardIndex,
    rows: NDArray[np.int64],
    cache: Path,
    windows: int = 1,
    trusted: Collection[str] = (),
) -> list[NDArray]:
    """Return features of each layer of an exported encoder, means over its tokens and over windows of each recording.

    Arguments, and what is refused, as of ``encoder_features``.

    Returns:
        (n, D) float32 of layers 1 to ``num_layers`` - 1.
    """
    method = f"the layers of the encoder of {encoder_folder.name}"

    def compute() -> dict[str, NDArray]:
        encoder, length = _checked(encoder_folder, index, windows, trusted)
        encoder.to("cuda" if torch.cuda.is_available() else "cpu")  # by plain modules: faster ways may leave some out
        widths: list[int] = []

        def read(ecg: Tensor) -> Tensor:
            """Return the features of all layers side by side, means over windows: (B, widths of all layers)."""
            found = layer_features(encoder, ecg.flatten(0, 1))
            widths[:] = [each.shape[1] for each in found]
            return torch.cat(found, dim=1).unflatten(0, ecg.shape[:2]).mean(dim=1)

        device = next(encoder.parameters()).device
        parts = list(_read_all(read, index, rows, length, (encoder.input_spec.samples, windows), device))
        features = np.concatenate(parts)
        require_finite_features(features, method)
        bounds = np.cumsum([0, *widths])
        return {str(k + 1): features[:, bounds[k] : bounds[k + 1]] for k in range(len(widths))}

    kept = kept_arrays(cache, layer_fingerprint(encoder_folder, index, rows, windows), compute)
    return [kept[name] for name in sorted(kept, key=int)]


def image_features(
    encoder_folder: Path, index: ShardIndex, rows: NDArray[np.int64], cache: Path, trusted: Collection[str] = ()
) -> NDArray:
    """Return pooled features of an exported encoder of images; arguments and result as of ``encoder_features``.

    Raises:
        UserError: If the cohort stores no such frames, or prepared otherwise than those it was trained on, or a feature
            is not finite.
    """
    method = f"the image encoder of {encoder_folder.parent.name}"
    fingerprint = encoder_fingerprint(encoder_folder, index, rows, 1)
    if is_finished(cache, fingerprint):
        return _kept(cache, method)
    encoder: Any = load_encoder(encoder_folder, trusted).eval()
    spec, stored = encoder.input_spec, index.layout.cmr
    if stored is None or len(stored.frames) != spec.frames:
        there = "none" if stored is None else f"{len(stored.frames)}"
        raise UserError(f"{encoder_folder}: the encoder takes {spec.frames} frames, the cohort has {there}")
    recipe = recipe_of(index.layout, "cmr")
    check_encoder_preparation(
        read_encoder_card(encoder_folder), encoder_folder, recipe, index.layout, "evaluation.teacher"
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder.to(device)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), _BLOCK):
            frames = torch.from_numpy(read_cmr(index, rows[start : start + _BLOCK])).to(device)
            as_stored = frames.shape[-2:] == (spec.height, spec.width)
            x = to_float({"cmr": frames}, None if as_stored else spec.height)["cmr"]
            parts.append(View(x).features(encoder).float().cpu().numpy())
    return _keep(np.concatenate(parts), cache, fingerprint, method)


def _checked(encoder_folder: Path, index: ShardIndex, windows: int, trusted: Collection[str]) -> tuple[Any, int]:
    """Return an encoder that fits a cohort, and how much of each recording it reads; errors of ``encoder_features``."""
    card = read_encoder_card(encoder_folder)
    encoder: Any = load_encoder(encoder_folder, trusted).eval()
    specification = encoder.input_spec
    if index.layout.ecg is None or len(index.layout.ecg.leads) != specification.leads:
        raise UserError(f"{encoder_folder}: the encoder takes {specification.leads} leads, the cohort has others")
    if index.layout.ecg.sampling_rate != specification.sampling_rate:
        rates = f"{specification.sampling_rate:g} Hz, the cohort has {index.layout.ecg.sampling_rate:g} Hz"
        remedy = "prepare the cohort at the encoder's rate"
        if specification.preparation is not None:
            remedy = f"import it with --sampling-rate {index.layout.ecg.sampling_rate:g}"
        raise UserError(f"{encoder_folder}: the encoder takes {rates}; {remedy}")
    recipe = recipe_of(index.layout, "ecg")
    check_encoder_preparation(card, encoder_folder, recipe, index.layout, "evaluation.linear_probe")
    stored, samples = index.layout.ecg.samples, specification.samples
    length = window_starts(stored, samples, windows, "evaluation.windows")[-1] + samples
    return encoder, length


def _placed(encoder: Any) -> torch.device:
    """Move an encoder to where it runs, in the fastest way that is known there."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        use_kernels(encoder, choose_on_cpu(torch.nn.ModuleList([encoder]), FULL_PRECISION, training=False).kernels)
    encoder.to(device)
    return device


def _read_all(
    read: Callable[[Tensor], Tensor],
    index: ShardIndex,
    rows: NDArray[np.int64],
    length: int,
    cut: tuple[int, int],
    device: torch.device,
) -> Iterator[NDArray]:
    """Give what is read of windows (B, W, leads, samples) of the recordings, block by block."""
    with torch.inference_mode():
        for start in range(0, len(rows), _BLOCK):
            ecg = torch.from_numpy(read_ecgs(index, rows[start : start + _BLOCK], length=length)).to(device)
            yield read(cut_windows(ecg, *cut)).float().cpu().numpy()


def classical_features(index: ShardIndex, rows: NDArray[np.int64], cache: Path, workers: int) -> NDArray:
    """Return classical ECG features (amplitudes, intervals, axes) of the recordings; NaN where undefined.

    Indices of voltage are NaN throughout where the recordings came in z-scores.

    Args:
        index: The cohort.
        rows: (n,) positions of recordings in the index.
        cache: Folder that keeps the result.
        workers: Processes.

    Returns:
        (n, F) float32.

    Raises:
        UserError: The cohort's ECGs have other leads than the twelve, or a feature is infinite.
    """
    ecg = index.layout.ecg
    if ecg is None or ecg.leads != LEADS:
        raise UserError(f"{index.root}: classical features need the leads {', '.join(LEADS)}, the cohort has others")
    t_end, fingerprint = t_end_of(index.layout), classical_fingerprint(index, rows)
    if is_finished(cache, fingerprint):
        return _kept(cache, CLASSICAL, gaps=True)
    parts = []
    for start in range(0, len(rows), 4 * _BLOCK):
        signals = read_ecgs(index, rows[start : start + 4 * _BLOCK])
        parts.append(extract_features(signals, ecg.sampling_rate, workers, t_end=t_end).values)
    features = np.concatenate(parts).astype(np.float32)
    if not comes_in_volts(index.layout):
        features[:, [FEATURE_NAMES.index(name) for name in IN_MILLIVOLTS]] = np.nan
    return _keep(features, cache, fingerprint, CLASSICAL, gaps=True)


def encoder_fingerprint(encoder_folder: Path, index: ShardIndex, rows: NDArray[np.int64], windows: int) -> str:
    """Return what recognises the kept features of an encoder; arguments as of ``encoder_features``."""
    card = read_encoder_card(encoder_folder)  # two encoders of the same weights may differ in how they pool
    encoder = {"class_path": card.class_path, "init_args": card.init_args, "weights": card.sha256}
    return fingerprint_of({"encoder": encoder, "windows": windows, **_identity(index, rows)})


def classical_fingerprint(index: ShardIndex, rows: NDArray[np.int64]) -> str:
    """Return what recognises the kept classical features; arguments as of ``classical_features``."""
    rate = None if index.layout.ecg is None else index.layout.ecg.sampling_rate
    identity = {"sampling_rate": rate, "t_end": t_end_of(index.layout), **_identity(index, rows)}
    return fingerprint_of({"features": "classical", "version": FEATURES_VERSION, **identity})


def _identity(index: ShardIndex, rows: NDArray[np.int64]) -> dict[str, object]:
    return {"shards": [shard["sha256"] for shard in index.shards], "rows": fingerprint_of(rows.tolist())}


def _kept(cache: Path, method: str, gaps: bool = False) -> NDArray:
    features = np.load(cache / "features.npy", allow_pickle=False)
    require_finite_features(features, f"{method} (kept in {cache.parent.name}/{cache.name})", gaps=gaps)
    return features


def _keep(features: NDArray, cache: Path, fingerprint: str, method: str, gaps: bool = False) -> NDArray:
    require_finite_features(features, method, gaps=gaps)
    image = io.BytesIO()  # NumPy's message about a full disk names neither file nor reason
    np.save(image, features, allow_pickle=False)
    write_atomically(cache / "features.npy", image.getvalue())
    write_marker(cache, fingerprint, finished=True)
    return features
