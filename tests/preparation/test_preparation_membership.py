"""Which row lies in which shard: stable when rows come and go, balanced, remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgcmr.errors import UserError
from ecgcmr.preparation.membership import (
    FEWEST_SHARDS,
    MEMBERSHIP_NAME,
    SMALLEST_SHARD,
    Membership,
    extend_membership,
    partition,
    read_membership,
)


@given(st.integers(0, 3000), st.integers(1, 700))
def test_partition_is_whole_ordered_and_balanced(n: int, size: int) -> None:
    rows = [str(i) for i in range(n)]
    shards = partition(rows, size)
    assert [row for shard in shards for row in shard] == rows
    lengths = [len(shard) for shard in shards]
    assert all(0 < length <= size for length in lengths)
    assert not lengths or max(lengths) - min(lengths) <= 1
    if n >= FEWEST_SHARDS * SMALLEST_SHARD:
        assert len(shards) >= FEWEST_SHARDS


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(1, 20))
def test_rows_keep_their_shard_when_others_come_and_go(first: set[int], second: set[int], size: int) -> None:
    before = extend_membership(Membership(size, [], {}), [str(i) for i in sorted(first)], {})
    after = extend_membership(before, [str(i) for i in sorted(second)], {})
    assert sorted(int(row) for shard in after.shards for row in shard) == sorted(second)
    for number, shard in enumerate(before.shards):
        assert after.shards[number] == [row for row in shard if int(row) in second]
    new = {row for shard in after.shards[len(before.shards) :] for row in shard}
    assert new == {str(i) for i in second - first}


def test_membership_is_remembered_and_another_size_starts_anew(tmp_path: Path) -> None:
    gone, here = "0" * 32, "1" * 32
    written = Membership(3, [["a", "b"], []], {"s": "val"}, "f" * 32, (gone,), {"file": here})
    written.write(tmp_path)
    assert read_membership(tmp_path, 3) == written
    assert read_membership(tmp_path) == written
    assert read_membership(tmp_path, 4) == replace(written, shard_size=4, shards=[])


def test_no_membership_is_an_empty_one(tmp_path: Path) -> None:
    assert read_membership(tmp_path, 3) == Membership(3, [], {})


HOSTILE = [
    *("", "{", "[]", "null", '{"shard_size": 3}', "[" * 5000),
    '{"shard_size": 0, "shards": [], "splits": {}}',
    '{"shard_size": 3.0, "shards": [], "splits": {}}',
    '{"shard_size": true, "shards": [], "splits": {}}',
    '{"shard_size": 3, "shards": [["a"], ["a"]], "splits": {}}',
    '{"shard_size": 3, "shards": [[1]], "splits": {}}',
    '{"shard_size": 3, "shards": "abc", "splits": {}}',
    '{"shard_size": 3, "shards": [], "splits": {"s": "validation"}}',
    '{"shard_size": 3, "shards": [], "splits": {"s": 1}}',
    '{"shard_size": 3, "shards": [], "splits": {}, "withdrawn": ["1000011"]}',
    '{"shard_size": 3, "shards": [], "splits": {}, "withdrawn": "x"}',
    '{"shard_size": 3, "shards": [], "splits": {}, "files": {"x": "y"}}',
    '{"shard_size": 3, "shards": [], "splits": {}, "key": 7}',
]


@pytest.mark.parametrize("content", HOSTILE)
def test_a_damaged_membership_is_refused_since_it_says_who_has_withdrawn(tmp_path: Path, content: str) -> None:
    (tmp_path / MEMBERSHIP_NAME).write_text(content)
    with pytest.raises(UserError, match="membership.json: is damaged .* who has withdrawn .* restore it") as error:
        read_membership(tmp_path, 3)
    assert "\n" not in str(error.value)
