"""What share of the machine's arithmetic a fit makes use of: model FLOPs utilisation, logged with samples a second.

A step's operations are those of its matrix products, convolutions and attention, forward and backward, counted once as
torch runs them; norms, activations and the optimiser are left out, and so is what is computed twice to save memory.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from ecgcmr.errors import UserError
from ecgcmr.training.operations import OperationCount, can_be_counted

RATE, SHARE = "train/operations_per_second", "train/flops_utilisation"
_SIZE = 2048
_COUNTED = 1  # the second batch of a call: what the first one makes for all others is not counted
_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Utilisation(Callback):
    """Logs operations a second of all devices, and their share of what the devices could do.

    Under ``--compile`` it logs nothing: counting would give up the compiled code.

    Args:
        peak: Operations a second of one device. None takes what the maker of a GPU says of dense products in the run's
            precision; where that is not known, and on a CPU, what a product of 2,048-square matrices reaches here.

    Raises:
        UserError: It is not above 0.
    """

    def __init__(self, peak: float | None = None) -> None:
        if peak is not None and not peak > 0:
            raise UserError(f"peak {peak}: must be above 0, in operations a second")
        self.peak = peak
        self._batches = 0
        self._count: OperationCount | None = None
        self._counted = 0.0
        self._per_sample: float | None = None
        self._devices = 1

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Learn what the device could do."""
        self._batches, self._devices = 0, trainer.world_size
        if not can_be_counted(pl_module):
            rank_zero_info("note: utilisation is not logged of networks that are compiled")
            self._batches = _COUNTED + 1
        elif self.peak is None:
            self.peak, how = _peak(trainer.strategy.root_device, _DTYPES.get(str(trainer.precision), torch.float32))
            rank_zero_info(f"utilisation: of {self.peak:.3g} operations a second of each device, {how}")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Begin to count, in one batch."""
        if self._batches == _COUNTED:
            self._count = OperationCount()
            self._count.__enter__()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the count."""
        self._batches += 1
        if self._count is not None:
            self._end()
            self._per_sample = self._counted / len(batch["row"])

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Stop counting."""
        if self._count is not None:
            self._end()

    def _end(self) -> None:
        count, self._count = self._count, None
        if count is not None:
            count.__exit__(None, None, None)
            self._counted = float(count.total)

    def of_speed(self, samples_per_second: float) -> dict[str, float]:
        """Return what is logged at a speed of all devices; nothing before a batch has been counted."""
        if self._per_sample is None or self.peak is None:
            return {}
        rate = self._per_sample * samples_per_second
        return {RATE: rate, SHARE: rate / (self.peak * self._devices)}


def _peak(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """Return a device's operations a second, and where the number is from."""
    known = get_available_flops(device, dtype) if device.type == "cuda" else None
    if known:
        return float(known), "as its maker says"
    return _measured(device, dtype), f"as a product of {_SIZE:,}-square matrices reaches here"


def _measured(device: torch.device, dtype: torch.dtype) -> float:
    products = 1 if device.type == "cpu" else 64
    left, right = (torch.ones(_SIZE, _SIZE, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        for _ in range(products):
            product = left @ right
        float(product[0, 0])  # waits for the device
        times.append(time.perf_counter() - begin)
    return products * 2 * _SIZE**3 / min(times)
