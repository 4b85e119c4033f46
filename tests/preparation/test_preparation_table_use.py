"""What a user's tables hold that is not used, cannot be or contradicts itself: counted, named, never silent."""

from __future__ import annotations

import json
import os
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from small_raw import IDS, prepare, report_in, write_ecgs

from ecgcmr.errors import UserError
from ecgcmr.preparation import subject_hash
from ecgcmr.preparation.diagnoses import DAYS_PER_YEAR
from ecgcmr.preparation.label_columns import LabelCounts
from ecgcmr.preparation.label_table import label_subjects, read_label_table
from ecgcmr.preparation.labels import label_schema
from ecgcmr.shards.index import ShardIndex, read_labels

KEY = bytes(range(32))
NAMES = [label.name for label in label_schema()]


@pytest.fixture
def call(tmp_path: Path, key_file: Path):
    """Prepare four recordings with tables of the given contents; returns labels in the order of the ids."""
    raw = write_ecgs(tmp_path / "raw", [f"{i}_20205_2_0.xml" for i in IDS])

    def run(*contents: str, labels: tuple[str, ...] = (), words: tuple[object, ...] = ()) -> np.ndarray:
        paths = [tmp_path / f"table{number}.csv" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_text(content, encoding="utf-8")
        prepare("--out", tmp_path / "out", "--ecg", raw, "--table", *paths, "--key-file", key_file, *words)
        index = ShardIndex.load(tmp_path / "out")
        hashes = index.subjects().tolist()
        return read_labels(index, labels, np.array([hashes.index(subject_hash(i, KEY)) for i in IDS]))

    return run


def table(header: str, *rows: str) -> str:
    """A table of all four subjects; a row's text follows the id."""
    return header + "\n" + "".join(f"{i},{row}\n" for i, row in zip(IDS, rows, strict=True))


HISTORY = "eid,53-2.0,41270-0.0,41280-0.0,40000-0.0,191-0.0,131350-0.0"


def history(*first: str) -> str:
    """Four histories; the last three end the known diagnoses on 2020-06-01."""
    return table(HISTORY, first[0], "2016-01-01,I48,2018-01-01,,,", "2016-01-01,J45,2020-06-01,,,", "2016-01-01,,,,,")


def years(day: date) -> float:
    return (day - date(2016, 1, 1)).days / DAYS_PER_YEAR


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("2016-01-01,J45,2098-03-04,,,", "41280"),
        ("2016-01-01,,,,,2091-03-04", "131350"),
        ("2016-01-01,,,2068-03-04,,", "40000"),
        ("2016-01-01,,,,2068-03-04,", "191"),
        ("2061-01-01,,,,,", "53"),
    ],
)
def test_dates_after_the_table_was_written_are_unknown_and_counted(call, tmp_path, capsys, row, field):
    values = call(history(row), labels=("af_years", "af_incident"))
    assert values[1:, 1].tolist() == [1, 0, 0]
    np.testing.assert_allclose(values[1:, 0], [years(date(2018, 1, 1)), *[years(date(2020, 6, 1))] * 2], rtol=1e-6)
    counted = report_in(tmp_path / "out")["dates_impossible"]
    assert len(counted) == 1
    assert next(iter(counted)).startswith(f"{field} after {date.today() + timedelta(days=1)}")
    assert list(counted.values()) == [1]
    assert f"1 dates that cannot be: {field} after" in capsys.readouterr().err


def test_a_future_date_of_somebody_outside_the_cohort_does_not_end_anybodys_follow_up(call, tmp_path):
    content = history("2016-01-01,,,,,") + "7777777,2016-01-01,I48,2098-03-04,,,\n"
    np.testing.assert_allclose(call(content, labels=("af_years",))[3], years(date(2020, 6, 1)), rtol=1e-6)
    assert sum(report_in(tmp_path / "out")["dates_impossible"].values()) == 1


