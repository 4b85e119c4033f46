"""Reading batches from shards, in a worker process or not: one plan in, one batch out, memory bounded."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from data_modules.batch import Batch
from data_modules.samplers import BatchPlan, PlanSampler
from ecgcmr.errors import UserError
from ecgcmr.shards import record_kernel
from ecgcmr.shards.index import ShardIndex
from ecgcmr.shards.layout import CMRLayout, ECGLayout
from ecgcmr.shards.shard_file import ShardFile

MAX_OPEN_SHARDS = 256
VERIFY_READS = ("first", "always", "never")
"""When a record is compared with its checksum: the first time a process reads it, every time, or not at all."""
_WORDS: dict[str, tuple[type, int, int]] = {
    "float16": (np.uint16, 0x7FFF, 0x7C00),
    "float32": (np.uint32, 0x7FFFFFFF, 0x7F800000),
}
"""For each type of ECGs: an integer as wide, the bits of a number without its sign, the bits of infinity."""


class ShardPool:
    """The most recently used shards of an index, kept open; the number bounds file handles. Threads may share it."""

    def __init__(self, index: ShardIndex, max_open: int = MAX_OPEN_SHARDS, locking: bool | None = False) -> None:
        self.index = index
        self.max_open = max_open
        self.locking = locking
        self._start()

    def _start(self) -> None:
        self._open: OrderedDict[int, ShardFile] = OrderedDict()
        self._lock = threading.Lock()
        self._process = os.getpid()

    def __getitem__(self, shard: int) -> ShardFile:
        """Return a shard by its number in the index; it stays open for as long as it is held."""
        if self._process != os.getpid():  # after a fork: another process's lock and HDF5 handles
            self._start()
        with self._lock:
            file = self._open.pop(shard, None)
            if file is None:
                if len(self._open) >= self.max_open:
                    self._open.popitem(last=False)
                file = ShardFile(
                    self.index.shard_path(shard),
                    self.index.shard_layout(shard),
                    self.locking,
                    self.index.shard_digest(shard),
                )
            self._open[shard] = file
            return file

    def __len__(self) -> int:
        """Return how many shards are open."""
        return len(self._open)

    def __getstate__(self) -> dict[str, Any]:
        return {"index": self.index, "max_open": self.max_open, "locking": self.locking}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()


class ShardBatches(Dataset[Batch | UserError]):
    """Turns a ``BatchPlan`` into a ``Batch`` of tensors in their storage types."""

    def __init__(
        self,
        index: ShardIndex,
        sampler: PlanSampler,
        modalities: Sequence[str],
        samples: int,
        labels: np.ndarray | None,
        training: bool,
        *,
        locking: bool | None = False,
        verify_reads: str = "first",
        pinned: bool = False,
    ) -> None:
        """Set up the dataset; nothing is opened.

        Args:
            index: The cohort.
            sampler: Where the plans come from; its epoch 0 answers integer indices.
            modalities: Any of ``ecg`` and ``cmr``; every planned row must have them.
            samples: ECG samples to read per lead.
            labels: (rows of the index, L) float32, or None for a batch without labels.
            training: Whether batches carry their epoch, which asks for augmentation.
            locking: As for ``ShardReader``.
            verify_reads: When to compare a record with its checksum, one of ``VERIFY_READS``.
            pinned: Read into page-locked memory, where reading happens in the training process.
        """
        self.sampler = sampler
        self.modalities = tuple(modalities)
        self.samples = samples
        self.labels = labels
        self.training = training
        self.verify_reads = verify_reads
        self.pinned = pinned
        self._verified: dict[str, np.ndarray] = {}
        self._pool = ShardPool(index, locking=locking)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self.sampler)

    def __getitem__(self, plan: BatchPlan | int) -> Batch | UserError:
        """Read a batch. An integer means that batch of epoch 0: Lightning's ``overfit_batches`` counts so.

        Returns:
            The batch; from a worker also the UserError, whose text torch would wrap into a traceback if it were raised.

        Raises:
            UserError: If a record cannot be read or holds NaN or infinity; the message names shard and record.
        """
        try:
            return self._batch(plan)
        except UserError as error:
            if get_worker_info() is None:
                raise
            return error

    def _batch(self, plan: BatchPlan | int) -> Batch:
        if not isinstance(plan, BatchPlan):
            plan = self.sampler.plans(0)[plan]
        batch = Batch(row=torch.from_numpy(plan.rows.copy()), valid=torch.from_numpy(plan.valid.copy()))
        layout = self._pool.index.layout
        places = self._pool.index.locate(plan.rows).tolist()
        if "ecg" in self.modalities and layout.ecg is not None:
            batch["ecg"] = self._read("ecg", layout.ecg, places, plan.start, plan.rows)
        if "cmr" in self.modalities and layout.cmr is not None:
            batch["cmr"] = self._read("cmr", layout.cmr, places, np.zeros_like(plan.start), plan.rows)
        if self.labels is not None:
            batch["labels"] = torch.from_numpy(self.labels[plan.rows])
        if self.training:
            batch["epoch"] = plan.epoch
        return batch

    def _read(
        self,
        name: str,
        layout: ECGLayout | CMRLayout,
        places: list[list[int]],
        starts: np.ndarray,
        positions: np.ndarray,
    ) -> Tensor:
        """Read the same part of n records, given as [shard, row] pairs and as positions in the index."""
        length = self.samples if name == "ecg" else layout.shape[-1]
        result = self._buffer((len(places), *layout.shape[:-1], length), getattr(torch, layout.dtype))
        records = result.numpy()
        files = [self._pool[shard] for shard, _ in places]
        self._copy(name, layout, records, files, places, starts)
        for i in self._unverified(name, positions, files).tolist():
            start = int(starts[i])
            records[i] = files[i].checked_record(name, places[i][1])[..., start : start + length]
            self._verified[name][positions[i]] = True
        if name == "ecg":
            _refuse_not_finite(records, files, places)
        return result

    def _unverified(self, name: str, positions: np.ndarray, files: list[ShardFile]) -> np.ndarray:
        """Return which of n records are to be compared with their checksums now."""
        if self.verify_reads == "never":
            return np.empty(0, dtype=np.int64)
        if name not in self._verified:
            self._verified[name] = np.zeros(len(self._pool.index), dtype=bool)
        if self.verify_reads == "always":
            return np.arange(len(positions))
        # A shard written before there were checksums is read as it is; "always" refuses it.
        known = np.array([file.has_checksums(name) for file in files])
        return np.flatnonzero(known & ~self._verified[name][positions])

    def _copy(
        self,
        name: str,
        layout: ECGLayout | CMRLayout,
        records: np.ndarray,
        files: list[ShardFile],
        places: list[list[int]],
        starts: np.ndarray,
    ) -> None:
        """Fill ``records`` straight from the files; through HDF5 where that is not possible."""
        whole = records.shape[-1] == layout.shape[-1]
        pieces = 1 if whole else int(np.prod(layout.shape[:-1]))
        stride, size = layout.shape[-1] * records.itemsize, records[0].nbytes
        plain = [i for i, file in enumerate(files) if file.offsets[name] is not None]
        if len(plain) < len(files):
            for i in sorted(set(range(len(files))) - set(plain)):
                record = files[i].record(name, places[i][1])
                records[i] = record[..., starts[i] : starts[i] + records.shape[-1]]
        if not plain:
            return
        begins = starts * records.itemsize
        offsets = np.array([files[i].offset(name, places[i][1]) for i in plain], dtype=np.int64) + begins[plain]
        descriptors = np.array([files[i].descriptor for i in plain], dtype=np.int32)
        status = np.zeros(len(plain), dtype=np.uint8)
        buffer = records.reshape(len(records), -1).view(np.uint8)
        scratch = np.empty(max(stride, 1), dtype=np.uint8)
        target = buffer if len(plain) == len(files) else np.empty((len(plain), size), dtype=np.uint8)
        record_kernel.copy_records(descriptors, offsets, target, pieces, stride, scratch, status)
        if target is not buffer:
            buffer[plain] = target
        for i in (plain[k] for k in np.flatnonzero(status)):
            span = files[i].reread(name, places[i][1], int(begins[i]), stride * (pieces - 1) + size // pieces)
            parts = [span[k * stride : k * stride + size // pieces] for k in range(pieces)]
            buffer[i] = np.frombuffer(b"".join(parts), dtype=np.uint8)

    def _buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory for a batch: what crosses from a worker lies in shared memory at once, not copied there."""
        if get_worker_info() is None:
            if self.pinned:
                return torch.empty(shape, dtype=dtype, pin_memory=True)
            # NumPy asks the system for huge pages, torch does not: a fresh batch costs few page faults.
            return torch.from_numpy(np.empty(shape, dtype=str(dtype).removeprefix("torch.")))
        storage = torch.UntypedStorage._new_shared(int(np.prod(shape)) * dtype.itemsize)
        return torch.empty(0, dtype=dtype).set_(storage).view(shape)


def _refuse_not_finite(records: np.ndarray, files: list[ShardFile], places: list[list[int]]) -> None:
    """Raise UserError if an ECG holds NaN or infinity: no preparation wrote that."""
    word, magnitude, infinity = _WORDS[records.dtype.name]
    status = np.zeros(len(records), dtype=np.uint8)
    words: np.ndarray = records.reshape(len(records), -1).view(word)
    record_kernel.mark_not_finite(words, word(magnitude), word(infinity), status)
    for i in np.flatnonzero(status).tolist():
        raise UserError(
            f"{files[i].name}: ecg of record {places[i][1]} holds NaN or infinity, so the shard is damaged; "
            "find out what else is by 'ecgcmr verify'"
        )
