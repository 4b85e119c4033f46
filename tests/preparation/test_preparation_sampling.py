"""A part of a cohort for a trial: whole subjects, nested parts, the same in every run, and nothing thrown away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_raw import prepare, report_in, write_ecgs

from ecgcmr.errors import UserError
from ecgcmr.preparation.candidates import Hashed
from ecgcmr.preparation.collections import Candidate
from ecgcmr.preparation.sampling import take_part
from ecgcmr.preparation.splits import assign_split, subject_hash
from ecgcmr.shards import ShardIndex

KEY = bytes(32)
CANDIDATES = [
    Hashed(f"{subject}-{row}", subject_hash(str(subject), KEY), np.empty(0, np.float32), Candidate("x", Path("x")))
    for subject in range(2000)
    for row in range(1 + subject % 3)
]


def rows(**given) -> set[str]:
    taken, _ = take_part(CANDIDATES, given.get("sample"), given.get("limit"))
    return {one.row for one in taken}


def subjects_of(taken: set[str]) -> set[str]:
    return {row.partition("-")[0] for row in taken}


@pytest.mark.long
def test_a_part_holds_whole_subjects_and_smaller_parts_lie_in_larger_ones():
    parts = [rows(limit=50), rows(limit=500), rows(sample=0.2), rows(sample=0.5), rows()]
    for smaller, larger in zip(parts, parts[1:], strict=False):
        assert smaller < larger
    for part in parts:
        taken = subjects_of(part)
        assert part == {one.row for one in CANDIDATES if one.row.partition("-")[0] in taken}
    assert 47 <= len(parts[0]) <= 50
    assert 497 <= len(parts[1]) <= 500
    assert abs(len(subjects_of(parts[3])) / 2000 - 0.5) < 0.04
    assert len(parts[4]) == len(CANDIDATES)


def test_a_part_has_the_shares_of_the_whole_in_every_split():
    taken, _ = take_part(CANDIDATES, 0.5, None)
    splits = [assign_split(subject) for subject in {one.subject for one in taken}]
    assert abs(splits.count("train") / len(splits) - 0.7) < 0.05
    assert abs(splits.count("test") / len(splits) - 0.15) < 0.04


def test_the_first_subject_is_taken_however_many_rows_it_has():
    taken, remark = take_part(CANDIDATES, None, 1)
    assert len({one.subject for one in taken}) == 1
    assert remark.startswith(f"a part alone, {len(taken)} of {len(CANDIDATES)} rows of 1 of 2000 subjects")


@pytest.fixture
def raw(tmp_path, key_file) -> list[object]:
    write_ecgs(tmp_path / "raw", [f"{1000 + i}.xml" for i in range(6)])
    return ["--ecg", tmp_path / "raw", "--key-file", key_file]


def test_a_trial_can_grow_into_the_whole_and_not_shrink(raw, tmp_path):
    out = tmp_path / "out"
    assert prepare(*raw, "--out", out, "--limit", 3) == 0
    assert "a part alone, 3 of 6 rows of 3 of 6 subjects" in " ".join(report_in(out)["remarks"])
    first = (out / "shards" / "shard-00000.h5").read_bytes()
    assert prepare(*raw, "--out", out) == 0
    assert ShardIndex.load(out).counts["total"] == 6
    assert (out / "shards" / "shard-00000.h5").read_bytes() == first  # what was prepared is not prepared again
    with pytest.raises(UserError, match="3 rows that are prepared there are no part of the trial and would be removed"):
        prepare(*raw, "--out", out, "--limit", 3)
    assert ShardIndex.load(out).counts["total"] == 6


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--limit", 0), "--limit 0: must be at least 1"),
        (("--sample", 0), "--sample 0: must lie above 0"),
        (("--sample", 1.5), "--sample 1.5: must lie above 0, and be at most 1"),
        (("--sample", 1e-9), "--sample 1e-09: leaves none of 6 rows"),
    ],
)
def test_a_part_that_is_none_is_refused(raw, tmp_path, words, reason):
    with pytest.raises(UserError, match=reason):
        prepare(*raw, "--out", tmp_path / "out", *words)
