"""Which rows are read, when and by which rank: pure functions of (rows, seed, epoch, world size, batch size).

Nothing here keeps a random state or looks at a file, so an epoch can be repeated, split over any number of ranks and
entered at any batch. One global batch is ``batch_size * world_size`` consecutive rows of the epoch's order; each rank
reads its own part of it, so that the global batch sequence does not depend on how workers or ranks run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch.utils.data.distributed import DistributedSampler

from ecgcmr.errors import UserError

SHUFFLES = ("global", "none")


class Purpose(NamedTuple):
    """What a random draw is for; keeps draws of the same seed independent of each other."""

    order: int = 0
    crop: int = 1
    subset: int = 2
    ecg_augmentation: int = 3
    cmr_augmentation: int = 4


PURPOSE = Purpose()


def generator(seed: int, *key: int) -> np.random.Generator:
    """Return the generator that belongs to a seed and a key of non-negative integers (purpose, epoch, ...)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *key])))


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order (n,) int64 of an epoch: a permutation of 0..n-1."""
    return generator(seed, PURPOSE.order, epoch).permutation(n).astype(np.int64)


def crop_starts(n: int, room: int, seed: int, epoch: int) -> np.ndarray:
    """Return (n,) int64, for each of n rows of the index where its training crop starts, uniform over 0..room."""
    return generator(seed, PURPOSE.crop, epoch).integers(0, room, size=n, dtype=np.int64, endpoint=True)


def subset(rows: np.ndarray, amount: int | float, seed: int) -> np.ndarray:
    """Choose rows at random, nested: a smaller amount of the same rows and seed is contained in every larger one.

    Args:
        rows: (n, ...) anything; order is kept.
        amount: A count (int, 1..n) or a fraction (float, 0 < fraction <= 1; at least one row is chosen).
        seed: Of the one permutation whose first elements are chosen.

    Raises:
        UserError: If there are fewer rows than asked for, or the amount is not positive or a fraction above 1.
    """
    n = len(rows)
    if isinstance(amount, float):
        if not 0 < amount <= 1:
            raise UserError(f"train_fraction {amount}: must lie above 0 and at most at 1")
        count = max(1, round(amount * n))
    else:
        count = amount
        if count < 1:
            raise UserError(f"train_labels {amount}: ask for at least one row")
    if count > n:
        raise UserError(f"train_labels {amount}: the training split holds only {n} labelled rows")
    chosen = generator(seed, PURPOSE.subset).permutation(n)[:count]
    return rows[np.sort(chosen)]


def rank_batches(
    order: np.ndarray, batch_size: int, rank: int, world_size: int, drop_tail: bool = True
) -> list[np.ndarray]:
    """Cut an order into global batches and return one rank's part of each.

    Args:
        order: (n,) rows in the order of the epoch.
        batch_size: Rows per rank and batch.
        rank: 0..world_size-1.
        world_size: Number of ranks.
        drop_tail: Leave out a last incomplete global batch. Otherwise its rows are dealt out as evenly as possible:
            the parts of two ranks differ by one row at most, and may be empty.

    Returns:
        As many arrays on every rank; over all ranks each row stands in one of them (or in the dropped tail).
    """
    if batch_size < 1 or not 0 <= rank < world_size:
        raise ValueError(f"batch size {batch_size}, rank {rank}, world size {world_size}")
    global_size = batch_size * world_size
    batches = [
        order[start + rank * batch_size : start + (rank + 1) * batch_size]
        for start in range(0, len(order) - global_size + 1, global_size)
    ]
    tail = order[len(batches) * global_size :]
    if len(tail) and not drop_tail:
        batches.append(tail[rank * len(tail) // world_size : (rank + 1) * len(tail) // world_size])
    return batches


def evaluation_batches(
    rows: np.ndarray, batch_size: int, rank: int, world_size: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Deal rows out for evaluation: each row counts once over all ranks, all ranks have batches of the same shapes.

    Returns:
        Per batch (rows (b,), valid (b,) bool). Where the last global batch cannot be dealt out evenly a rank repeats
        its last row (or, if it got none, the last of all) once, marked invalid.
    """
    result = []
    for number, batch in enumerate(rank_batches(rows, batch_size, rank, world_size, drop_tail=False)):
        tail = len(rows) - number * batch_size * world_size
        size = min(batch_size, -(-tail // world_size))
        padding = np.full(size - len(batch), (batch if len(batch) else rows)[-1])
        result.append((np.concatenate([batch, padding]), np.arange(size) < len(batch)))
    return result


@dataclass(frozen=True)
class BatchPlan:
    """All that a worker needs to know to read one batch of b rows.

    Attributes:
        epoch: Epoch, from 0.
        number: Number of the global batch within the epoch, from 0.
        rows: (b,) int64 positions in the index.
        valid: (b,) bool, False for padding.
        start: (b,) int64 first ECG sample to read.
    """

    epoch: int
    number: int
    rows: np.ndarray
    valid: np.ndarray
    start: np.ndarray


class PlanSampler(DistributedSampler):
    """Yields one rank's batches of an epoch as plans, for ``DataLoader(dataset, batch_size=None, sampler=...)``.

    It already deals rows out to ranks. Being a ``DistributedSampler`` tells Lightning so: it sets the epoch by
    ``set_epoch`` and does not wrap a second division around it, whatever ``use_distributed_sampler`` says.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        """Take the rows (k,), positions in the index in ascending order, and this rank's place in the world."""
        super().__init__(range(len(rows)), num_replicas=world_size, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self.rows = rows
        self.batch_size = batch_size
        self.world_size = world_size

    def plans(self, epoch: int) -> list[BatchPlan]:
        """Return this rank's batches of an epoch."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[BatchPlan]:
        """Yield the plans of the epoch that ``set_epoch`` named."""
        return iter(self.plans(self.epoch))

    def __len__(self) -> int:
        """Return the number of batches of an epoch, the same on every rank and in every epoch."""
        return len(self.plans(0))


class EpochBatchSampler(PlanSampler):
    """Training: a new order and new crops each epoch; a last incomplete global batch is left out.

    Where there are fewer rows than one global batch, the batch size shrinks so that one batch remains.
    """

    def __init__(
        self,
        rows: np.ndarray,
        batch_size: int,
        *,
        seed: int,
        index_size: int,
        shuffle: str = "global",
        crop_room: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Set up the sampler.

        Args:
            rows: (k,) positions in the index, ascending.
            batch_size: Rows per rank and batch.
            seed: Of order and crops.
            index_size: Number of rows of the whole index; crops are keyed by position in it.
            shuffle: ``global`` (one permutation of all rows) or ``none`` (index order).
            crop_room: Stored samples beyond the crop's length.
            rank: This rank.
            world_size: Number of ranks.

        Raises:
            UserError: If a rank would get no row, or shuffle is unknown.
        """
        if shuffle not in SHUFFLES:
            raise UserError(f"shuffle {shuffle!r}: choose one of {', '.join(SHUFFLES)}")
        if len(rows) < world_size:
            raise UserError(f"{len(rows)} training rows cannot feed {world_size} devices; use fewer devices")
        super().__init__(rows, min(batch_size, len(rows) // world_size), rank, world_size)
        self.data_seed = seed
        self.index_size = index_size
        self.global_shuffle = shuffle == "global"
        self.crop_room = crop_room

    def plans(self, epoch: int) -> list[BatchPlan]:
        """Return this rank's batches of an epoch."""
        n = len(self.rows)
        order = epoch_order(n, self.data_seed, epoch) if self.global_shuffle else np.arange(n)
        starts = crop_starts(self.index_size, self.crop_room, self.data_seed, epoch)
        batches = rank_batches(self.rows[order], self.batch_size, self.rank, self.world_size)
        return [
            BatchPlan(epoch, number, rows, np.ones(len(rows), dtype=bool), starts[rows])
            for number, rows in enumerate(batches)
        ]

    def __len__(self) -> int:
        """Return the number of batches of an epoch, the same on every rank and in every epoch."""
        return len(self.rows) // (self.batch_size * self.world_size)


class EvaluationBatchSampler(PlanSampler):
    """Validation, test, prediction: each row once, in index order, crops from sample 0, padding marked invalid."""

    def plans(self, epoch: int) -> list[BatchPlan]:
        """Return this rank's batches; the same in every epoch."""
        dealt = evaluation_batches(self.rows, self.batch_size, self.rank, self.world_size)
        return [
            BatchPlan(epoch, number, rows, valid, np.zeros(len(rows), dtype=np.int64))
            for number, (rows, valid) in enumerate(dealt)
        ]

    def __len__(self) -> int:
        """Return the number of batches, the same on every rank."""
        return -(-len(self.rows) // (self.batch_size * self.world_size))
