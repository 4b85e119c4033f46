"""A stage from nothing but Lightning: regress one label, hand the encoder on."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn


class OneLabel(LightningModule):
    """Regress one label from the feature of an encoder."""

    task = "regression"
    monitor, mode = "val/error", "min"
    exports = {"encoder": "network"}
    takes_lead_mask = takes_windows = False
    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, rate: float = 0.01) -> None:
        super().__init__()
        self.network: Any = network
        self.head = nn.Linear(self.network.feature_dim, 1)
        self.rate = rate

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        for name, value in zip(("mean", "deviation"), data.label_statistics(data.label_names), strict=True):
            self.register_buffer(name, value, persistent=False)  # moves to the device with the weights

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