def test_the_newest_day_is_the_files_time_or_the_censoring_date(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(history("2016-01-01,I48,2021-01-01,,,"))
    written = time.mktime((2020, 12, 1, 12, 0, 0, 0, 0, -1))
    os.utime(path, (written, written))
    from ecgcmr.formats.table_dates import newest_day

    assert newest_day(path) == date(2020, 12, 2)
    assert newest_day(path, date(2021, 5, 1)) == date(2021, 5, 1)
    read = read_label_table(path, IDS, newest=newest_day(path))
    assert (read.too_new, read.latest[41280]) == ({41280: 1}, date(2020, 6, 1))
    read = read_label_table(path, IDS, newest=newest_day(path, date(2021, 5, 1)))
    assert (read.too_new, read.latest[41280]) == ({}, date(2021, 1, 1))


def test_a_file_whose_own_time_is_wrong_is_not_emptied(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("eid,41270-0.0,41280-0.0\n" + "".join(f"{i},I48,2015-01-01\n" for i in range(30)))
    os.utime(path, (86400.0, 86400.0))
    from ecgcmr.formats.table_dates import newest_day

    with pytest.raises(UserError, match="30 dates of field 41280 lie after 1970-01-0[23].*touch.*--censor-date"):
        read_label_table(path, ["1"], newest=newest_day(path))


def test_a_censoring_date_in_the_future_is_refused(call):
    tomorrow = date.today() + timedelta(days=2)
    with pytest.raises(UserError, match=f"--censor-date {tomorrow}: lies in the future"):
        call(history("2016-01-01,,,,,"), words=("--censor-date", tomorrow))


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("2016-01-01,I48,1930-01-01,,,", "diagnosis before birth"),
        ("2016-01-01,,,2015-01-01,,", "40000 before imaging"),
        ("2016-01-01,,,,2015-01-01,", "191 before imaging"),
        ("2021-01-01,,,,,", "53 after the last day of follow-up"),
    ],
)
def test_dates_that_contradict_each_other_are_counted(call, tmp_path, row, what):
    ages = table("eid,21003-2.0", *["60"] * 4)
    values = call(history(row), ages, labels=("af_prevalent", "af_ever"))
    assert report_in(tmp_path / "out")["dates_impossible"] == {what: 1}
    if "birth" in what:  # the disease is known and its time is not
        assert np.isnan(values[0, 0])
        assert values[0, 1] == 1


def test_a_date_before_1900_is_unreadable(call, tmp_path):
    call(history("2016-01-01,I48,1819-01-01,,,"))
    assert report_in(tmp_path / "out")["values_unreadable"] == {"41280": 1}


def test_columns_left_unread_are_named_with_the_name_they_resemble(call, tmp_path, capsys):
    header = "eid,lv_edv,lv_edw,LVEF pct,20002-0.0,24102-0.0,24100-3.0,odd\x1b[31m"
    call(table(header, *["140,1,2,3,4,5,6"] * 4))
    entry = report_in(tmp_path / "out")["tables"][0]
    assert entry["columns_unread"] == ["lv_edw", "LVEF pct", "20002-0.0", "odd\x1b[31m"]
    assert entry["similar"] == {"lv_edw": "lv_edv", "LVEF pct": "lvef_pct"}
    assert entry["other_visits"] == ["24102-0.0", "24100-3.0"]
    told = capsys.readouterr().err
    assert "table0.csv: 4 columns not read: lv_edw (did you mean lv_edv?)" in told
    assert "not used, since no recording is of that visit or array index: 24102-0.0, 24100-3.0" in told
    assert "\x1b" not in told


def test_a_thousand_unread_columns_are_one_short_line(call, tmp_path, capsys):
    names = [f"x{number}" for number in range(1000)]
    call(table("eid,age," + ",".join(names), *["60" + ",1" * 1000] * 4))
    assert report_in(tmp_path / "out")["tables"][0]["columns_unread"] == names
    line = next(line for line in capsys.readouterr().err.splitlines() if "columns not read" in line)
    assert line.endswith("and 994 more")
    assert len(line) < 200


