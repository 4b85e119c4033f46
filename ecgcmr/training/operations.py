"""Floating-point operations of one training batch, counted as torch runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_CPU_ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class OperationCount(TorchDispatchMode):
    """Counts the operations of matrix products, convolutions and attention while it is entered; nothing else changes.

    A multiplication with its addition counts as two, forwards and backwards; what is computed by element is left out.

    Attributes:
        total: So far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Run an operation of torch and count it."""
        given = kwargs or {}
        result = func(*args, **given)
        packet = func._overloadpacket
        if packet is _CPU_ATTENTION:
            self.total += sdpa_flop_count(*_shapes(args[:3]))
        elif packet is _CPU_ATTENTION_BACKWARD:
            self.total += sdpa_backward_flop_count(*_shapes(args[:4]))
        elif packet in flop_registry:
            self.total += int(flop_registry[packet](*args, **given, out_val=result))
        return result


def can_be_counted(stage: nn.Module) -> bool:
    """Tell whether a stage's operations can be counted: torch.compile would give up code that ran under a count."""
    return all(module._compiled_call_impl is None for module in stage.modules())


def _shapes(tensors: Sequence[Tensor]) -> list[torch.Size]:
    return [tensor.shape for tensor in tensors]
