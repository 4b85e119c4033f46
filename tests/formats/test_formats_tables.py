from __future__ import annotations

import gzip
import math
import tracemalloc
from datetime import date, datetime
from functools import partial
from io import BytesIO

import numpy as np
import pandas as pd
import pytest

from ecgcmr.errors import UserError
from ecgcmr.formats import Column, parse_column, read_ptbxl, read_table, table_file
from ecgcmr.formats.table_file import open_text


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("24100-2.0", Column(24100, 2, 0)),
        ("f.24100.2.0", Column(24100, 2, 0)),
        ("f_24100_2_0", Column(24100, 2, 0)),
        ("p24100_i2", Column(24100, 2, None)),
        ("p41280_a3", Column(41280, 0, 3)),
        ("p93_i0_a1", Column(93, 0, 1)),
        ("participant.p24100_i2", Column(24100, 2, None)),
        ("p31", Column(31, 0, None)),
        ("eid", None),
        ("lv_edv", None),
        ("24100", None),
        ("p" + "9" * 5000, None),
        ("p\u0662\u0664", None),
    ],
)
def test_column_names_of_all_styles(name, column):
    assert parse_column(name) == column


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_only_wanted_columns_and_rows_are_kept(tmp_path):
    path = write(tmp_path / "t.csv", "eid,24100-2.0,24101-2.0,99-0.0,LV_ESV\n1,100,50,x,7\n2.0,,60,y,\n3,120,70,z,9\n")
    table = read_table(path, {24100, 24101}, {"lv_esv": "lv_esv"}, ids=["1", "2"])
    assert table.ids.tolist() == ["1", "2"]
    assert table.fields[Column(24100, 2, 0)].tolist() == ["100", None]
    assert table.fields[Column(24101, 2, 0)].tolist() == ["50", "60"]
    assert table.named["lv_esv"].tolist() == ["7", None]
    assert len(table.fields) == 2


def test_tabs_and_byte_order_mark_are_understood(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes("\ufefff.eid\tf.24100.2.0\n5\t80\n".encode())
    table = read_table(path, {24100}, {})
    assert table.ids.tolist() == ["5"]
    assert table.fields[Column(24100, 2, 0)].tolist() == ["80"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("name,24100-2.0\n1,100\n", "no id column"),
        ("eid,other\n1,100\n", "none of the columns"),
        ("", "cannot be read as a table"),
        ('eid,24100-2.0\n1,100\n2,"3\n', "at line 3"),
        ("eid,24100-2.0\n1,100\n2,3,4,5\n", "row 2 below the header has more values"),
        ("eid,24100-2.0,eid\n1,100,1\n", "has column eid twice"),
        ("eid,24100-2.0,f.24100.2.0\n1,100,1\n", "columns 24100-2.0 and f.24100.2.0 hold the same"),
        ("\n1,100\n", "names no columns"),
        ("PK\x03\x04xl/worksheets", "is a spreadsheet or zip archive"),
        ("eid,24100-2.0\0\n1,100\n", "is no text table"),
        ("eid," + "x" * 200_000 + "\n1,2\n", "cannot be read as a table"),
    ],
)
def test_unusable_tables_are_told_by_name(tmp_path, content, reason):
    path = write(tmp_path / "t.csv", content)
    with pytest.raises(UserError, match=reason) as caught:
        read_table(path, {24100}, {})
    assert str(caught.value).startswith("t.csv: ")


def test_binary_file_is_no_table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(bytes(range(256)) * 20)
    with pytest.raises(UserError, match=r"^t.csv: "):
        read_table(path, {24100}, {})


def test_comma_at_the_end_of_lines_shifts_nothing(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "eid,24100-2.0,24101-2.0\n1,100,50,\n2,110,60,\n"), {24101}, {})
    assert table.ids.tolist() == ["1", "2"]
    assert table.fields[Column(24101, 2, 0)].tolist() == ["50", "60"]


def test_table_without_rows_is_empty(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "eid,24100-2.0\n"), {24100}, {})
    assert len(table.ids) == 0


