"""An index.json with wrong types, ranges or paths: refused in one line, before a row is chosen by it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ecgcmr.errors import UserError
from ecgcmr.shards import ShardReader
from ecgcmr.shards.index import ShardIndex, read_labels
from ecgcmr.verification import verify_cohort

SELECTION = "selections"


def _set(*keys: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def _rows(value: Any) -> Callable[[dict[str, Any]], None]:
    return _set(SELECTION, value={"some": {"about": "some", "rows": value}})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_set("duplicates", value=[60]), "duplicates holds row 60, there are 60 rows"),
        (_set("duplicates", value=[-1]), "duplicates holds row -1"),
        (_set("duplicates", value=[10**400]), "duplicates holds row of a huge number"),
        (_set("duplicates", value=[1.5]), "duplicates is no list of row numbers"),
        (_set("duplicates", value=["1"]), "duplicates is no list of row numbers"),
        (_set("duplicates", value=[True]), "duplicates is no list of row numbers"),
        (_set("duplicates", value=[[1]]), "duplicates is no list of row numbers"),
        (_set("duplicates", value={"1": 1}), "duplicates is no list of row numbers"),
        (_set("duplicates", value=None), "duplicates is no list of row numbers"),
        (_rows([60]), "selections.some holds row 60"),
        (_rows([2**63]), "selections.some holds row of a huge number"),
        (_rows([0.0]), "selections.some is no list"),
        (_rows("abc"), "selections.some is no list"),
        (_set(SELECTION, value={"some": {"rows": [1]}}), "selections.some lacks"),
        (_set(SELECTION, value={"some": [1]}), "selections.some lacks"),
        (_set(SELECTION, value=[1]), "selections is no mapping"),
        (_set("statistics", value=[1]), "statistics is no mapping"),
        (_set("statistics", "lv_edv", value=[1]), "statistics.lv_edv is no mapping with a count n"),
        (_set("statistics", "lv_edv", "n", value="3"), "statistics.lv_edv is no mapping with a count n"),
        (_set("withdrawn", value=[7]), "withdrawn is no list of text"),
        (_set("withdrawn", value="0" * 32), "withdrawn is no list of text"),
        (_set("subjects", "has_ecg", 3, value="false"), "subjects.has_ecg is no list of true or false"),
        (_set("subjects", "has_cmr", 3, value=0), "subjects.has_cmr is no list of true or false"),
        (_set("subjects", "split", 3, value=None), "subjects.split is no list of text"),
        (_set("subjects", "subject", 3, value="\u00e9"), "incomplete or damaged"),
        (_set("subjects", value=[]), "incomplete or damaged"),
        (_set("shards", value={"0": {}}), "shards is no list"),
        (_set("shards", 0, value="shard"), "shards is no list"),
        (_set("shards", 0, "rows", value=20.0), "shards.0.rows is no count"),
        (_set("shards", 0, "rows", value=10**30), "shards.0.rows is no count"),
        (_set("shards", 0, "bytes", value="many"), "shards.0.bytes is no count"),
        (_set("shards", 0, "file", value="../../other.h5"), "shards.0.file is no path below the folder"),
        (_set("shards", 0, "file", value="/etc/passwd"), "shards.0.file is no path below the folder"),
        (_set("shards", 0, "file", value=3), "shards.0.file is no path below the folder"),
        (_set("counts", value=[1]), "incomplete or damaged"),
        (_set("statistics", value=3), "incomplete or damaged"),
        (_set("extra", value=3), "incomplete or damaged"),
        (_set("layout", value=3), "incomplete or damaged"),
        (_set("layout", "ecg", "samples", value="many"), "index.json: "),
    ],
)
def test_wrong_types_and_ranges_are_refused(cohort: ShardIndex, change: Callable, told: str) -> None:
    path = cohort.root / "index.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    for read in (ShardIndex.load, verify_cohort):
        with pytest.raises(UserError, match=told) as error:
            read(cohort.root)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 400


def test_a_selection_and_duplicates_within_range_are_taken(cohort: ShardIndex) -> None:
    path = cohort.root / "index.json"
    content = json.loads(path.read_text())
    content |= {"duplicates": [0, 59], SELECTION: {"some": {"about": "some", "rows": [0, 1, 20]}}}
    path.write_text(json.dumps(content))
    assert ShardIndex.load(cohort.root).selection("some").tolist() == [1, 20]


def test_an_index_nested_beyond_reading_is_refused(cohort: ShardIndex) -> None:
    (cohort.root / "index.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="nested too deeply"):
        ShardIndex.load(cohort.root)


def test_a_shard_that_may_not_be_read_is_not_called_damaged(cohort: ShardIndex, monkeypatch) -> None:
    genuine = h5py.File

    def refusing(path: Path, *words: Any, **named: Any) -> h5py.File:
        if Path(path).name == "shard-00001.h5":
            raise PermissionError(errno.EACCES, "Unable to synchronously open file")
        return genuine(path, *words, **named)

    monkeypatch.setattr(h5py, "File", refusing)
    index = ShardIndex.load(cohort.root)
    for read in (
        lambda: ShardReader(index.shard_path(1)).ecg(0),
        lambda: read_labels(index, ["lv_edv"], np.array([25])),
    ):
        with pytest.raises(UserError, match="^shard-00001.h5: may not be read; give yourself permission to read it"):
            read()
    assert any("may not be read" in fault for fault in verify_cohort(cohort.root))


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("ecg", "sampling_rate", float("nan")),
        ("ecg", "sampling_rate", "500"),
        ("ecg", "sampling_rate", 0),
        ("ecg", "samples", 1.5),
        ("ecg", "leads", "abc"),
        ("ecg", "leads", ["I", "I"]),
        ("ecg", "quality", "false"),
        ("ecg", "max_beats", -1),
    ],
)
def test_a_layout_of_another_type_or_range_is_refused_by_its_field(
    cohort: ShardIndex, part: str, field: str, value: object
) -> None:
    path = cohort.root / "index.json"
    content = json.loads(path.read_text())
    content["layout"][part][field] = value
    path.write_text(json.dumps(content))
    named = "NaN" if value != value else rf"layout\.{part}\.{field} is no"
    with pytest.raises(UserError, match=f"index.json: .*{named}"):
        ShardIndex.load(cohort.root)
