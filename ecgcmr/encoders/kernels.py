"""Which of several equal ways a network computes by; the sums are the same, speed and rounding are not.

A network is handed its `Kernels` with `use_kernels`; without that it computes as PyTorch does by itself. Which way is
the fastest differs between processors: `ecgcmr.speed_choices` measures it.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import nn

AttentionWay = Literal["written", "float32", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class Kernels:
    """Ways to compute, of consequence on a CPU alone but for `channels_last`.

    Attributes:
        convolution: Linear layers over many tokens run as convolutions of one by one.
        attention: Of bfloat16 queries without a mask: "written" out a few recordings at a time, or PyTorch's fused
            kernel in "float32" or in "bfloat16".
        channels_last: Two-dimensional residual networks keep channels innermost in memory.
    """

    convolution: bool = False
    attention: AttentionWay = "float32"
    channels_last: bool = True


ORDINARY = Kernels()


@runtime_checkable
class RunsByKernels(Protocol):
    """A module that looks at its `kernels` whenever it runs."""

    kernels: Kernels


@runtime_checkable
class OrdersImages(RunsByKernels, Protocol):
    """A module whose images and weights lie in memory as `Kernels.channels_last` says."""

    image_order: torch.memory_format


def use_kernels(network: nn.Module, kernels: Kernels) -> None:
    """Let every module of a network compute in these ways from now on; parameters keep names and values.

    Args:
        network: Any module; copies made of it afterwards compute in the same ways.
        kernels: The ways.
    """
    for module in network.modules():
        if isinstance(module, RunsByKernels):
            module.kernels = kernels
        if isinstance(module, OrdersImages):
            order = torch.channels_last if kernels.channels_last else torch.contiguous_format
            module.to(memory_format=order)  # type: ignore[call-overload]
