"""Training steps of the published sizes against the plain twins, and against what the machine can multiply.

All works take turns within one run: compare the ratios; the rates belong to the machine and the hour. On a CPU each
side has a process of its own, set up as its users run it: the plain twins with the C library's defaults, ours with what
``ecgcmr fit`` sets.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from ecgcmr.benchmarks.flops import autoencoder_step_flops, matmul_work
from ecgcmr.benchmarks.processes import OwnProcess, Works
from ecgcmr.benchmarks.steps import AlignmentSteps, AutoencoderSteps, in_ways, waiting
from ecgcmr.benchmarks.timing import interleaved
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer, MAEDecoder, MaskedAutoencoder
from ecgcmr.encoders.kernels import Kernels
from ecgcmr.speed_choices.choose import FULL_PRECISION, LOW_PRECISION, choose_on_cpu
from ecgcmr.training.host_memory import keep_freed_memory
from ecgcmr.training.machine_choices import accelerator_precision

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_PRECISIONS = {"fp32": FULL_PRECISION, "bf16": LOW_PRECISION}


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
    apart: bool | None = None,
) -> dict[str, float]:
    """Return rates of whole steps (forward, backward, optimiser) and their ratios to the plain twins.

    Args:
        batch: ECGs in a step of the masked autoencoder.
        pairs: Pairs in a step of the alignment.
        rounds: Runs of each step of which the fastest counts.
        device: Such as ``cuda``; the accelerator if there is one, else the CPU.
        encoder: The published tiny size if not given.
        image_encoder: ResNet-50 on 3 frames of 210 x 210 if not given.
        apart: Whether each side has a process of its own; on a CPU if not given.

    Returns:
        ``mae_*``: float32 and bfloat16, ``_vs_eager`` over the plain twin in float32, ``_fraction_of_matmul_peak`` as
        counted operations over time over the best 2,048-square product of the same type. ``alignment_*``:
        ``_vs_plain`` is the default precision of this machine over float32 with images in the usual order.
    """
    place = torch.device(device) if device else default_device()
    apart = place.type == "cpu" if apart is None else apart
    torch.manual_seed(0)
    encoder = encoder or ECGVisionTransformer()
    image_encoder = image_encoder or CMRResNet("resnet50", frames=3, height=210, width=210)
    with _both_sides(apart, "mae", encoder, image_encoder, batch, place) as works:
        result = _autoencoder(works, encoder, batch, rounds, place)
    default = accelerator_precision(place.type)
    if default is None:
        both = torch.nn.ModuleList([encoder, image_encoder])
        default = choose_on_cpu(both, None, training=True).precision
    with _both_sides(apart, "alignment", encoder, image_encoder, pairs, place) as works:
        return result | _alignment(works, pairs, rounds, "bf16" if default == LOW_PRECISION else "fp32")


def plain_works(
    task: str, encoder: ECGVisionTransformer, image_encoder: CMRResNet, samples: int, place: torch.device
) -> Works:
    """Return the plain twin's step of ``mae`` or ``alignment``, by name."""
    if task == "mae":
        return {"eager": AutoencoderSteps(encoder, samples, place).eager()}
    return {"plain": AlignmentSteps(encoder, image_encoder, samples, place).plain()}


def own_works(
    task: str, encoder: ECGVisionTransformer, image_encoder: CMRResNet, samples: int, place: torch.device
) -> Works:
    """Return our steps of ``mae`` or ``alignment`` in both precisions, by name, each in its fastest ways."""
    steps = (
        AutoencoderSteps(encoder, samples, place)
        if task == "mae"
        else AlignmentSteps(encoder, image_encoder, samples, place)
    )
    on_cpu = place.type == "cpu"
    ways = {
        name: choose_on_cpu(steps.network, precision, training=True).kernels if on_cpu else Kernels()
        for name, precision in _PRECISIONS.items()
    }
    return {name: in_ways(steps, kernels, name != "fp32") for name, kernels in ways.items()}


def own_works_as_fit(
    task: str, encoder: ECGVisionTransformer, image_encoder: CMRResNet, samples: int, place: torch.device
) -> Works:
    """Return our steps after setting up this process as ``ecgcmr fit`` does; see `own_works`."""
    if place.type == "cpu":
        keep_freed_memory()
    return own_works(task, encoder, image_encoder, samples, place)


@contextlib.contextmanager
def _both_sides(
    apart: bool, task: str, encoder: ECGVisionTransformer, image_encoder: CMRResNet, samples: int, place: torch.device
) -> Iterator[Works]:
    """Give the plain twin's step and ours, each in its own process or all in this one."""
    arguments = (task, encoder, image_encoder, samples, place)
    if not apart:
        yield {**plain_works(*arguments), **own_works(*arguments)}
        return
    with OwnProcess(plain_works, *arguments) as plain, OwnProcess(own_works_as_fit, *arguments) as ours:
        name = "eager" if task == "mae" else "plain"
        yield {name: plain.work(name)} | {name: ours.work(name) for name in _TYPES}


def _autoencoder(
    works: Works, encoder: ECGVisionTransformer, batch: int, rounds: int, place: torch.device
) -> dict[str, float]:
    """Measure the masked autoencoder and, in turns with it, the products."""
    products = {name: matmul_work(dtype, place, waiting(place)) for name, dtype in _TYPES.items()}
    took = interleaved({**works, **{f"matmul_{name}": multiply for name, (multiply, _) in products.items()}}, rounds)
    result = {"mae_step_samples_per_s_eager": batch / took["eager"]}
    network = MaskedAutoencoder(encoder, MAEDecoder.for_encoder(encoder), AutoencoderSteps.mask_ratio)
    step_flops = autoencoder_step_flops(network, batch)
    for name, (_, operations) in products.items():
        peak = operations / took[f"matmul_{name}"]
        result[f"mae_step_samples_per_s_{name}"] = batch / took[name]
        result[f"mae_{name}_vs_eager"] = took["eager"] / took[name]
        result[f"mae_fraction_of_matmul_peak_{name}"] = step_flops / took[name] / peak
        result[f"matmul_gflops_{name}"] = peak / 1e9
    return result


def _alignment(works: Works, pairs: int, rounds: int, ours: str) -> dict[str, float]:
    """Measure the alignment in both precisions and plain."""
    took = interleaved(works, rounds)
    return {f"alignment_step_samples_per_s_{name}": pairs / seconds for name, seconds in took.items()} | {
        "alignment_step_vs_plain": took["plain"] / took[ours]
    }
