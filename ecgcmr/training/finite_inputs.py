"""Recordings that hold NaN or infinity are named, before anybody asks what the network made of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.stages.finite_message import RankReport, broken_batches


class FiniteInputs(Callback):
    """Looks at the recordings of a split that is evaluated; those of training are looked at by ``FiniteCheck``.

    Nothing waits for the device before the end of the epoch.
    """

    def __init__(self) -> None:
        self._evaluated: list[tuple[Tensor, Tensor]] = []

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget what was noted before."""
        self._evaluated = []

    def _note_inputs(self, batch: Any) -> None:
        self._evaluated.append((batch["row"], sums_of_inputs(batch)))

    def _look_at_inputs(self, trainer: Any) -> None:
        """Raise UserError on all ranks if a recording that was evaluated is not finite."""
        parts, self._evaluated = self._evaluated, []
        rows = torch.cat([row.cpu() for row, _ in parts]) if parts else torch.empty(0, dtype=torch.int64)
        sums = torch.cat([part.cpu() for _, part in parts]) if parts else torch.empty(0)
        if not trainer.strategy.reduce_boolean_decision(not bool(sums.isfinite().all()), all=False):
            return
        reports = over_ranks(trainer, RankReport.of(trainer, 0.0, 0.0, rows, sums))
        raise UserError(broken_batches(trainer, reports))

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Note the inputs."""
        self._note_inputs(batch)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Look at the inputs, before the stage judges what became of them."""
        self._look_at_inputs(trainer)

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Note the inputs."""
        self._note_inputs(batch)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Look at the inputs."""
        self._look_at_inputs(trainer)

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Note the inputs."""
        self._note_inputs(batch)

    def on_predict_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Look at the inputs, before predictions are written."""
        self._look_at_inputs(trainer)


def sums_of_inputs(batch: Any) -> Tensor:
    """Return the sum of each recording of a batch (B,) float32: not finite where a value is not, or beyond 1e30.

    Leads that the encoder is to leave out do not count, whatever stands in them.
    A sum takes a hundredth of the time that looking at each value takes.
    """
    sums = []
    if "ecg" in batch:
        leads = batch["ecg"].sum(dim=-1, dtype=torch.float32)  # (B, leads), or (B, windows, leads)
        if "lead_mask" in batch:
            seen = batch["lead_mask"].view(len(leads), *[1] * (leads.ndim - 2), -1)
            leads = leads.where(seen, 0.0)
        sums.append(leads.flatten(1).sum(dim=1))
    if "cmr" in batch:
        sums.append(batch["cmr"].flatten(1).sum(dim=1, dtype=torch.float32))
    return torch.stack(sums).sum(dim=0)


def over_ranks(trainer: Any, report: RankReport) -> list[RankReport]:
    """Return the reports of all ranks, the same list on each."""
    reports = [report] * trainer.world_size
    if trainer.world_size > 1:
        dist.all_gather_object(reports, report)
    return reports
