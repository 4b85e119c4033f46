"""A DataModule from nothing but Lightning: a small cohort in memory."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from ecgcmr.shards import ShardIndex, read_ecgs, read_labels


class RecordingsInMemory(LightningDataModule):
    """All recordings, whole, with one label."""

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
