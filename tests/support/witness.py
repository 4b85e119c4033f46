"""A model that writes down what a data module gives it, and a quiet Trainer for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from data_modules.batch import Batch


class Witness(LightningModule):
    """Learns nothing; writes down what it was given, a file per rank if a folder is given."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.folder = folder
        self.seen: list[dict[str, Any]] = []

    def note(self, stage: str, batch: Batch) -> None:
        record = {"stage": stage, "epoch": self.current_epoch, "keys": sorted(batch)}
        record |= {name: batch[name].tolist() for name in ("row", "valid") if name in batch}
        if "ecg" in batch:
            assert batch["ecg"].dtype == torch.float32
            record |= {"lead_i": batch["ecg"][:, 0, 0].tolist(), "start": batch["ecg"][:, 1, 0].tolist()}
        if "cmr" in batch:
            assert batch["cmr"].dtype == torch.float32
            record["cmr"] = (batch["cmr"][:, 1, 2, 2] * 255).tolist()
        if "labels" in batch:
            record["labels"] = batch["labels"].tolist()
        self.seen.append(record)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.note("train", batch)
        return self.weight * batch["ecg"].mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.note("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.note("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return batch["row"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_fit_end(self) -> None:
        if self.folder is not None:
            (self.folder / f"rank-{self.global_rank}.json").write_text(json.dumps(self.seen))

    def of(self, stage: str, name: str, epoch: int | None = None) -> list:
        chosen = [r for r in self.seen if r["stage"] == stage and epoch in (None, r["epoch"])]
        return [value for record in chosen for value in record[name]]


def trainer(**options: Any) -> Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(
        **{"accelerator": "cpu", "use_distributed_sampler": False, "max_epochs": 2, "num_sanity_val_steps": 0}
        | quiet
        | options
    )