def test_rows_shorter_than_the_header_lack_their_last_values(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "eid,24100-2.0,24101-2.0\n1\n2,110\n\n3,\n"), {24100, 24101}, {})
    assert table.ids.tolist() == ["1", "2", "3"]
    assert table.fields[Column(24100, 2, 0)].tolist() == [None, "110", None]
    assert table.fields[Column(24101, 2, 0)].tolist() == [None, None, None]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_separators_line_ends_and_gzip_are_told_by_content(tmp_path, packed, separator, ending):
    text = ending.join(separator.join(row) for row in (["eid", '"24100-2.0"'], ["5", '"80"'], ["6.0", ""])) + ending
    content = text.encode()
    path = tmp_path / "table.dat"
    path.write_bytes(gzip.compress(content) if packed else content)
    table = read_table(path, {24100}, {})
    assert table.ids.tolist() == ["5", "6"]
    assert table.fields[Column(24100, 2, 0)].tolist() == ["80", None]


def test_plain_names_that_occur_twice_are_refused(tmp_path):
    path = write(tmp_path / "t.csv", "eid,lvef_pct,LV_EF\n1,50,51\n")
    with pytest.raises(UserError, match="columns lvef_pct and LV_EF hold the same"):
        read_table(path, set(), {"lvef_pct": "lv_ef", "lv_ef": "lv_ef"})
    unwanted = write(tmp_path / "u.csv", "eid,note,note,LV_EF\n1,a,b,51\n")
    assert read_table(unwanted, set(), {"lv_ef": "lv_ef"}).named["lv_ef"].tolist() == ["51"]


def test_arrays_are_joined_in_the_order_of_their_indices(tmp_path):
    text = "eid,41270-0.2,41270-0.0,p41270_a4,31-0.0\n1,C,A,E,1\n2,,B,,1\n3,,,,0\n4, D ,,,0\n"
    table = read_table(write(tmp_path / "t.csv", text), {41270, 31}, {}, joined=[41270])
    assert table.fields[Column(41270, 0, None)].tolist() == ["A||C||E", "B", None, "||D"]
    assert set(table.fields) == {Column(41270, 0, None), Column(31, 0, 0)}


def test_a_field_both_joined_and_as_an_array_is_refused(tmp_path):
    path = write(tmp_path / "t.csv", "eid,p41270,p41270_a0\n1,A|B,A\n")
    with pytest.raises(UserError, match="p41270 and p41270_a0 hold the same"):
        read_table(path, {41270}, {}, joined=[41270])
    path = write(tmp_path / "t.csv", "eid,p41270_a99999999\n1,A\n")
    with pytest.raises(UserError, match="p41270_a99999999 has an impossible array index"):
        read_table(path, {41270}, {}, joined=[41270])


def test_the_latest_date_is_that_of_all_rows(tmp_path):
    text = "eid,p41280_a0,p41280_a1\n1,2010-01-01,\n2,,2019-05-06\n3,2037-07-07,never\n"
    table = read_table(write(tmp_path / "t.csv", text), {41280}, {}, ids=["1"], joined=[41280], dated=[41280, 131350])
    assert table.latest == {41280: date(2019, 5, 6)}
    assert (table.rows, len(table.ids)) == (3, 1)


def test_a_row_that_does_not_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, "_ROW_BYTES", 1 << 20)
    whole = "".join(f'{i},"a ""quoted"" text\nover lines",{i}\n' for i in range(60_000))
    path = write(tmp_path / "t.csv", f"eid,note,24100-2.0\n{whole}")
    assert read_table(path, {24100}, {}).rows == 60_000
    path = write(tmp_path / "t.csv", f'eid,note,24100-2.0\n0,"unclosed,0\n{"1,text,100" * 300_000}')
    with pytest.raises(UserError, match="row of more than 1 MB"):
        read_table(path, {24100}, {})


def test_a_packed_file_that_unfolds_without_end_is_refused(tmp_path):
    path = tmp_path / "t.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(64):
            stream.write(b"1" * (1 << 20))
    with pytest.raises(UserError, match="is no text table"):
        read_table(path, {24100}, {})


