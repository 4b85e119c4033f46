"""Which rows are read, when and by which rank: pure functions of (rows, seed, epoch, world size, batch size).

Nothing here keeps a random state or looks at a file, so an epoch can be repeated, split over any number of ranks and
entered at any batch. One global batch is ``batch_size * world_size`` consecutive rows of the epoch's order; each rank
reads its own part of it. So the sequence of global batches depends on rows, seed, epoch and global batch size alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_least

SHUFFLES = ("global", "shards", "none")
WINDOW = 8
"""Shards whose rows are mixed with each other under ``shards``."""


class Purpose(NamedTuple):
    """What a random draw is for; keeps draws of the same seed independent of each other.

    It stands second in every key, after the seed. NumPy takes (seed, epoch) and (seed, epoch, 0) for one key, so a key
    without a purpose would meet those of others.
    """

    order: int = 0
    crop: int = 1
    subset: int = 2
    ecg_augmentation: int = 3
    cmr_augmentation: int = 4
    balance: int = 5
    mask: int = 6
    second_view: int = 7
    second_mask: int = 8
    layers: int = 9
    views: int = 10
    epoch_rows: int = 11
    folds: int = 12
    cohorts: int = 13
    measurement_augmentation: int = 14


PURPOSE = Purpose()


def generator(seed: int, *key: int) -> np.random.Generator:
    """Return the generator that belongs to a seed and a key of non-negative integers (purpose, epoch, ...)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *key])))


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order (n,) int64 of an epoch: a permutation of 0..n-1."""
    return generator(seed, PURPOSE.order, epoch).permutation(n).astype(np.int64)


def window_order(shards: np.ndarray, seed: int, epoch: int, window: int = WINDOW) -> np.ndarray:
    """Return the order (n,) int64 of an epoch that reads few shards at a time, for disks on which opening is slow.

    The shards are permuted and taken ``window`` at a time; the rows of such a group are permuted among each other.

    Args:
        shards: (n,) the shard of each row.
        seed: Of both permutations.
        epoch: Epoch, from 0.
        window: Shards in a group; with all of them in one the order is as random as ``epoch_order``.
    """
    check_least(1, window=window)
    random = generator(seed, PURPOSE.order, epoch)
    present, number = np.unique(shards, return_inverse=True)
    group = random.permutation(len(present))[number] // window
    # Sorting by (group, random) is a permutation within each group.
    return np.lexsort((random.permutation(len(shards)), group)).astype(np.int64)


def balanced_rows(rows: np.ndarray, positive: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return the rows of an epoch in which both classes are equally frequent, each row at most once, in index order.

    The rarer class takes part whole. Of the other as many rows do, the next ones of a fixed permutation each epoch, so
    that all of them have their turn.

    Args:
        rows: (n,) rows whose class is known.
        positive: (n,) bool.
        seed: Of the permutation.
        epoch: Epoch, from 0.

    Raises:
        UserError: If a class has no row.
    """
    few, many = rows[positive], rows[~positive]
    if len(few) > len(many):
        few, many = many, few
    if len(few) == 0:
        raise UserError("balance: the training rows are all of one class")
    turn = (epoch * len(few) + np.arange(len(few))) % len(many)
    return np.sort(np.concatenate([few, many[generator(seed, PURPOSE.balance).permutation(len(many))[turn]]]))


def drawn_rows(rows: np.ndarray, weights: np.ndarray | None, count: int, seed: int, epoch: int) -> np.ndarray:
    """Draw the rows of an epoch without replacement, in index order.

    As if rows were drawn one after the other, each time with probability proportional to the weight among those that
    are left: the largest of u^(1 / weight) with u uniform in (0, 1) (Efraimidis and Spirakis 2006). Their logarithms,
    log(u) / weight, are ordered as log(weight) - log(-log(u)), which overflows for no weight.

    Args:
        rows: (n,) rows that may be drawn.
        weights: (n,) above 0 and finite; None for all alike.
        count: Rows to draw.
        seed: Of the draws.
        epoch: Epoch, from 0.

    Raises:
        UserError: If there are fewer rows.
    """
    if count > len(rows):
        raise UserError(f"epoch_rows {count}: only {len(rows)} training rows can be drawn; ask for fewer")
    # -log(u) is exponentially distributed.
    keys = -np.log(generator(seed, PURPOSE.epoch_rows, epoch).standard_exponential(len(rows)))
    if weights is not None:
        keys += np.log(weights)
    return rows[np.sort(np.argsort(-keys, kind="stable")[:count])]


