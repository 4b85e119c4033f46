"""Linear layers over tokens that can run as a convolution of one by one, on a CPU and for many tokens at once.

The two are the same sums. PyTorch hands matrix products and convolutions to different kernels of different libraries;
which are faster depends on the processor, so a network is told (`ecgcmr.encoders.kernels`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders.kernels import ORDINARY, Kernels

MANY_TOKENS = 2048  # in a batch; with fewer, setting up a convolution takes longer than it saves
_TYPES = (torch.float32, torch.bfloat16)


def token_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, kernels: Kernels = ORDINARY) -> Tensor:
    """Multiply tokens by a matrix and add a bias, as `torch.nn.functional.linear` does.

    Args:
        x: (B, N, D), or any other shape (..., D), which takes the ordinary way.
        weight: (E, D).
        bias: (E,).
        kernels: Whether many tokens run as a convolution.

    Returns:
        (B, N, E), contiguous.
    """
    if not (kernels.convolution and _can_run_as_convolution(x)):
        return F.linear(x, weight, bias)
    image = x.contiguous().unsqueeze(2).permute(0, 3, 1, 2)  # (B, D, N, 1), channels last in memory: nothing is moved
    return F.conv2d(image, weight[:, :, None, None], bias).permute(0, 2, 3, 1).squeeze(2)


class TokenLinear(nn.Linear):
    """`torch.nn.Linear` that runs as `token_linear` does; the same parameters under the same names."""

    kernels: Kernels = ORDINARY

    def forward(self, input: Tensor) -> Tensor:
        """(..., D) -> (..., E)."""
        return token_linear(input, self.weight, self.bias, self.kernels)


def _can_run_as_convolution(x: Tensor) -> bool:
    many = x.ndim == 3 and x.shape[0] * x.shape[1] >= MANY_TOKENS
    on_cpu = x.device.type == "cpu" and x.dtype in _TYPES and torch.backends.mkldnn.is_available()
    return many and on_cpu and not torch.compiler.is_compiling()
