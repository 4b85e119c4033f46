"""A table of the published networks at work: samples per second, peak memory, share of the bfloat16 peak.

Meant for a GPU; it runs on a CPU too, where memory is not told.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from ecgcmr.benchmarks.flops import matmul_work
from ecgcmr.benchmarks.steps import AlignmentSteps, AutoencoderSteps, TrainingSteps, waiting
from ecgcmr.benchmarks.timing import interleaved, seconds
from ecgcmr.benchmarks.training import default_device
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer
from ecgcmr.encoders.ecg_vit import Size
from ecgcmr.speed_choices.encoder_cost import counted_flops
from ecgcmr.training.compilation import compile_networks


def networks(batch: int) -> dict[str, Callable[[torch.device], TrainingSteps]]:
    """Return what is measured, by name: masked autoencoders, tiny and base, and the alignment with ResNet-50."""

    def autoencoder(size: Size) -> Callable[[torch.device], TrainingSteps]:
        return lambda place: AutoencoderSteps(ECGVisionTransformer(size=size), batch, place)

    def alignment(place: torch.device) -> TrainingSteps:
        images = CMRResNet("resnet50", frames=3, height=210, width=210)
        return AlignmentSteps(ECGVisionTransformer(), images, batch, place)

    return {"mae_tiny": autoencoder("tiny"), "mae_base": autoencoder("base"), "alignment_resnet50": alignment}


def measure(batch: int = 128, rounds: int = 10, device: str | None = None, compiled: bool = False) -> dict[str, float]:
    """Return three numbers a network, of whole training steps with bfloat16 autocast.

    Args:
        batch: ECGs or pairs in a step.
        rounds: Steps of which the fastest counts.
        device: The accelerator if there is one and none is named, else the CPU.
        compiled: With torch.compile; the names then end in ``_compiled``.

    Returns:
        ``network_<name>_samples_per_s``, ``..._fraction_of_bf16_peak`` (counted operations over time over the best
        2,048-square bfloat16 product) and, on CUDA, ``..._peak_memory_gib`` as PyTorch allocated it.

    Raises:
        UserError: torch.compile cannot run here.
    """
    place = torch.device(device) if device else default_device()
    ending = "_compiled" if compiled else ""
    multiply, operations = matmul_work(torch.bfloat16, place, waiting(place))
    result: dict[str, float] = {}
    for name, make in networks(batch).items():
        torch.manual_seed(0)
        # One step of a batch of two, not compiled, tells the operations of a sample.
        small = networks(2)[name](place)
        flops = counted_flops(lambda small=small: small.loss().backward()) / 2  # type: ignore[misc]
        del small
        steps = make(place)
        if compiled:
            compile_networks(steps.network, place)
        step = steps.ours(low_precision=True)
        seconds(step, repeats=2)  # memory and compilation of both passes
        if place.type == "cuda":
            torch.cuda.reset_peak_memory_stats(place)
        took = interleaved({"step": step, "matmul": multiply}, rounds)
        rate = batch / took["step"]
        result[f"network_{name}_samples_per_s{ending}"] = rate
        result[f"network_{name}_fraction_of_bf16_peak{ending}"] = flops * rate / (operations / took["matmul"])
        if place.type == "cuda":
            result[f"network_{name}_peak_memory_gib{ending}"] = torch.cuda.max_memory_allocated(place) / 2**30
        del steps, step
        gc.collect()  # or the next network's peak would hold this one's
    return result
