"""Sampling: permutations, disjoint ranks, equal batch counts, nested subsets, for any size of cohort and world."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.samplers import EpochBatchSampler, EvaluationBatchSampler
from data_modules.sampling import (
    crop_starts,
    epoch_order,
    evaluation_batches,
    rank_batches,
    subset,
)
from ecgcmr.errors import UserError

sizes = st.integers(0, 400)
worlds = st.integers(1, 16)
batch_sizes = st.integers(1, 70)
seeds = st.integers(0, 2**40)


@given(n=sizes, seed=seeds, epoch=st.integers(0, 10_000))
def test_an_epoch_is_a_permutation_and_repeatable(n: int, seed: int, epoch: int) -> None:
    order = epoch_order(n, seed, epoch)
    assert sorted(order) == list(range(n))
    np.testing.assert_array_equal(order, epoch_order(n, seed, epoch))


def test_epochs_and_seeds_differ() -> None:
    orders = [epoch_order(50, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len({tuple(order) for order in orders}) == 6


@given(n=sizes, batch_size=batch_sizes, world_size=worlds, drop_tail=st.booleans())
def test_ranks_share_each_global_batch(n: int, batch_size: int, world_size: int, drop_tail: bool) -> None:
    order = epoch_order(n, 3, 0)
    ranks = [rank_batches(order, batch_size, rank, world_size, drop_tail) for rank in range(world_size)]
    global_size = batch_size * world_size
    expected = n // global_size if drop_tail else -(-n // global_size)
    assert [len(batches) for batches in ranks] == [expected] * world_size
    for number in range(expected):
        parts = [batches[number] for batches in ranks]
        np.testing.assert_array_equal(np.concatenate(parts), order[number * global_size : (number + 1) * global_size])
        lengths = [len(part) for part in parts]
        assert max(lengths) - min(lengths) <= 1
        if drop_tail:
            assert lengths == [batch_size] * world_size


@given(n=st.integers(1, 400), batch_size=batch_sizes, world_size=worlds)
def test_evaluation_counts_each_row_once_in_equal_batches(n: int, batch_size: int, world_size: int) -> None:
    rows = np.arange(n) * 3
    ranks = [evaluation_batches(rows, batch_size, rank, world_size) for rank in range(world_size)]
    shapes = [[len(r) for r, _ in batches] for batches in ranks]
    assert all(shape == shapes[0] for shape in shapes)
    assert all(0 < length <= batch_size for length in shapes[0])
    counted = np.concatenate([r[valid] for batches in ranks for r, valid in batches])
    assert sorted(counted) == rows.tolist()
    padding = sum(int((~valid).sum()) for batches in ranks for _, valid in batches)
    assert padding < world_size
    assert set(np.concatenate([r for batches in ranks for r, _ in batches])) <= set(rows)


@given(
    n=st.integers(1, 300),
    batch_size=batch_sizes,
    world_size=worlds,
    epoch=st.integers(0, 5),
    part=st.sampled_from([None, 0.3, 1.0]),
    weighted=st.booleans(),
)
@settings(max_examples=60)
def test_training_sampler_reads_disjoint_rows(
    n: int, batch_size: int, world_size: int, epoch: int, part: float | None, weighted: bool
) -> None:
    rows = np.arange(n) * 2 + 1
    drawn = None if part is None else max(1, round(part * n))
    weights = np.linspace(0.1, 9.0, n) if weighted and drawn else None

    def sampler(rank: int) -> EpochBatchSampler:
        return EpochBatchSampler(
            rows, batch_size, seed=1, index_size=2 * n, crop_room=9, rank=rank, world_size=world_size,
            weights=weights, epoch_rows=drawn,
        )  # fmt: skip

    size = drawn or n
    if size < world_size:
        with pytest.raises(UserError, match="cannot feed"):
            sampler(0)
        return
    seen = []
    for rank in range(world_size):
        one = sampler(rank)
        one.set_epoch(epoch)
        plans = list(one)
        assert len(plans) == len(one) == max(1, size // (batch_size * world_size))
        assert all(plan.valid.all() and plan.epoch == epoch for plan in plans)
        assert [plan.number for plan in plans] == list(range(len(plans)))
        assert all(((plan.start >= 0) & (plan.start <= 9)).all() for plan in plans)
        seen += [row for plan in plans for row in plan.rows]
    assert len(set(seen)) == len(seen) == len(plans) * world_size * min(batch_size, size // world_size)
    assert set(seen) <= set(rows)


@given(n=st.integers(1, 300), batch_size=batch_sizes, world_size=worlds)
@settings(max_examples=40)
def test_evaluation_sampler_agrees_with_its_length(n: int, batch_size: int, world_size: int) -> None:
    for rank in range(world_size):
        sampler = EvaluationBatchSampler(np.arange(n), batch_size, rank, world_size)
        plans = list(sampler)
        assert len(plans) == len(sampler)
        assert all((plan.start == 0).all() for plan in plans)


def test_crops_are_keyed_by_seed_epoch_and_row_and_cover_the_room() -> None:
    starts = crop_starts(5000, 7, seed=0, epoch=0)
    assert np.bincount(starts, minlength=8).min() > 500  # all of 0..7, evenly
    assert len(np.bincount(starts)) == 8
    np.testing.assert_array_equal(starts, crop_starts(5000, 7, seed=0, epoch=0))
    assert (starts != crop_starts(5000, 7, seed=0, epoch=1)).mean() > 0.8
    assert (starts != crop_starts(5000, 7, seed=1, epoch=0)).mean() > 0.8
    assert crop_starts(10, 0, 0, 0).tolist() == [0] * 10


def test_a_row_keeps_its_crop_whatever_the_world() -> None:
    def starts(world_size: int, batch_size: int) -> dict[int, int]:
        result = {}
        for rank in range(world_size):
            sampler = EpochBatchSampler(
                np.arange(24), batch_size, seed=5, index_size=30, crop_room=100, rank=rank, world_size=world_size
            )
            for plan in sampler.plans(3):
                result |= dict(zip(plan.rows.tolist(), plan.start.tolist(), strict=True))
        return result

    assert starts(1, 8) == starts(2, 4) == starts(3, 4)


def test_no_shuffle_is_index_order_and_other_words_are_refused() -> None:
    plans = EpochBatchSampler(np.arange(6), 2, seed=0, index_size=6, shuffle="none").plans(4)
    assert np.concatenate([plan.rows for plan in plans]).tolist() == list(range(6))
    with pytest.raises(UserError, match="'rows': choose one of global, shards, none"):
        EpochBatchSampler(np.arange(6), 2, seed=0, index_size=6, shuffle="rows")


@given(n=st.integers(2, 500), seed=seeds, data=st.data())
def test_subsets_are_nested(n: int, seed: int, data: st.DataObject) -> None:
    rows = np.arange(n) + 1000
    small, large = sorted(data.draw(st.tuples(st.integers(1, n), st.integers(1, n))))
    few, many = subset(rows, small, seed), subset(rows, large, seed)
    assert (len(few), len(many)) == (small, large)
    assert set(few) <= set(many) <= set(rows)
    assert (np.diff(many) > 0).all()
    np.testing.assert_array_equal(subset(rows, 1.0, seed), rows)
    assert len(subset(rows, 0.5, seed)) == max(1, round(n / 2))
    assert set(subset(rows, 0.5, seed)) <= set(subset(rows, n, seed))


@pytest.mark.parametrize("amount", [0, -1, 11, 0.0, 1.5, -0.1])
def test_impossible_subsets_are_refused(amount: int | float) -> None:
    with pytest.raises(UserError, match="train_(labels|fraction)"):
        subset(np.arange(10), amount, 0)