def rows_of_cohorts(available: Sequence[int], weights: Sequence[float], epoch_rows: int | None) -> list[int]:
    """Return how many rows of each cohort an epoch takes, each row at most once.

    Args:
        available: Training rows of each.
        weights: In what proportion they are taken, from 0 and not all 0.
        epoch_rows: Rows of an epoch; None for the most that the proportion allows.

    Raises:
        UserError: A cohort that is to be taken from has no rows, or too few for so long an epoch.
    """
    shares = np.asarray(weights, dtype=np.float64) / max(weights)
    shares /= shares.sum()
    empty = [number for number, share in enumerate(shares) if share > 0 and not available[number]]
    if empty:
        raise UserError(f"weights: cohort {empty[0] + 1} of root has no training row; give it the weight 0")
    # A hair more, or rounding takes a row from proportions that come out even.
    most = int(min(n / share * (1 + 1e-12) for n, share in zip(available, shares, strict=True) if share > 0))
    total = most if epoch_rows is None else epoch_rows
    if total > most:
        raise UserError(
            f"epoch_rows {total}: by weights {list(weights)} an epoch has at most {most} rows, each once; ask for fewer"
        )
    exact = shares * total
    counts = np.minimum(np.floor(exact + 1e-9).astype(np.int64), available)
    for number in np.argsort(counts - exact, kind="stable").tolist():
        if counts.sum() < total and counts[number] < available[number] and shares[number] > 0:
            counts[number] += 1
    if not counts.sum():
        raise UserError(f"weights {list(weights)}: an epoch would have no row; give the smallest cohort less weight")
    never = [number + 1 for number, weight in enumerate(weights) if weight > 0 and not counts[number]]
    if never:
        raise UserError(
            f"weights {list(weights)}: of {total:,} rows of an epoch none would be of cohort {never[0]} of root; give "
            "it more weight, or 0 to leave it out"
        )
    return counts.tolist()


def cohort_rows(rows: np.ndarray, cohort: np.ndarray, take: Sequence[int], seed: int, epoch: int) -> np.ndarray:
    """Return the rows of an epoch that takes so many of each cohort, in index order.

    They are the next ones of a fixed permutation of the cohort's rows each epoch, so that all of them have their turn.

    Args:
        rows: (n,) rows that may be taken.
        cohort: (n,) the cohort of each.
        take: Rows of each cohort, at most as many as it has.
        seed: Of the permutations.
        epoch: Epoch, from 0.
    """
    parts = []
    for number, count in enumerate(take):
        members = rows[cohort == number]
        turn = (epoch * count + np.arange(count)) % max(len(members), 1)
        parts.append(members[generator(seed, PURPOSE.cohorts, number).permutation(len(members))[turn]])
    return np.sort(np.concatenate(parts))


def crop_starts(n: int, room: int, seed: int, epoch: int, window: int = 0) -> np.ndarray:
    """Return where the training crops of n rows of the index start, (n,) int64, uniform over 0..room.

    Args:
        n: Rows of the index.
        room: Stored samples beyond a crop's length.
        seed: Of the draws.
        epoch: Epoch, from 0.
        window: Which of several crops of a recording, from 0; each is drawn by itself.
    """
    draws = generator(seed, PURPOSE.crop, epoch, *window_key(window))
    return draws.integers(0, room, size=n, dtype=np.int64, endpoint=True)


def window_key(window: int) -> tuple[int, ...]:
    """Return what the key of a draw for one of several windows ends with: nothing for the first of them."""
    return (window,) if window else ()


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
