"""Recordings that hold NaN or infinity are named, before anybody asks what the network made of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.stages.contract_checks import check_batch
from ecgcmr.stages.finite_message import RankReport, broken_batches
from ecgcmr.stages.protocol import stage_data


class FiniteInputs(Callback):
    """Looks at the recordings of a split that is evaluated; those of training are looked at by ``FiniteCheck``.

    Nothing waits for the device before the end of the epoch.
    """

    def __init__(self) -> None:
        self._evaluated: list[tuple[Tensor, Tensor]] = []

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget what was noted before."""
        self._evaluated = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Check what the first batch holds."""
        if batch_idx == 0:
            check_batch(batch, stage_data(trainer), evaluated=False)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Check what the first batch holds."""
        if batch_idx == 0:
            check_batch(batch, stage_data(trainer), evaluated=True)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Note the inputs."""
        self._evaluated.append((batch["row"], sums_of_inputs(batch)))

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Look at the inputs, before the stage judges what became of them, or predictions are written.

        Raises:
            UserError: A recording that was evaluated is not finite; on all ranks.
        """
        parts, self._evaluated = self._evaluated, []
        rows = torch.cat([row.cpu() for row, _ in parts]) if parts else torch.empty(0, dtype=torch.int64)
        sums = torch.cat([part.cpu() for _, part in parts]) if parts else torch.empty(0)
        if not trainer.strategy.reduce_boolean_decision(not bool(sums.isfinite().all()), all=False):
            return
        reports = over_ranks(trainer, RankReport.of(trainer, 0.0, 0.0, rows, sums))
        raise UserError(broken_batches(trainer, reports))

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end


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
