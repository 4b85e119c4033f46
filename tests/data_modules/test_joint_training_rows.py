"""Several cohorts as one training set: what a batch holds, and which rows an epoch takes of each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_cohort import LABELS, SPLITS, write_cohort
from numbered_cohort import EDV, NORM, write

from data_modules import ECGDataModule, LabelledDataModule
from data_modules.sampling import cohort_rows, rows_of_cohorts
from ecgcmr.errors import UserError

N_TRAIN = SPLITS.count("train")


@pytest.fixture
def roots(tmp_path: Path) -> list[str]:
    write(tmp_path / "a", range(100, 130), ["train"] * 24 + ["val"] * 3 + ["test"] * 3)
    write(tmp_path / "b", range(200, 212), ["train"] * 8 + ["val"] * 2 + ["test"] * 2, (EDV, NORM))
    return [str(tmp_path / name) for name in ("a", "b")]


def module(roots: list[str], **options: object) -> ECGDataModule:
    data = ECGDataModule(roots, 4, samples=100, **options)  # type: ignore[arg-type]
    data.setup("fit")
    return data


def epochs(data: ECGDataModule, count: int, world: int = 1, batch: int = 4) -> list[list[int]]:
    """Return the rows of some epochs as all ranks read them, batch after batch."""
    data.batch_size = batch
    samplers = [data._train_sampler(rank, world) for rank in range(world)]
    result = []
    for epoch in range(count):
        plans = [sampler.plans(epoch) for sampler in samplers]
        result.append([int(row) for dealt in zip(*plans, strict=True) for plan in dealt for row in plan.rows])
    return result


def test_a_batch_holds_rows_of_all_cohorts_with_labels_missing_where_one_lacks_them(roots: list[str]) -> None:
    data = LabelledDataModule(roots, ["lv_edv", "norm"], 32, samples=100)
    data.setup("fit")
    (batch,) = list(data.train_dataloader())
    assert batch["ecg"].shape == (32, 12, 100)
    rows = batch["row"].numpy()
    assert sorted(rows) == [*range(24), *range(30, 38)]
    of_a = torch.from_numpy(rows < 30)
    assert torch.isnan(batch["labels"][of_a, 1]).all()
    assert torch.isfinite(batch["labels"][~of_a]).all()
    assert torch.equal(batch["labels"][of_a, 0], torch.from_numpy(rows[rows < 30] + 100.0).float())
    assert data.rows("test").tolist() == [27, 28, 29, 40, 41]
    mean, _ = data.label_statistics(["lv_edv", "norm"])
    assert mean[0] == np.mean([*range(100, 124), *range(200, 208)])


def test_weights_say_in_what_proportion_an_epoch_takes_rows_of_each_cohort(roots: list[str]) -> None:
    data = module(roots, weights=[1.0, 1.0])
    assert data.train_size == 16  # all 8 of the smaller cohort, and 8 of the other
    seen = Counter[int]()
    for rows in epochs(data, 3):
        assert len(set(rows)) == len(rows) == 16
        assert sum(row < 30 for row in rows) == 8
        seen.update(rows)
    assert set(seen) == {*range(24), *range(30, 38)}  # after three epochs every row of the larger one had its turn
    assert {count for row, count in seen.items() if row < 30} == {1}
    assert module(roots, weights=[3, 1]).train_size == 32
    assert module(roots, weights=[1, 0]).train_size == 24
    short = module(roots, weights=[1, 1], epoch_rows=7)
    assert sorted(Counter(row < 30 for row in epochs(short, 1, batch=7)[0]).values()) == [3, 4]


def test_the_rows_of_an_epoch_do_not_depend_on_ranks_or_on_where_it_was_entered(roots: list[str]) -> None:
    options = {"weights": [2.0, 1.0], "seed": 5}
    one = epochs(module(roots, **options), 4)
    assert epochs(module(roots, **options), 4, world=2, batch=2) == one
    assert epochs(module(roots, **options), 4, world=4, batch=1) == one
    assert one[0] != one[1]
    sampler = module(roots, **options)._train_sampler(0, 1)
    behind = [int(row) for plan in sampler.plans(3, skip=8) for row in plan.rows]
    assert behind == one[3][8:]
    assert epochs(module(roots, weights=[2.0, 1.0], seed=6), 1) != one[:1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": [1.0]}, "weights has 1 entries; it needs one for each cohort of root, 2"),
        ({"weights": [1.0, -1.0]}, "write numbers from 0"),
        ({"weights": [0.0, 0.0]}, "at least one above it"),
        ({"weights": [1.0, 1.0], "epoch_rows": 17}, "an epoch has at most 16 rows"),
        ({"weights": [1.0, 1.0], "balance": "af"}, "weights and balance"),
        ({"weights": [1.0, 1.0], "weight": "lv_edv", "epoch_rows": 4}, "weights and weight"),
    ],
)
def test_weights_that_cannot_be_are_refused(roots: list[str], options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError) as refused:
        module(roots, **options)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("available", "weights", "asked", "taken"),
    [
        ([24, 8], [1, 1], None, [8, 8]),
        ([10, 10, 10], [1, 1, 1], None, [10, 10, 10]),
        ([800_000, 20_000], [0.9, 0.1], None, [180_000, 20_000]),
        ([7, 100], [1, 2], 10, [3, 7]),
        ([5, 0], [1, 0], None, [5, 0]),
    ],
)
def test_rows_of_cohorts(available: list[int], weights: list[float], asked: int | None, taken: list[int]) -> None:
    assert rows_of_cohorts(available, weights, asked) == taken


@pytest.mark.parametrize(("weights", "asked"), [([1e6, 1.0], None), ([1.0, 1e-300], None), ([50.0, 1.0], 7)])
def test_a_cohort_that_no_epoch_would_take_from_is_refused(weights: list[float], asked: int | None) -> None:
    with pytest.raises(UserError, match="none would be of cohort 2 of root"):
        rows_of_cohorts([24, 8], weights, asked)


def test_weights_count_by_their_proportion_however_large() -> None:
    assert rows_of_cohorts([24, 8], [1e308, 1e308], None) == [8, 8]
    assert rows_of_cohorts([24, 8], [3e-310, 1e-310], None) == [24, 8]


def test_a_cohort_in_which_copies_cannot_be_found_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    a = write(tmp_path / "a", range(4), ["train", "train", "val", "test"])
    write(tmp_path / "b", [8, 9], ["test", "val"], window="centre")
    with caplog.at_level("INFO"):
        data = ECGDataModule(str(a.root), 4, samples=100, apart_from=[str(tmp_path / "b")])
        assert len(data.index.positions("train", ())) == 2
    assert "b stores recordings in another length or type, or prepared otherwise," in caplog.text


def test_cohort_rows_are_a_pure_function_and_take_turns() -> None:
    rows, cohort = np.arange(10, 20), np.array([0] * 7 + [1] * 3)
    drawn = [cohort_rows(rows, cohort, [3, 1], 0, epoch) for epoch in range(7)]
    assert all(np.array_equal(cohort_rows(rows, cohort, [3, 1], 0, e), drawn[e]) for e in range(7))
    counts = Counter(int(row) for own in drawn for row in own)
    assert {counts[row] for row in range(10, 17)} == {3}  # 21 places for 7 rows
    assert sum(counts[row] for row in range(17, 20)) == 7


def test_rows_that_judge_elsewhere_are_left_out_of_training(tmp_path: Path) -> None:
    write(tmp_path / "a", range(8), ["train"] * 6 + ["val", "test"])
    write(tmp_path / "b", [1, 6, 40], ["test", "val", "train"])
    data = module([str(tmp_path / "a")], apart_from=[str(tmp_path / "b")])
    assert data.rows("train").tolist() == [0, 2, 3, 4, 5]
    assert data.rows("val").tolist() == [6]  # validates here as there


def test_one_cohort_in_a_list_is_that_cohort(tmp_path: Path) -> None:
    root = write_cohort(tmp_path / "one")
    data = [LabelledDataModule(given, [LABELS[0].name], 4, samples=50) for given in (root, str(root), [str(root)])]
    for each in data:
        each.setup("fit")
    assert {each.train_size for each in data} == {N_TRAIN}
    assert {str(each.root) for each in data} == {str(root)}
