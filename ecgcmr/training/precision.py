"""Which precision a run takes on an accelerator where nobody says: bfloat16 where the hardware multiplies it.

Weights, optimiser state and losses stay float32 under ``bf16-mixed``; only products are computed with bfloat16. On a
CPU the instructions say too little of the speed: there it is measured (`ecgcmr.speed_choices`).
"""

from __future__ import annotations

import torch

from ecgcmr.speed_choices.choose import FULL_PRECISION, LOW_PRECISION


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