@pytest.mark.parametrize("harm", [lambda b: b[:-20], lambda b: b[:12], lambda b: b[:40] + b"\xff\0\xff" + b[43:]])
def test_harmed_archives_are_told(tmp_path, harm):
    rows = "".join(f"{i},{i * 7919 % 1000}\n" for i in range(5000))
    path = tmp_path / "t.csv.gz"
    path.write_bytes(harm(gzip.compress(f"eid,24100-2.0\n{rows}".encode())))
    with pytest.raises(UserError, match=r"^t\.csv\.gz: ") as caught:
        read_table(path, {24100}, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_told(tmp_path, encoding):
    path = tmp_path / "t.csv"
    path.write_bytes("eid,24100-2.0,name\n1,100,Müller\n".encode(encoding))
    with pytest.raises(UserError, match="UTF-16 text|is not UTF-8 text"):
        read_table(path, {24100}, {})


def test_a_table_of_many_rows_and_columns_takes_little_memory():
    cells = ",".join(["12.5"] * 60)
    header = ",".join(["eid", *(f"{24100 + i}-2.0" for i in range(60))])
    content = "".join([header, "\n", *(f"{i},{cells}\n" for i in range(40_000))]).encode()
    table = open_text("t.csv", partial(BytesIO, content))
    tracemalloc.start()
    read = read_table(table, set(range(24100, 24160)), {}, ids=[str(i) for i in range(0, 40_000, 100)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (read.rows, len(read.ids), len(read.fields)) == (40_000, 400, 60)
    assert peak < 80 << 20  # all rows as text take 160 MB


def parquet(path, columns):
    arrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    import pyarrow.parquet

    pyarrow.parquet.write_table(arrow.table(columns), path)
    return path


def test_parquet_reads_as_the_csv_of_the_same_table(tmp_path):
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    text = (
        "eid,p24100_i2,p31,p53_i2,p41270,p41280_a0\n"
        "1000011,151.25,1,2016-05-01,I251|J45,2010-02-03\n1000012,,0,2016-05-02,,\n1000013,99,,,E119,2011-01-01\n"
    )
    columns = {
        "eid": np.array([1000011, 1000012, 1000013]),
        "p24100_i2": np.array([151.25, np.nan, 99.0]),
        "p31": pd.array([1, 0, None], dtype="Int8"),
        "p53_i2": [date(2016, 5, 1), date(2016, 5, 2), None],
        "p41270": [["I251", "J45"], None, ["E119"]],
        "p41280_a0": [datetime(2010, 2, 3, 10, 30), None, datetime(2011, 1, 1)],
    }
    wanted = {"joined": [41270], "dated": [41280]}
    fields = {24100, 31, 53, 41270, 41280}
    one = read_table(write(tmp_path / "t.csv", text), fields, {}, **wanted)
    other = read_table(parquet(tmp_path / "t.parquet", columns), fields, {}, **wanted)
    assert one.ids.tolist() == other.ids.tolist()
    assert (one.rows, one.latest) == (other.rows, other.latest)
    assert one.fields.keys() == other.fields.keys()
    for column, values in one.fields.items():
        if column.field == 24100:
            np.testing.assert_array_equal(pd.to_numeric(values), pd.to_numeric(other.fields[column]))
        else:
            assert values.tolist() == other.fields[column].tolist(), column


def test_parquet_in_several_chunks_with_missing_ids(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, "_CELLS_AT_ONCE", 1)
    ids = pd.array([None if i % 7 == 0 else i for i in range(1000)], dtype="float64")
    path = parquet(tmp_path / "t.parquet", {"f.eid": ids.to_numpy(na_value=np.nan), "f.24100.2.0": np.arange(1000)})
    table = read_table(path, {24100}, {}, ids=["5", "699", "999"])
    assert table.ids.tolist() == ["5", "699", "999"]
    assert table.fields[Column(24100, 2, 0)].tolist() == ["5", "699", "999"]
    assert table.rows == sum(i % 7 != 0 for i in range(1000))


def test_parquet_of_impossible_types_and_harmed_files_are_told(tmp_path):
    path = parquet(tmp_path / "t.parquet", {"eid": [1], "p31": [{"a": 1}]})
    with pytest.raises(UserError, match="t.parquet: column p31 is of type struct"):
        read_table(path, {31}, {})
    content = parquet(tmp_path / "t.parquet", {"eid": np.arange(3000), "p31": np.arange(3000)}).read_bytes()
    for harmed in (content[:-8], content[:100] + content[300:], b"PAR1", content[:200] + b"\xff" * 50 + content[250:]):
        path.write_bytes(harmed)
        with pytest.raises(UserError, match=r"^t\.parquet: cannot be read as a table"):
            read_table(path, {31}, {})


def test_parquet_that_names_a_column_twice_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as parquet_file

    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["eid", "p31", "p31"])
    parquet_file.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"^t\.parquet: column p31 stands there twice"):
        read_table(tmp_path / "t.parquet", {31}, {})


PTBXL = """ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_hr
1,15709.0,56.0,1,"{'NORM': 100.0, 'SR': 0.0}",3,records500/00000/00001_hr
2,13243.0,300.0,0,"{'IMI': 15.0, 'LVH': 0.0}",2,records500/00000/00002_hr
3,13243.0,,0,{'SR': 0.0},2,records500/00000/00003_hr
"""
STATEMENTS = ",description,diagnostic,diagnostic_class\nNORM,n,1.0,NORM\nIMI,i,1.0,MI\nLVH,l,1.0,HYP\nSR,s,,\n"


def test_ptbxl_tables(tmp_path):
    write(tmp_path / "ptbxl_database.csv", PTBXL)
    write(tmp_path / "scp_statements.csv", STATEMENTS)
    first, second, third = read_ptbxl(tmp_path)
    assert (first.patient_id, first.fold, first.age, first.male) == ("15709", 3, 56.0, 0.0)
    assert first.superclasses == {"NORM"}
    assert second.superclasses == {"MI", "HYP"}
    assert (second.age, second.male) == (90.0, 1.0)
    assert third.superclasses is None
    assert math.isnan(third.age)
    assert first.path == tmp_path / "records500/00000/00001_hr.hea"


def test_ptbxl_defects_are_told(tmp_path):
    write(tmp_path / "ptbxl_database.csv", PTBXL.replace("{'SR': 0.0}", "__import__('os')"))
    with pytest.raises(UserError, match=r"scp_statements.csv: missing"):
        read_ptbxl(tmp_path)
    write(tmp_path / "scp_statements.csv", STATEMENTS)
    with pytest.raises(UserError, match=r"ecg_id 3 has an unreadable"):
        read_ptbxl(tmp_path)
    write(tmp_path / "ptbxl_database.csv", PTBXL.replace("strat_fold", "fold"))
    with pytest.raises(UserError, match=r"lacks column strat_fold"):
        read_ptbxl(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("records500/00000/00003_hr", "../../etc/passwd", "ecg_id 3 has a filename_hr that is no path within"),
        ("records500/00000/00003_hr", "/etc/passwd", "no path within"),
        ("records500/00000/00003_hr", "", "no path within"),
        ("3,13243.0,,0", "3,13243.0,old,0", "ecg_id 3 has an unreadable"),
        ("{'SR': 0.0},2", "{'SR': 0.0},inf", "ecg_id 3 has an unreadable"),
        ("{'SR': 0.0},2", "{'SR': 0.0},5", "ecg_id 3 lies in another strat_fold"),
        ("{'SR': 0.0}", "(" * 5000, "ecg_id 3 has an unreadable"),
        ("{'SR': 0.0}", "7", "ecg_id 3 has an unreadable"),
        ("3,13243.0", "3,", "a row lacks its ecg_id or patient_id"),
        ("3,13243.0", "2,13243.0", "ecg_id 2 is listed twice"),
    ],
)
def test_impossible_entries_of_ptbxl_are_told(tmp_path, old, new, reason):
    assert old in PTBXL
    write(tmp_path / "ptbxl_database.csv", PTBXL.replace(old, new))
    write(tmp_path / "scp_statements.csv", STATEMENTS)
    with pytest.raises(UserError, match=reason) as caught:
        read_ptbxl(tmp_path)
    assert "\n" not in str(caught.value)
