"""Reading batches from shards, in a worker process or not: one plan in, one batch out, memory bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from data_modules.batch import Batch
from data_modules.index import ShardIndex
from data_modules.sampling import BatchPlan, PlanSampler
from data_modules.shard import ShardReader

MAX_OPEN_SHARDS = 256


class ShardPool:
    """The most recently used shards of an index, kept open; the number bounds file handles and memory."""

    def __init__(self, index: ShardIndex, max_open: int = MAX_OPEN_SHARDS) -> None:
        self.index = index
        self.max_open = max_open
        self._open: OrderedDict[int, ShardReader] = OrderedDict()

    def __getitem__(self, shard: int) -> ShardReader:
        """Return the reader of a shard by its number in the index."""
        reader = self._open.pop(shard, None)
        if reader is None:
            if len(self._open) >= self.max_open:
                self._open.popitem(last=False)[1].close()
            reader = ShardReader(self.index.shard_path(shard), self.index.layout)
        self._open[shard] = reader
        return reader

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}


class ShardBatches(Dataset[Batch]):
    """Turns a ``BatchPlan`` into a ``Batch`` of tensors in their storage types."""

    def __init__(
        self,
        index: ShardIndex,
        sampler: PlanSampler,
        modalities: Sequence[str],
        samples: int,
        labels: np.ndarray | None,
        training: bool,
    ) -> None:
        """Set up the dataset; nothing is opened.

        Args:
            index: The cohort.
            sampler: Where the plans come from; its epoch 0 answers integer indices.
            modalities: Any of ``ecg`` and ``cmr``; every planned row must have them.
            samples: ECG samples to read per lead.
            labels: (rows of the index, L) float32, or None for a batch without labels.
            training: Whether batches carry the key that asks for augmentation.
        """
        self.sampler = sampler
        self.modalities = tuple(modalities)
        self.samples = samples
        self.labels = labels
        self.training = training
        self._pool = ShardPool(index)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self.sampler)

    def __getitem__(self, plan: BatchPlan | int) -> Batch:
        """Read a batch. An integer means that batch of epoch 0: Lightning's ``overfit_batches`` counts so."""
        if not isinstance(plan, BatchPlan):
            plan = self.sampler.plans(0)[plan]
        batch = Batch(row=torch.from_numpy(plan.rows.copy()), valid=torch.from_numpy(plan.valid.copy()))
        self._read(plan, batch)
        if self.labels is not None:
            batch["labels"] = torch.from_numpy(self.labels[plan.rows])
        if self.training:
            batch["key"] = (plan.epoch, plan.number)
        return batch

    def _read(self, plan: BatchPlan, batch: Batch) -> None:
        index = self._pool.index
        ecg, cmr = None, None
        if "ecg" in self.modalities and index.layout.ecg is not None:
            ecg = np.empty((len(plan.rows), len(index.layout.ecg.leads), self.samples), dtype=index.layout.ecg.dtype)
            batch["ecg"] = torch.from_numpy(ecg)
        if "cmr" in self.modalities and index.layout.cmr is not None:
            cmr = np.empty((len(plan.rows), *index.layout.cmr.shape), dtype=index.layout.cmr.dtype)
            batch["cmr"] = torch.from_numpy(cmr)
        for shard, where, row in index.by_shard(plan.rows):
            reader = self._pool[shard]
            for target, i in zip(where.tolist(), row.tolist(), strict=True):
                if ecg is not None:
                    ecg[target] = reader.stored_ecg(i, int(plan.start[target]), self.samples)
                if cmr is not None:
                    cmr[target] = reader.cmr(i)
