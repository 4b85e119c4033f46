"""Lists of subjects: who withdrew, and whose file is whose."""

from __future__ import annotations

import pytest

from ecgcmr.errors import UserError
from ecgcmr.preparation.subject_table import read_subjects
from ecgcmr.preparation.withdrawn import read_withdrawn


def write(tmp_path, content):
    path = tmp_path / "w.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "1000011\n1000012\n",
        "1000011\n1000012",
        "1000011\r\n\r\n1000012\r\n",
        "\ufeff1000011\n1000012\n",
        "# withdrawn in May\n1000011\n\n  1000012 \n1000011\n",
        "eid\n1000011\n1000012\n",
        "date,EID\n2020-01-01,1000011\n2020-01-01,1000012.0\n",
        '"eid"\t"date"\n"1000011"\t"x"\n"1000012"\t"y"\n',
        "1000011\n-7\n1000012\n",
    ],
)
def test_every_way_to_list_who_withdrew(tmp_path, content):
    assert read_withdrawn(write(tmp_path, content)) == ["1000011", "1000012"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no id"),
        ("eid\n", "holds no id"),
        ("-1\n-2\n", "holds no id"),
        ("# nobody\n", "holds no id"),
        ("eid,date\n1000011,x\n,y\n", "line 3 holds no id"),
        ("1000011 1000012\n", "line 1 holds no id"),
        ("1000011,1000012\n", "several columns and no header"),
        ("9" * 200, "line 1 holds no id"),
        ("caf\u00e9\n".encode("latin-1"), "is not UTF-8 text"),
        (b"\0\0\0", "is not text"),
        (b'1000011\n"1000012\n', "cannot be read as a table"),
    ],
)
def test_unusable_lists_are_told_without_an_id(tmp_path, content, reason):
    with pytest.raises(UserError, match=reason) as caught:
        read_withdrawn(write(tmp_path, content))
    assert str(caught.value).startswith("w.csv: ")
    assert "100001" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_list_is_told(tmp_path):
    with pytest.raises(UserError, match="none.csv: cannot be read"):
        read_withdrawn(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "content",
    [
        "file,subject\na/1.hea,7\n2.xml,P-1\n",
        "\ufeffSubject;notes;File\n7.0;x;./a/1.hea\nP-1;;2.xml\n\n",
        "file\tsubject\na\\1.hea\t7\n2.xml\tP-1\n2.xml\tP-1\n",
    ],
)
def test_tables_of_files_and_subjects(tmp_path, content):
    assert read_subjects(write(tmp_path, content)) == {"a/1.hea": "7", "2.xml": "P-1"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        ("file,subject\n", "names no file"),
        ("name,subject\na,1\n", "lacks the column file"),
        ("file\na\n", "lacks the column subject"),
        ("file,subject,file\na,1,b\n", "has twice the column file"),
        ("file,subject\na,\n", "line 2 lacks a file or a subject"),
        ("file,subject\na\n", "line 2 lacks a file or a subject"),
        ("file,subject\na,77\n\n./a,78\n", "line 4 gives a file another subject"),
    ],
)
def test_unusable_tables_of_subjects_are_told(tmp_path, content, reason):
    with pytest.raises(UserError, match=reason) as caught:
        read_subjects(write(tmp_path, content))
    assert str(caught.value).startswith("w.csv: ")
    assert "77" not in str(caught.value)
