"""Samplers that hand plans of whole batches to a loader: this rank's part of each global batch of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data.distributed import DistributedSampler

from data_modules.sampling import (
    SHUFFLES,
    WINDOW,
    balanced_rows,
    cohort_rows,
    crop_starts,
    drawn_rows,
    epoch_order,
    evaluation_batches,
    rank_batches,
    window_order,
)
from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_choice


@dataclass(frozen=True)
class BatchPlan:
    """All that a worker needs to know to read one batch of b rows.

    Attributes:
        epoch: Epoch, from 0.
        number: Number of the global batch within the epoch, from 0; after a resume, within what was left of it.
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
        self.skip = 0  # rows of the epoch's order to leave out at its start, after a resume
        self.on_epoch: Callable[[int], None] | None = None  # told the epoch when it is set, in this process alone

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "on_epoch": None}

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch that the next iteration goes through."""
        super().set_epoch(epoch)
        if self.on_epoch is not None:
            self.on_epoch(epoch)

    @property
    def global_batch(self) -> int:
        """Rows of a batch over all ranks."""
        return self.batch_size * self.world_size

    def plans(self, epoch: int, skip: int = 0) -> list[BatchPlan]:
        """Return this rank's batches of an epoch, without the first ``skip`` rows of its order."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[BatchPlan]:
        """Yield the plans of the epoch that ``set_epoch`` named."""
        return iter(self.plans(self.epoch, self.skip))

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
        shards: np.ndarray | None = None,
        window: int = WINDOW,
        positive: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        epoch_rows: int | None = None,
        cohort: np.ndarray | None = None,
        take: Sequence[int] = (),
    ) -> None:
        """Set up the sampler.

        Args:
            rows: (k,) positions in the index, ascending.
            batch_size: Rows per rank and batch.
            seed: Of order, crops and balance.
            index_size: Number of rows of the whole index; crops are keyed by position in it.
            shuffle: ``global`` (one permutation of all rows), ``shards`` (shards permuted, rows mixed within a few of
                them) or ``none`` (index order).
            crop_room: Stored samples beyond the crop's length.
            rank: This rank.
            world_size: Number of ranks.
            shards: (rows of the index,) the shard of each; needed for ``shards``.
            window: Shards mixed with each other under ``shards``.
            positive: (k,) bool; given, both classes are equally frequent in every epoch (``balanced_rows``).
            weights: (k,) above 0 and finite: what ``epoch_rows`` are drawn in proportion to; None for all alike.
            epoch_rows: Rows that every epoch draws (``drawn_rows``); None for all.
            cohort: (k,) which of several cohorts each row is of; given, every epoch takes of each as many rows as
                ``take`` says (``cohort_rows``).
            take: Rows of each cohort.

        Raises:
            UserError: If a rank would get no row, more rows are to be drawn than there are, or shuffle is unknown.
        """
        check_choice(SHUFFLES, shuffle=shuffle)
        if shuffle == "shards" and shards is None:
            raise ValueError("shuffle by shards needs the shard of each row")
        if epoch_rows is None and weights is not None:
            raise ValueError("weights need epoch_rows")
        if epoch_rows is not None and positive is not None:
            raise ValueError("classes are balanced among all rows: positive and epoch_rows exclude each other")
        self.rows, self.data_seed = rows, seed
        self.positive, self.weights, self.epoch_rows = positive, weights, epoch_rows
        self.cohort, self.take = cohort, take
        self.size = len(self._epoch_rows(0))
        if self.size < world_size:
            raise UserError(f"{self.size} training rows cannot feed {world_size} devices; use fewer devices")
        super().__init__(rows, min(batch_size, self.size // world_size), rank, world_size)
        self.index_size = index_size
        self.order_of = shuffle
        self.crop_room = crop_room
        self.shards = shards
        self.window = window

    def _epoch_rows(self, epoch: int) -> np.ndarray:
        """Return the positions (size,), ascending, that an epoch goes through."""
        if self.positive is not None:
            return balanced_rows(self.rows, self.positive, self.data_seed, epoch)
        if self.cohort is not None:
            return cohort_rows(self.rows, self.cohort, self.take, self.data_seed, epoch)
        if self.epoch_rows is not None:
            return drawn_rows(self.rows, self.weights, self.epoch_rows, self.data_seed, epoch)
        return self.rows

    def order(self, epoch: int) -> np.ndarray:
        """Return the positions (size,) of an epoch in the order in which they are read, whatever the ranks."""
        rows = self._epoch_rows(epoch)
        if self.order_of == "global":
            return rows[epoch_order(len(rows), self.data_seed, epoch)]
        if self.order_of == "shards" and self.shards is not None:
            return rows[window_order(self.shards[rows], self.data_seed, epoch, self.window)]
        return rows

    def plans(self, epoch: int, skip: int = 0) -> list[BatchPlan]:
        """Return this rank's batches of an epoch, without the first ``skip`` rows of its order."""
        starts = crop_starts(self.index_size, self.crop_room, self.data_seed, epoch)
        batches = rank_batches(self.order(epoch)[skip:], self.batch_size, self.rank, self.world_size)
        return [
            BatchPlan(epoch, number, rows, np.ones(len(rows), dtype=bool), starts[rows])
            for number, rows in enumerate(batches)
        ]

    def __len__(self) -> int:
        """Return the number of batches of an epoch, the same on every rank and in every epoch."""
        return self.size // self.global_batch


class EvaluationBatchSampler(PlanSampler):
    """Validation, test, prediction: each row once, in index order, crops from sample 0, padding marked invalid."""

    def plans(self, epoch: int, skip: int = 0) -> list[BatchPlan]:
        """Return this rank's batches; the same in every epoch."""
        dealt = evaluation_batches(self.rows[skip:], self.batch_size, self.rank, self.world_size)
        return [
            BatchPlan(epoch, number, rows, valid, np.zeros(len(rows), dtype=np.int64))
            for number, (rows, valid) in enumerate(dealt)
        ]

    def __len__(self) -> int:
        """Return the number of batches, the same on every rank."""
        return -(-len(self.rows) // self.global_batch)
