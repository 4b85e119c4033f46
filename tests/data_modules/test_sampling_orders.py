"""Orders beyond the global one: by shard, balanced, drawn, entered in the middle; the world never changes them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.samplers import EpochBatchSampler
from data_modules.sampling import SHUFFLES, balanced_rows, drawn_rows, window_order
from ecgcmr.errors import UserError

worlds = st.integers(1, 16)


@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=30), window=st.integers(1, 40), epoch=st.integers(0, 99))
def test_a_window_order_reads_few_shards_at_a_time(sizes: list[int], window: int, epoch: int) -> None:
    shards = np.repeat(np.arange(len(sizes)), sizes)
    order = window_order(shards, 3, epoch, window)
    assert sorted(order) == list(range(len(shards)))
    np.testing.assert_array_equal(order, window_order(shards, 3, epoch, window))
    # The order falls into groups of at most `window` shards, none of which comes back later.
    seen: set[int] = set()
    rest = shards[order]
    while len(rest):
        group = dict.fromkeys(rest.tolist())  # in order of appearance
        chosen = list(group)[:window] if len(group) > window else list(group)
        count = int(np.isin(shards, chosen).sum())
        assert seen.isdisjoint(chosen)
        if set(rest[:count].tolist()) != set(chosen):  # a shard of the next group came early: not this cut
            pytest.fail(f"rows of {sorted(set(rest[:count].tolist()))} are mixed beyond a window of {window}")
        seen |= set(chosen)
        rest = rest[count:]


def test_a_window_order_mixes_and_changes() -> None:
    shards = np.repeat(np.arange(20), 50)
    orders = [window_order(shards, 0, epoch, 4) for epoch in (0, 1)]
    assert (orders[0] != orders[1]).mean() > 0.9
    firsts = [tuple(sorted(set(shards[order[:200]]))) for order in orders]
    assert len(firsts[0]) == 4
    assert firsts[0] != firsts[1]
    assert (np.diff(shards[orders[0][:200]]) != 0).mean() > 0.6  # interleaved, not shard after shard
    with pytest.raises(UserError, match="window 0"):
        window_order(shards, 0, 0, 0)


@given(few=st.integers(1, 30), more=st.integers(0, 60), epoch=st.integers(0, 50), flip=st.booleans())
def test_balanced_rows_hold_both_classes_alike(few: int, more: int, epoch: int, flip: bool) -> None:
    rows = np.arange(2 * few + more) * 3
    positive = np.zeros(len(rows), dtype=bool)
    positive[np.random.default_rng(1).permutation(len(rows))[:few]] = True
    chosen = balanced_rows(rows, positive ^ flip, 5, epoch)
    assert len(set(chosen)) == len(chosen) == 2 * few
    assert (np.diff(chosen) > 0).all()
    assert positive[np.searchsorted(rows, chosen)].sum() == few
    turns = -(-(few + more) // few)
    union = np.unique(np.concatenate([balanced_rows(rows, positive, 5, epoch + k) for k in range(turns)]))
    assert union.tolist() == rows.tolist()  # everyone has their turn


def test_balance_needs_both_classes() -> None:
    with pytest.raises(UserError, match="all of one class"):
        balanced_rows(np.arange(4), np.ones(4, dtype=bool), 0, 0)


@given(n=st.integers(1, 200), seed=st.integers(0, 2**40), epoch=st.integers(0, 99), even=st.booleans(), data=st.data())
def test_drawn_rows_are_distinct_and_repeatable(n: int, seed: int, epoch: int, even: bool, data: st.DataObject) -> None:
    rows, count = np.arange(n) * 3, data.draw(st.integers(1, n))
    weights = None if even else 10.0 ** np.random.default_rng(seed).uniform(-300, 300, n)
    chosen = drawn_rows(rows, weights, count, seed, epoch)
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()
    assert set(chosen) <= set(rows)
    np.testing.assert_array_equal(chosen, drawn_rows(rows, weights, count, seed, epoch))
    if weights is not None:  # only ratios count
        np.testing.assert_array_equal(chosen, drawn_rows(rows, weights * 2.0**-3, count, seed, epoch))
    with pytest.raises(UserError, match=f"epoch_rows {n + 1}: only {n} training rows"):
        drawn_rows(rows, weights, n + 1, seed, epoch)


def _inclusion(weights: np.ndarray, count: int) -> np.ndarray:
    """Chance of each row to be among ``count``, drawn one by one in proportion to the weights: over all sequences."""
    chances = np.zeros(len(weights))
    for sequence in itertools.permutations(range(len(weights)), count):
        chance, left = 1.0, weights.sum()
        for row in sequence:
            chance *= weights[row] / left
            left -= weights[row]
        chances[list(sequence)] += chance
    return chances


@pytest.mark.parametrize("weights", [[1.0, 2.0, 3.0, 0.5, 8.0, 0.01], None])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_inclusion_frequencies_are_those_of_drawing_one_by_one(weights: list[float] | None, count: int) -> None:
    epochs, given = 4000, None if weights is None else np.array(weights)
    expected = _inclusion(np.ones(6) if given is None else given, count)
    assert expected.sum() == pytest.approx(count)
    drawn = np.concatenate([drawn_rows(np.arange(6), given, count, 11, epoch) for epoch in range(epochs)])
    found = np.bincount(drawn, minlength=6) / epochs
    deviation = np.sqrt(expected * (1 - expected) / epochs)
    assert (np.abs(found - expected) < 4 * deviation + 1e-3).all(), (found, expected)


@given(
    n=st.integers(1, 300),
    per_rank=st.integers(1, 8),
    worlds=st.tuples(worlds, worlds),
    epoch=st.integers(0, 3),
    shuffle=st.sampled_from(SHUFFLES),
    choice=st.sampled_from(["all", "balanced", "drawn", "weighted"]),
    data=st.data(),
)
@settings(max_examples=120)
def test_global_batches_do_not_depend_on_the_world(
    n: int, per_rank: int, worlds: tuple[int, int], epoch: int, shuffle: str, choice: str, data: st.DataObject
) -> None:
    """The same global batch gives the same rows and crops in the same order, from the start or after a resume."""
    rows, shards = np.arange(n) * 2, np.arange(2 * n) // 7
    total = worlds[0] * worlds[1] * per_rank
    positive = np.arange(n) % 3 == 0 if choice == "balanced" and n > 1 else None
    weights = 1.0 + np.arange(n) % 5 if choice == "weighted" else None
    drawn = -(-2 * n // 3) if choice in ("drawn", "weighted") else None

    def batches(world: int, skip: int) -> list[list[tuple[int, int]]]:
        plans = []
        for rank in range(world):
            sampler = EpochBatchSampler(
                rows, total // world, seed=9, index_size=2 * n, shuffle=shuffle, crop_room=50, rank=rank,
                world_size=world, shards=shards, window=3, positive=positive, weights=weights, epoch_rows=drawn,
            )  # fmt: skip
            assert sampler.global_batch == total
            plans.append(sampler.plans(epoch, skip))
        assert len({len(of_rank) for of_rank in plans}) == 1
        pairs = [list(zip(np.concatenate([p.rows for p in same]), np.concatenate([p.start for p in same]), strict=True))
                 for same in zip(*plans, strict=True)]  # fmt: skip
        return [[(int(row), int(start)) for row, start in pair] for pair in pairs]

    size = drawn or n
    if positive is not None:
        size = 2 * min(int(positive.sum()), int((~positive).sum()))
    if size < total:  # batches shrink to what each rank can get, so that global batches differ with the world
        return
    whole = batches(worlds[0], 0)
    assert whole == batches(worlds[1], 0)
    assert size - sum(map(len, whole)) < total
    seen = [row for batch in whole for row, _ in batch]
    assert len(set(seen)) == len(seen)
    done = data.draw(st.integers(0, len(whole)))
    assert batches(worlds[1], done * total) == whole[done:]
