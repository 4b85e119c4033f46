"""Watches whole training steps: what is read on the host, and what is exchanged between ranks.

A callback that runs of several ranks name by class path. On a CPU nothing is waited for, so every way to read a tensor
on the host is noted that on an accelerator would wait for it. What ``FiniteCheck`` exchanges arrives a step later, as
on CUDA; reading it then counts as no wait.
"""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ecgcmr.training.finite import FiniteCheck, Step

READS = {Tensor.tolist, Tensor.cpu, Tensor.numpy, Tensor.item, Tensor.__array__}
MADE = {torch.tensor, torch.as_tensor}
"""Made on the device of numbers on the host, for which CUDA waits too."""
SHAPED_BY_VALUES = {"nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim", "equal", "is_nonzero"}


class _Functions(TorchFunctionMode):
    def __init__(self, note: Any) -> None:
        super().__init__()
        self.note = note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS or func is Tensor.new_tensor or (func in MADE and (kwargs or {}).get("device") is not None):
            self.note(func.__name__)
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    def __init__(self, note: Any, exchanged: list[str]) -> None:
        super().__init__()
        self.note, self.exchanged = note, exchanged

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if func.namespace == "c10d":
            self.exchanged.append(name)
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name == "_local_scalar_dense" or name in SHAPED_BY_VALUES or by_mask:
            self.note(name)
        return func(*args, **(kwargs or {}))


class _Arrived:
    """Stands for a CUDA event."""

    def synchronize(self) -> None:
        return None


class HostReads(Callback):
    """Writes a line for each training step to ``path`` + rank: what was read (with its place) and exchanged.

    Args:
        path: Start of the files' names.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.reads: list[str] = []
        self.exchanged: list[str] = []
        self._quiet = False

    def _note(self, what: str) -> None:
        if not self._quiet:
            places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_stack()]
            if not any(frame.name == "on_before_batch_transfer" for frame in traceback.extract_stack()):
                self.reads.append(f"{what} at {' < '.join(reversed(places[-8:]))}")

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Note reads and exchanges within."""
        with _Functions(self._note), _Operations(self._note, self.exchanged):
            yield

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Watch each batch from its step to the last callback, and let numbers arrive a step later."""
        noted, values, advance = FiniteCheck._noted, Step.values, trainer.fit_loop.epoch_loop.advance

        def late(check: FiniteCheck, *arguments: Any) -> Any:
            step = noted(check, *arguments)
            step.arrived = _Arrived()  # type: ignore[assignment]
            return step

        def quietly(step: Step) -> Any:
            self._quiet = True
            try:
                return values(step)
            finally:
                self._quiet = False

        def watched(data_fetcher: Any) -> None:
            self.reads, self.exchanged = [], []
            with contextlib.ExitStack() as stack:
                fetch = type(data_fetcher).__next__

                def unwatched(fetcher: Any) -> Any:  # reading recordings is the loader's work
                    self._quiet = True
                    try:
                        return fetch(fetcher)
                    finally:
                        self._quiet = False

                type(data_fetcher).__next__ = unwatched
                stack.callback(setattr, type(data_fetcher), "__next__", fetch)
                stack.enter_context(self.noting())
                advance(data_fetcher)
            entry = {"reads": self.reads, "exchanged": self.exchanged}
            with Path(f"{self.path}-{trainer.global_rank}.jsonl").open("a") as out:
                out.write(json.dumps(entry) + "\n")

        FiniteCheck._noted, Step.values = late, quietly  # type: ignore[method-assign]
        trainer.fit_loop.epoch_loop.advance = watched
