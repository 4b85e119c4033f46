"""What a run takes from its machine where nobody says: the precision of an accelerator, and a CPU's freed memory.

Weights, optimiser state and losses stay float32 under ``bf16-mixed``; only products are computed with bfloat16. On a
CPU the instructions say too little of the speed: there it is measured (`ecgcmr.speed_choices`).

The C library asks the system for each block above 32 MiB anew and gives it back when it is freed; the system fills
every page with zeros at its first touch. The activations of a batch are such blocks, so that page faults took 3 to
12 % of a step of the published tiny masked autoencoder and a fifth of one written plainly. What is kept is the
process's own peak: resident memory rose by 5 to 10 %.
"""

from __future__ import annotations

import ctypes
import platform

import torch

from ecgcmr.speed_choices.choose import FULL_PRECISION, LOW_PRECISION

# <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_GROWTH_BYTES = 64 << 20


def accelerator_precision(accelerator: str = "auto") -> str | None:
    """Return Lightning's name of the precision to take, None for a CPU.

    Args:
        accelerator: As Lightning names it; "auto", "gpu" and "cuda" mean CUDA where it is there.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return LOW_PRECISION if torch.cuda.is_bf16_supported(including_emulation=False) else FULL_PRECISION
    if accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available()):
        return None
    return FULL_PRECISION


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, from now on; glibc only, elsewhere nothing changes.

    Returns:
        Whether the C library agreed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    # No block of its own for a large request, nothing returned at the top of the heap, which grows in large steps.
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _GROWTH_BYTES))
    return all(libc.mallopt(name, value) == 1 for name, value in settings)
