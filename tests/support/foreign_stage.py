"""A stage, its encoder and its DataModule as a user would write them: by the contracts, without a class of ours."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ecgcmr.encoders import ECGInput
from ecgcmr.shards import ShardIndex, read_ecgs, read_labels


class PowerEncoder(nn.Module):
    """The power of each lead, mixed."""

    def __init__(self, leads: int = 12, samples: int = 100, width: int = 4) -> None:
        super().__init__()
        self.input_spec = ECGInput(leads, 500.0, samples)
        self.feature_dim, self.num_layers = width, 1
        self.mix = nn.Linear(leads, width)

    def forward_tokens(self, x: Tensor) -> Tensor:
        return self.mix(x.square().mean(dim=2))[:, None]

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_tokens(x)[:, 0]

    def no_weight_decay(self) -> set[str]:
        return set()

    def layer_of(self, name: str) -> int:
        return 0


class LabelFromPower(LightningModule):
    """Regress one label."""

    task = "regression"
    monitor, mode = "val/error", "min"
    exports = {"encoder": "network"}
    takes_lead_mask = takes_windows = False

    def __init__(self, network: nn.Module, rate: float = 0.01) -> None:
        super().__init__()
        self.network: Any = network
        self.head = nn.Linear(self.network.feature_dim, 1)
        self.rate = rate

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.mean, self.deviation = data.label_statistics(data.label_names)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.head(self.network(batch["ecg"]))

    def _error(self, batch: dict[str, Tensor]) -> Tensor:
        return (self(batch) - (batch["labels"] - self.mean) / self.deviation).square().mean()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self._error(batch)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("val/error", self._error(batch), batch_size=len(batch["row"]))

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("test/error", self._error(batch), batch_size=len(batch["row"]))

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        value = self(batch) * self.deviation + self.mean
        finite = value.isfinite().all(dim=1)
        return {"row": batch["row"], "valid": batch["valid"], "prediction": value, "finite": finite}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.rate)


class RecordingsInMemory(LightningDataModule):
    """All recordings of a small cohort, with one label, held in memory."""

    predict_split = "test"
    covariate_names = diseases = leave_out_leads = ()
    leads = None
    evaluation_windows = 1

    def __init__(self, root: str, label: str, batch_size: int = 8) -> None:
        super().__init__()
        self.root = Path(root)
        self.label_names = [label]
        self.batch_size = batch_size

    @cached_property
    def index(self) -> ShardIndex:
        return ShardIndex.load(self.root)

    @property
    def input_spec(self) -> dict[str, dict[str, Any]]:
        ecg = self.index.layout.ecg
        return {"ecg": {"leads": len(ecg.leads), "sampling_rate": ecg.sampling_rate, "samples": ecg.samples}}

    @property
    def train_size(self) -> int:
        return len(self.rows("train"))

    @property
    def global_batch(self) -> int:
        return min(self.batch_size, self.train_size)

    def rows(self, split: str) -> np.ndarray:
        return self.index.positions(split, ["ecg"])

    def label_statistics(self, names: list[str]) -> tuple[Tensor, Tensor]:
        values = torch.from_numpy(read_labels(self.index, names, self.rows("train")))
        return values.mean(dim=0), values.std(dim=0)

    def _loader(self, split: str, shuffle: bool = False) -> DataLoader:
        rows = self.rows(split)
        ecgs, labels = read_ecgs(self.index, rows), read_labels(self.index, self.label_names, rows)
        columns = {"row": rows, "ecg": ecgs.astype(np.float32), "labels": labels, "valid": np.full(len(rows), True)}
        records = [{name: column[i] for name, column in columns.items()} for i in range(len(rows))]
        return DataLoader(records, batch_size=self.global_batch, shuffle=shuffle, drop_last=shuffle)

    def train_dataloader(self) -> DataLoader:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader:
        return self._loader("test")
