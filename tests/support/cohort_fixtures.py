"""Fixtures that write small cohorts of shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tiny_cohort import tiny_layout, tiny_rows

from ecgcmr.shards.index import ShardIndex
from ecgcmr.shards.index_writer import write_index
from ecgcmr.shards.shard import write_shard


@pytest.fixture
def make_cohort(tmp_path: Path) -> Callable[..., ShardIndex]:
    """Write a cohort of shards with the given splits, a list a shard."""

    def make(*shards: Sequence[str], name: str = "cohort") -> ShardIndex:
        root, first, entries = tmp_path / name, 0, []
        for number, splits in enumerate(shards):
            path = root / "shards" / f"shard-{number:05d}.h5"
            entries.append(write_shard(path, tiny_layout(), tiny_rows(first, splits)))
            first += len(splits)
        return write_index(root, tiny_layout(), entries, extra={"code": "test"})

    return make


@pytest.fixture
def cohort(make_cohort: Callable[..., ShardIndex]) -> ShardIndex:
    """60 rows in 3 shards; 36 train, 15 validate, 9 test."""
    return make_cohort(
        ["train"] * 12 + ["val"] * 5 + ["test"] * 3,
        ["val"] * 5 + ["train"] * 12 + ["test"] * 3,
        ["test"] * 3 + ["val"] * 5 + ["train"] * 12,
    )
