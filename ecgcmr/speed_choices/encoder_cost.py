"""What an encoder costs: parameters, operations for a recording, and recordings a second on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

BATCH = 16
_LEAST_RUNS, _MOST_RUNS, _SECONDS = 3, 50, 1.0


@dataclass(frozen=True)
class EncoderCost:
    """The cost of pooled features of recordings, forward.

    Attributes:
        parameters: Of the encoder.
        operations: For one recording: a multiplication and an addition of a product count as two.
        recordings_per_s: Of the fastest of some runs.
        measured_on: The device, with the number of threads of a CPU.
        batch: Recordings in a run.
    """

    parameters: int
    operations: int
    recordings_per_s: float
    measured_on: str
    batch: int


def counted_flops(step: Callable[[], object]) -> int:
    """Return the operations of whatever ``step`` runs, as PyTorch's own counter sees them.

    Attention runs as two products meanwhile, since some kernels are not known to the counter. A Fourier transform of
    n numbers counts as 5 n log2 n, half of that where its input or output is real.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=_TRANSFORMS) as counter:
        step()
    return counter.get_total_flops()


def _complex_transform(shape: Any, dims: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return round(5 * math.prod(shape) * math.log2(max(2, math.prod(shape[dim] for dim in dims))))


def _real_transform(shape: Any, dims: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    longer = shape if math.prod(shape) >= math.prod(out_shape or shape) else out_shape
    return _complex_transform(longer, dims) // 2


_TRANSFORMS: dict[Any, Any] = {
    torch.ops.aten._fft_c2c: _complex_transform,
    torch.ops.aten._fft_r2c: _real_transform,
    torch.ops.aten._fft_c2r: _real_transform,
}


def encoder_cost(encoder: Any, device: torch.device | None = None, batch: int = BATCH) -> EncoderCost:
    """Measure an encoder of ECGs, in evaluation and in single precision.

    Args:
        encoder: Meets the encoder contract; it stays where it was, in the mode that it had.
        device: Where it is measured; None: on a GPU where there is one.
        batch: Recordings at a time.
    """
    place = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    spec, was_training = encoder.input_spec, encoder.training
    origin = next((parameter.device for parameter in encoder.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    ecgs = torch.randn(batch, spec.leads, spec.samples, generator=generator).to(place)
    network: nn.Module = encoder.to(place).eval()
    with torch.inference_mode():
        operations = counted_flops(lambda: network(ecgs[:1]))
        fastest = _fastest(lambda: network(ecgs), place)
    encoder.to(origin).train(was_training)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    return EncoderCost(parameters, operations, batch / fastest, _title(place), batch)


def _fastest(run: Callable[[], object], place: torch.device) -> float:
    """Return the seconds of the fastest of several runs, of which the first is not counted."""
    run()
    times: list[float] = []
    while len(times) < _LEAST_RUNS or (sum(times) < _SECONDS and len(times) < _MOST_RUNS):
        _wait(place)
        start = time.perf_counter()
        run()
        _wait(place)
        times.append(time.perf_counter() - start)
    return min(times)


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def _title(place: torch.device) -> str:
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    threads = torch.get_num_threads()
    return f"{place.type}, {threads} thread{'' if threads == 1 else 's'}"
