"""Taking subjects and duplicates out of an index, and named selections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from data_modules.labelled import LabelledDataModule
from ecgcmr.errors import UserError
from ecgcmr.shards.index import INDEX_NAME, ShardIndex
from ecgcmr.shards.index_writer import withdraw


def first_three(index: ShardIndex) -> dict[str, dict[str, Any]]:
    return {"three": {"about": "first three", "rows": index.positions("train", ())[:3].tolist()}}


def test_withdrawn_subjects_leave_rows_counts_statistics_and_selections(cohort: ShardIndex) -> None:
    train = cohort.positions("train", ())
    gone = cohort.subjects(train[[1, 2]]).tolist()
    shards = [path.read_bytes() for path in sorted((cohort.root / "shards").iterdir())]
    before = cohort.statistics["lv_edv"]["n"]

    withdraw(cohort.root, gone, first_three)
    index = ShardIndex.load(cohort.root)

    assert index.withdrawn == sorted(gone)
    assert not np.isin(train[[1, 2]], index.positions(None, ())).any()
    assert (index.counts["train"], index.counts["total"], index.counts["left_out"]) == (34, 58, 2)
    assert index.statistics["lv_edv"]["n"] == before - int((train[[1, 2]] % 3 != 0).sum())
    assert index.selection("three").tolist() == train[[0, 3, 4]].tolist()
    assert shards == [path.read_bytes() for path in sorted((cohort.root / "shards").iterdir())]


def test_withdrawal_lasts_and_repeats_to_the_same_bytes(cohort: ShardIndex) -> None:
    one, two = cohort.subjects(np.array([0, 1])).tolist()
    withdraw(cohort.root, [one])
    withdraw(cohort.root, [two])
    content = (cohort.root / INDEX_NAME).read_bytes()
    withdraw(cohort.root, [one, two])
    assert (cohort.root / INDEX_NAME).read_bytes() == content
    assert ShardIndex.load(cohort.root).withdrawn == sorted([one, two])


def test_training_uses_a_selection_and_evaluation_does_not(make_cohort: Callable) -> None:
    cohort = make_cohort(["train"] * 12 + ["val"] * 5 + ["test"] * 3)
    withdraw(cohort.root, [], first_three)
    module = LabelledDataModule(cohort.root, ["lv_edv"], samples=40, selection="three")
    assert set(module.rows("train")) <= set(cohort.positions("train", ())[:3])
    assert module.rows("val").tolist() == cohort.positions("val", ("ecg",)).tolist()
    with pytest.raises(UserError, match="there are: three"):
        LabelledDataModule(cohort.root, ["lv_edv"], samples=40, selection="tree").rows("train")
    with pytest.raises(UserError, match="signal_quality"):
        LabelledDataModule(cohort.root, ["lv_edv"], samples=40, min_quality=0.5).rows("train")
