"""Training steps of the published sizes against the plain twins, and against what the machine can multiply.

All works take turns within one run: compare the ratios; the rates belong to the machine and the hour.
"""

from __future__ import annotations

import torch

from ecgcmr.benchmarks.flops import autoencoder_step_flops, matmul_work
from ecgcmr.benchmarks.steps import AlignmentSteps, AutoencoderSteps, waiting
from ecgcmr.benchmarks.timing import Work, interleaved
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer
from ecgcmr.stages.precision import LOW_PRECISION, default_precision

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def default_device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def measure(
    batch: int = 64,
    pairs: int = 16,
    rounds: int = 5,
    device: str | None = None,
    encoder: ECGVisionTransformer | None = None,
    image_encoder: CMRResNet | None = None,
) -> dict[str, float]:
    """Return rates of whole steps (forward, backward, optimiser) and their ratios to the plain twins.

    Args:
        batch: ECGs in a step of the masked autoencoder.
        pairs: Pairs in a step of the alignment.
        rounds: Runs of each step of which the fastest counts.
        device: Such as ``cuda``; the accelerator if there is one, else the CPU.
        encoder: The published tiny size if not given.
        image_encoder: ResNet-50 on 3 frames of 210 x 210 if not given.

    Returns:
        ``mae_*``: float32 and bfloat16, ``_vs_eager`` over the plain twin in float32, ``_fraction_of_matmul_peak`` as
        counted operations over time over the best 2,048-square product of the same type. ``alignment_*``:
        ``_vs_plain`` is the default precision of this machine over float32 with images in the usual order.
    """
    place = torch.device(device) if device else default_device()
    torch.manual_seed(0)
    encoder = encoder or ECGVisionTransformer.from_size("tiny")
    image_encoder = image_encoder or CMRResNet("resnet50", frames=3, height=210, width=210)
    return _autoencoder(encoder, batch, rounds, place) | _alignment(encoder, image_encoder, pairs, rounds, place)


def _autoencoder(encoder: ECGVisionTransformer, batch: int, rounds: int, place: torch.device) -> dict[str, float]:
    """Measure the masked autoencoder and, in turns with it, the products."""
    steps = AutoencoderSteps(encoder, batch, place)
    operations: dict[str, int] = {}
    works: dict[str, Work] = {"eager": steps.eager()}
    for name, dtype in _TYPES.items():
        works[name] = steps.ours(low_precision=dtype is not torch.float32)
        works[f"matmul_{name}"], operations[name] = matmul_work(dtype, place, waiting(place))
    took = interleaved(works, rounds)
    result = {"mae_step_samples_per_s_eager": batch / took["eager"]}
    step_flops = autoencoder_step_flops(steps.network, batch)
    for name in _TYPES:
        peak = operations[name] / took[f"matmul_{name}"]
        result[f"mae_step_samples_per_s_{name}"] = batch / took[name]
        result[f"mae_{name}_vs_eager"] = took["eager"] / took[name]
        result[f"mae_fraction_of_matmul_peak_{name}"] = step_flops / took[name] / peak
        result[f"matmul_gflops_{name}"] = peak / 1e9
    return result


def _alignment(
    encoder: ECGVisionTransformer, image_encoder: CMRResNet, pairs: int, rounds: int, place: torch.device
) -> dict[str, float]:
    """Measure the alignment in both precisions and plain."""
    steps = AlignmentSteps(encoder, image_encoder, pairs, place)
    took = interleaved({"plain": steps.plain(), "fp32": steps.ours(False), "bf16": steps.ours(True)}, rounds)
    ours = "bf16" if default_precision(place.type) == LOW_PRECISION else "fp32"
    return {f"alignment_step_samples_per_s_{name}": pairs / seconds for name, seconds in took.items()} | {
        "alignment_step_vs_plain": took["plain"] / took[ours]
    }
