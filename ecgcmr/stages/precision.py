"""Which precision a run takes where nobody says: bfloat16 where the hardware multiplies it, else float32.

Weights, optimiser state and losses stay float32 under ``bf16-mixed``; only products are computed with bfloat16.
"""

from __future__ import annotations

from pathlib import Path

import torch

LOW_PRECISION, FULL_PRECISION = "bf16-mixed", "32-true"
_CPU_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}  # Intel's tiles, AVX-512 of Intel and AMD, Arm


def cpu_multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether the CPU has instructions for bfloat16 products; where the system does not list them, it has none."""
    if not cpuinfo.is_file():
        return False
    for line in cpuinfo.read_text(errors="replace").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return not _CPU_FLAGS.isdisjoint(flags.split())
    return False


def default_precision(accelerator: str = "auto") -> str:
    """Return Lightning's name of the precision to take.

    Args:
        accelerator: As Lightning names it; "auto", "gpu" and "cuda" mean CUDA where it is there.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return LOW_PRECISION if torch.cuda.is_bf16_supported(including_emulation=False) else FULL_PRECISION
    if accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available()):
        return LOW_PRECISION if cpu_multiplies_bfloat16() else FULL_PRECISION
    return FULL_PRECISION
