from __future__ import annotations

import math

import pytest

from ecgcmr.errors import UserError
from ecgcmr.formats import Column, parse_column, read_ptbxl, read_table


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
        ('eid,24100-2.0\n1,100\n2,"3\n', "at line 2"),
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
