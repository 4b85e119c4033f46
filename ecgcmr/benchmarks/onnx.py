"""How fast a model runs in ONNX Runtime, against torch on the same processor."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

import ecgcmr
from ecgcmr.benchmarks.timing import interleaved
from ecgcmr.encoders import ECGVisionTransformer
from ecgcmr.encoders.weights import specification_of
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_entries import EncoderEntry, ModelDescription, Preparation
from ecgcmr.inference.onnx_file import example, export_onnx, run_session, session_of
from ecgcmr.leads import LEADS
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.shards.recipe import RECIPE_VERSION

_BATCH = 16
_ROUNDS = 8


def measure(batch: int = _BATCH, rounds: int = _ROUNDS) -> dict[str, float]:
    """Return the rate of the published encoder in ONNX Runtime, and how many times as fast that is as torch.

    Args:
        batch: Recordings at once.
        rounds: Runs of which the fastest counts.

    Raises:
        UserError: The extra onnx is not installed.
    """
    torch.manual_seed(0)
    model = _published()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(model, path)
        session = session_of(path)
    (x,) = example(model, batch)
    array = x.numpy()

    def by_torch() -> None:
        with torch.inference_mode():
            model(x)

    took = interleaved({"torch": by_torch, "onnx": lambda: run_session(session, array)}, rounds)
    return {"onnx_recordings_per_s": batch / took["onnx"], "onnx_vs_torch": took["torch"] / took["onnx"]}


def _published() -> Model:
    encoder = ECGVisionTransformer()
    spec, cleaning = specification_of(encoder), Cleaning.from_name("published")
    prepared = Preparation(
        RECIPE_VERSION,
        spec["sampling_rate"],
        5000,
        list(LEADS),
        cleaning.unit,  # type: ignore[arg-type]
        "float16",
        cleaning.to_dict(),
        "reject",
        "first",
    )
    entry = EncoderEntry("ecgcmr.encoders.ECGVisionTransformer", {}, spec)
    return Model(ModelDescription("bench", ecgcmr.__version__, "0" * 64, entry, prepared), encoder, {})