def test_rows_and_recordings_without_each_other_are_counted(call, tmp_path, capsys):
    call(f"eid,age\n{IDS[0]},60\n{IDS[0]},60\n7777777,60\n", "eid,sex\n" + f"{IDS[1]},1\n")
    report = report_in(tmp_path / "out")
    entry = report["tables"][0]
    assert (entry["rows"], entry["rows_matched"], entry["subjects"], entry["subjects_repeated"]) == (3, 2, 1, 1)
    assert report["subjects_without_table_row"] == 2
    told = capsys.readouterr().err
    assert "table0.csv: 1 of 3 rows are of nobody with an ECG or images" in told
    assert "2 subjects with an ECG or images stand in no table" in told


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("eid,age\n" + "".join(f"0{i},60\n" for i in IDS), "none of its 4 rows .*leading zeros"),
        ("eid,patient,age\n" + "".join(f"{n},{i},60\n" for n, i in enumerate(IDS)), "none of its 4 rows"),
        ("eid,age\n", "has no row with an id below its header"),
        ("person,,\neid,age,sex\n1000000,60,1\n", "has no id column"),
        ("name,age\nx,60\n", "has no id column"),
        ("eid,lv_edw\n1000000,1\n", "has none of the columns this program knows"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_table_that_labels_nobody_stops_the_run_before_anything_is_written(call, tmp_path, content, reason):
    with pytest.raises(UserError, match=f"^--table table0.csv: .*{reason}") as error:
        call(content)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content",
    ["\ufeffeid,age\n{},60\n", '"eid","age"\n"{}","60"\n', "eid,age\n{}.0,60\n", "eid;age\n {} ;60\n"],
)
def test_ids_in_every_usual_writing_match(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_text(content.format(IDS[0]), encoding="utf-8")
    assert read_label_table(path, IDS).ids.tolist() == [IDS[0]]


def test_values_that_disagree_are_counted_and_the_first_stands(tmp_path):
    counts = LabelCounts()
    dated = ",41270-0.0,41280-0.0,41280-0.1"
    contents = [
        f"eid,lv_edv,sex,53-2.0{dated}\n1,140,1,2016-01-01,I48,2010-01-01,\n1,150,1,2016-01-01,,,\n2,90,0,,,,1903-03-03\n"
    ]
    contents += [f"eid,24100-2.0,31-0.0,p53_i2{dated}\n1,140,0,2017-01-01,I48,2012-01-01,\n2,9999,0,,,,2011-01-01\n"]
    tables = []
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.csv").write_text(content)
        tables.append(read_label_table(tmp_path / f"{number}.csv", ["1", "2"]))
    values = label_subjects(["1", "2"], tables, 2, counts)
    assert values[:, NAMES.index("lv_edv")].tolist() == [140, 90]
    assert counts.disagreeing == {"lv_edv": 1, "sex": 1, "53": 1, "41280": 1}


def test_text_in_a_label_column_is_said_on_the_terminal(call, capsys):
    values = call(table("eid,af_ever,lv_edv", "yes,0.14", "no,0.15", "1,150", "0,"), labels=("af_ever",))
    np.testing.assert_array_equal(values[:, 0], [np.nan, np.nan, 1, 0])
    told = capsys.readouterr().err
    assert "2 values that are no number or date taken as missing: af_ever 2" in told
    assert "2 implausible values taken as missing: lv_edv 2" in told


def test_splits_cannot_share_a_label_that_nobody_has(call):
    with pytest.raises(UserError, match="--stratify: nobody has a value of cad_ever"):
        call(table("eid,age", *["60"] * 4), words=("--stratify", "cad_ever"))


def test_subjects_that_change_their_split_are_counted(call, tmp_path, capsys):
    content = table("eid,sex", "1", "1", "1", "0")
    call(content)
    call(content)
    assert "change their split" not in capsys.readouterr().err
    path = tmp_path / "out/shards/membership.json"
    membership = json.loads(path.read_text())
    subject, split = next(iter(membership["splits"].items()))
    membership["splits"][subject] = "test" if split != "test" else "val"
    path.write_text(json.dumps(membership))
    call(content)
    assert "note: 1 of 4 subjects change their split (train, val or test)" in capsys.readouterr().err


@pytest.mark.parametrize(("separator", "bom"), [(";", "\ufeff"), ("\t", "")])
def test_a_decimal_comma_is_read_where_something_else_separates(call, tmp_path, separator, bom):
    rows = ["150,25", "1.502e2", "1,51E2", "nan"]
    text = bom + separator.join(["eid", "24100-2.0", "lv_mass"]) + "\n"
    text += "".join(f"{i}{separator}{row}{separator}90,5\n" for i, row in zip(IDS, rows, strict=True))
    labels = call(text, labels=("lv_edv", "lv_mass"))
    np.testing.assert_allclose(labels[:, 0], [150.25, 150.2, 151.0, np.nan], rtol=1e-6)
    np.testing.assert_array_equal(labels[:, 1], 90.5)
    assert report_in(tmp_path / "out")["values_unreadable"] == {}


def test_a_quoted_comma_between_commas_is_no_decimal_point(call, tmp_path):
    labels = call(table("eid,24100-2.0", '"150,25"', "150", '"1,500"', "151"), labels=("lv_edv",))
    np.testing.assert_array_equal(labels[:, 0], [np.nan, 150, np.nan, 151])
    assert report_in(tmp_path / "out")["values_unreadable"] == {"lv_edv": 2}
