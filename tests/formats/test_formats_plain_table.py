"""Tables of open collections: what a row has stands under its own column's name, or the table is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ecgcmr.errors import UserError
from ecgcmr.formats.plain_table import read_plain_table, read_whole_table

TABLE = "Id,Grade,Value\n1,none,2.5\n2,,NaN\n"


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode(),
        b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode(),
        gzip.compress(TABLE.encode()),
        TABLE.replace("2.5\n", "2.5,\n").replace("NaN\n", "NaN,\n").encode(),
    ],
    ids=["plain", "mark-and-windows", "gzip", "comma-at-each-end"],
)
def test_cells_stand_under_their_own_names(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    table = read_plain_table(path, ("id", "value"), ("grade", "absent"))
    assert table.columns.tolist() == ["id", "value", "grade", "absent"]
    assert table["id"].tolist() == ["1", "2"]
    assert table["value"].isna().tolist() == [False, True]
    assert table["grade"][0] == "none"
    assert table["grade"].isna()[1]
    assert table["absent"].isna().all()
    assert read_whole_table(path)["Value"][0] == "2.5"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE.replace("2.5", "2,5"), "more values than there are columns"),
        (TABLE.replace(",", ";"), "separated by commas"),
        (TABLE.replace("Grade", "Id"), "column Id stands there twice"),
        (TABLE.replace("Value", "Values"), "lacks column value"),
        ("", "names no columns"),
    ],
)
def test_a_table_that_says_two_things_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"^table\.csv: .*{message}"):
        read_plain_table(path, ("id", "value"))


def test_a_table_without_rows_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(TABLE.splitlines()[0])
    assert len(read_plain_table(path, ("id",))) == 0
