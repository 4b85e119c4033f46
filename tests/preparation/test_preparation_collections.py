"""Data sets from outside: what a class may return, what is refused in one line, and a folder with a table."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_raw import prepare, report_in, write_ecgs

from ecgcmr.errors import UserError
from ecgcmr.experiments.cohorts import flags_of, with_class
from ecgcmr.formats.array_rows import NpyRow, RowContent
from ecgcmr.preparation.collections import Candidate, DeclaredLabel, SearchNotes
from ecgcmr.preparation.collections.gathering import gather
from ecgcmr.preparation.earlier_run import read_earlier
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.plan import make_plan
from ecgcmr.shards import ShardIndex, read_labels

ROW = NpyRow(0, RowContent(("I",), 500.0))
AGE = DeclaredLabel("age", low=0, high=120)


class Given:
    """A collection of what a test gives it; an error among that is raised."""

    def __init__(self, candidates=(), labels=(AGE,)):
        self.given, self.declared = candidates, labels

    def labels(self):
        if isinstance(self.declared, Exception):
            raise self.declared
        return self.declared

    def candidates(self, notes):
        for candidate in self.given:
            if isinstance(candidate, BaseException):
                raise candidate
            yield candidate


class Returning(Given):
    """A collection that is no generator."""

    def candidates(self, notes):
        return self.given


def one(subject="1", ecg="1.xml", **fields) -> Candidate:
    return Candidate(subject, Path(ecg) if isinstance(ecg, str) else ecg, **fields)


@pytest.mark.parametrize(
    ("collection", "reason"),
    [
        (Given(), "returned no candidate"),
        (Given([ValueError("abc\ndef")]), r"candidates() raised ValueError: abc\ndef (test_preparation_collections.py"),
        (Given([one(), KeyError("file")]), "candidates() raised KeyError"),
        (Given([one(), "1.xml"]), "candidate 2 is a str, not a Candidate"),
        (Given(None), "candidates() raised TypeError"),
        (Given([None]), "candidate 1 is None, not a Candidate"),
        (Given([one(5)]), "candidate 1 has an int as its subject, not a text"),
        (Given([one("")]), "candidate 1 has no subject"),
        (Given([one(id="\ud800")]), "candidate 1 has an id with half a character in it"),
        (Given([SystemExit("bye")]), "candidates() raised SystemExit: bye"),
        (Given([one(ecg=None)]), "candidate 1 has neither an ECG nor images"),
        (Given([Candidate("1", "a.xml")]), "candidate 1 has a str as its ecg, not a pathlib.Path"),
        (Given([one(split="dev")]), "candidate 1 is in split 'dev'; choose one of train, val, test, or None"),
        (Given([one(labels={"agee": 5})]), "candidate 1 has a label agee that labels() does not declare"),
        (Given([one(labels={"age": [5]})]), "candidate 1 has a list as label age; give a number"),
        (Given([one(labels=5)]), "candidate 1 has an int as its labels, not a dict"),
        (Given([one(labels=np.zeros(3))]), "candidate 1 has labels of shape (3,), not (1,) numbers"),
        (Given([one(), one(ecg="2.xml")]), "candidate 2 is of the same subject as candidate 1 and has its id"),
        (Given([one(), one("2")]), "candidate 2 is of the same file as candidate 1"),
        (Given([one(read_by=ROW), one("2", read_by=ROW)]), "candidate 2 is of the same file as candidate 1"),
        (Given([one(read_by=np.load)]), "candidate 1 has a function as its read_by, not a dataclass that is a Record"),
        (
            Given([one(), one("2", ecg=None, cmr=Path("b"), read_by=ROW)]),
            "candidate 2 says what reads its ECG, and has none",
        ),
        (Given([one("a\nb"), one("a", "2.xml", id="b")]), "candidate 2 is of the same subject as candidate 1"),
        (
            Given([one(split="train"), one(ecg="2.xml", id="b", split="test")]),
            "candidate 2 is in split test, and another one of its subject in train",
        ),
        (Given([one(), one("2", "2.xml", labels=np.zeros(1))]), "gives labels by name for some candidates"),
        (Returning(5), "candidates() returned an int, not candidates one after the other"),
        (Returning(None), "candidates() returned None, not candidates"),
        (Given([one()], RuntimeError("broken")), "labels() raised RuntimeError: broken"),
        (Given([one()], None), "labels() returned None, not a list of DeclaredLabel"),
        (Given([one()], ["age"]), "labels() returned a str among its labels, not a DeclaredLabel"),
        (Given([one()], [AGE, AGE]), "labels(): label age would stand for two things"),
    ],
)
def test_what_a_collection_may_not_return_is_refused_in_one_line(collection, reason):
    with pytest.raises(UserError) as caught:
        gather(collection, "--collection lab:Lab", SearchNotes())
    assert str(caught.value).startswith("--collection lab:Lab: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_become_numbers_and_what_cannot_be_is_counted():
    values = [5, np.float32(6.5), "7", True, None, float("nan"), "x", 500, "inf"]
    notes = SearchNotes()
    candidates = [one(str(i), f"{i}.xml", labels={"age": value}) for i, value in enumerate(values)]
    labels = gather(Given([*candidates, one("99", "99.xml")]), "x", notes).labels[:, 0]
    np.testing.assert_array_equal(labels, [5, 6.5, 7, 1, *[np.nan] * 6])
    assert notes.counts.unreadable == {"age": 1}
    assert notes.counts.out_of_range == {"age": 2}


def test_what_cannot_be_stored_is_missing():
    columns = [DeclaredLabel("free")]
    candidates = [one(str(i), f"{i}.xml", labels={"free": value}) for i, value in enumerate([1e300, -np.inf, 1e38])]
    labels = gather(Given(candidates, columns), "x", SearchNotes()).labels[:, 0]
    np.testing.assert_array_equal(labels, np.float32([np.nan, np.nan, 1e38]))


def test_labels_of_a_collection_of_ones_own_are_refused_without_a_usable_value():
    columns = [DeclaredLabel("sick", "yes/no"), DeclaredLabel("free")]
    candidates = [one(str(i), f"{i}.xml", labels={"sick": value}) for i, value in enumerate(["Ja", "Nein"])]
    with pytest.raises(UserError, match=r"^x: label sick: none of its 2 values is one of .*; mend them in labels\(\)$"):
        gather(Given(candidates, columns), "x", SearchNotes())
    notes = SearchNotes()
    gather(Given([*candidates, one("9", "9.xml", labels={"sick": "no"})], columns), "x", notes)
    assert notes.remarks == ["x: nobody has a value of free"]


MODULE = """
from pathlib import Path
from ecgcmr.preparation.collections import Candidate, DeclaredLabel

class Lab:
    def __init__(self, folder: Path, count: int = 4, split: str | None = None):
        self.folder, self.count, self.split = folder, count, split
    def labels(self):
        return [DeclaredLabel("age")]
    def candidates(self, notes):
        for i in range(self.count):
            yield Candidate(f"S{i}", self.folder / f"{i}.xml", labels={"age": i}, split=self.split)

class NoMethods:
    pass

class OtherMethods:
    def labels(self, more): return []
    def candidates(self, notes): return []

class Broken:
    def __init__(self):
        raise OSError("no disk")
    labels = lambda self: []
    candidates = lambda self, notes: []

function = len
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Prepare with a module ``lab_of_NAME`` in the working folder."""
    name = f"lab_{abs(hash(tmp_path))}"
    write_ecgs(tmp_path / "raw", [f"{i}.xml" for i in range(4)])
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / "key").write_bytes(bytes(32))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(cls: str, *words: object) -> int:
        collection = cls.replace("lab", name, 1)
        return prepare("--collection", collection, "--out", tmp_path / "out", "--key-file", tmp_path / "key", *words)

    return call


def test_a_class_in_the_working_folder_is_found_and_its_arguments_are_typed(lab, tmp_path, capsys):
    assert lab("lab:Lab", "--collection-args", "folder=raw", "count=5", "split=train") == 0
    index = ShardIndex.load(tmp_path / "out")
    assert sorted(read_labels(index, ["age"], index.positions("train", ()))[:, 0]) == [0, 1, 2, 3]
    assert [item["file"] for item in report_in(tmp_path / "out")["skipped"]] == ["4.xml"]
    assert "nobody is in split val or test" in capsys.readouterr().err


def test_splits_that_are_given_leave_nothing_to_stratify(lab):
    with pytest.raises(UserError, match="--stratify: the data set itself gives every subject's split"):
        lab("lab:Lab", "--collection-args", "folder=raw", "split=train", "--stratify", "age")


def test_who_has_withdrawn_stays_out_of_a_collection_of_ones_own(lab, tmp_path):
    assert lab("lab:Lab", "--collection-args", "folder=raw") == 0
    (tmp_path / "w.txt").write_text("S1\n")
    assert lab("lab:Lab", "--collection-args", "folder=raw", "--withdrawn", tmp_path / "w.txt") == 0
    assert lab("lab:Lab", "--collection-args", "folder=raw") == 0
    assert ShardIndex.load(tmp_path / "out").counts["total"] == 3


@pytest.mark.parametrize(
    ("cls", "arguments", "reason"),
    [
        ("ukbb", (), "--collection ukbb: choose one of ukb, folder, ptbxl,"),
        ("ptbxl", ("--cmr", "raw"), "--collection ptbxl: name the download with --ecg"),
        ("lab:Lab", ("--collection-args", "folder=a", "folder=b"), "--collection-args: folder is given twice"),
        ("lab:Lab class", (), "is no name of a class"),
        ("../lab:Lab", (), "is no name of a class"),
        ("away.data:Lab", (), "away.data cannot be imported (ModuleNotFoundError: No module named 'away')"),
        ("lab:Labb", (), "has no class Labb; did you mean Lab?"),
        ("lab:function", (), "holds a builtin_function_or_method, not a class, named function"),
        ("lab:NoMethods", (), "has no method labels(); it needs labels() and candidates(notes)"),
        ("lab:OtherMethods", (), "its method labels cannot be called as labels()"),
        ("lab:Broken", (), "cannot be built (OSError: no disk)"),
        ("lab:Lab", (), "it is Lab(folder: pathlib.Path"),
        ("lab:Lab", ("--collection-args", "folder=raw", "count=many"), "it is Lab(folder: pathlib.Path"),
        ("lab:Lab", ("--collection-args", "folder=raw", "cuont=3"), "cuont"),
        (
            "lab:Lab",
            ("--collection-args", "folder=raw", "--ecg", "raw"),
            "--ecg: is not used with a collection of your",
        ),
        ("lab:Lab", ("--collection-args", "folder=raw", "--labels", "x"), "--labels: is not used with a collection of"),
        ("ukb", ("--ecg", "raw", "--collection-args", "a=1"), "--collection-args: goes with --collection package"),
        ("folder", ("--ecg", "raw"), "--collection folder: needs one --table"),
        ("ptbxl", ("--ecg", "raw"), "ptbxl_database.csv: missing in the PTB-XL folder"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused_before_work_starts(lab, tmp_path, cls, arguments, reason):
    with pytest.raises(UserError) as caught:
        lab(cls, *arguments)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_experiment_names_a_class_by_its_path_and_arguments():
    entries = {
        "collection": {"class_path": "lab.Lab", "init_args": {"folder": "raw data", "count": 3, "names": ["a"]}},
        "strict": True,
    }
    flags = flags_of(with_class(entries))
    assert flags == [
        *("--collection", "lab.Lab", "--strict"),
        *("--collection-args", "folder=raw data", "count=3", 'names=["a"]'),
    ]
    with pytest.raises(UserError, match=r"cohort.prepare.collection: give it class_path and init_args"):
        with_class({"collection": {"class": "lab.Lab"}})


TABLE = """subject;file;split;Age;sick;shoe
A;a/1.xml;train;50,5;yes;40
A;a/2.xml;train;51,5;no;40
B;3.xml;val;500;;40
C;4.xml;test;40;no;40
D;notes.txt;test;40;no;40
E;away.xml;test;40;no;40
F;../key;test;40;no;40
"""


@pytest.fixture
def folder(tmp_path):
    """Prepare a folder with a table."""
    write_ecgs(tmp_path / "raw", ["a/1.xml", "a/2.xml", "3.xml", "4.xml", "5.xml"])
    (tmp_path / "raw" / "notes.txt").write_text("hello")
    (tmp_path / "raw" / "ecg.yaml").write_text("unit: mV")  # of recordings that do not state it
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "labels.yaml").write_text("age: {range: [0, 120], covariate: true}\nsick: {kind: yes/no}")

    def call(table: str = TABLE, *words: object) -> ShardIndex:
        (tmp_path / "t.csv").write_text(table)
        places = ("--ecg", tmp_path / "raw", "--table", tmp_path / "t.csv", "--labels", tmp_path / "labels.yaml")
        places = (*places, "--key-file", tmp_path / "key", "--out", tmp_path / "out")
        assert prepare("--collection", "folder", *places, *words) == 0
        return ShardIndex.load(tmp_path / "out")

    return call


def test_a_folder_with_a_table_has_a_row_a_recording_and_the_declared_labels_alone(folder, tmp_path, capsys):
    index = folder()
    assert index.label_names == ("age", "sick")
    assert {split: index.counts[split] for split in ("train", "val", "test")} == {"train": 2, "val": 1, "test": 1}
    values = read_labels(index, ["age", "sick"], index.positions("train", ()))
    assert sorted(values.tolist()) == [[50.5, 1], [51.5, 0]]
    assert np.isnan(read_labels(index, ["age", "sick"], index.positions("val", ()))).all()
    report = report_in(tmp_path / "out")
    assert [item["file"] for item in report["skipped"]] == ["../key", "away.xml", "notes.txt"]  # ecg.yaml is no file
    assert report["tables"][0]["columns_unread"] == ["shoe"]
    assert report["phenotypes_out_of_range"] == {"age": 1}
    assert report["tables"][0]["subjects_repeated"] == 1
    said = capsys.readouterr().err
    assert "t.csv: 1 files below --ecg and --cmr are of no row" in said
    assert "the first value stands" not in said  # each row of a recording counts


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("subject,Age,sick\nA,1,1\n", "--table t.csv: lacks a column file of what lies below --ecg"),
        ("file,Age,sick\n3.xml,1,1\n", "t.csv: has no id column"),
        ("subject,file,sick\nA,3.xml,1\n", "--labels: age: no table has the column age"),
        ("subject,file,ecg,age,sick\nA,3.xml,,1,1\n", "t.csv: columns file and ecg hold the same; keep one"),
        ("subject,file,split,age,sick\nA,3.xml,dev,1,1\n", "t.csv: its column split holds 'dev'; write one of train"),
        ("subject,file,age,sick\nA,3.xml,1,1\nA,3.xml,2,1\n", "t.csv: two rows name the file 3.xml; keep one"),
        ("subject,file,age,sick\nA,3.xml,1,1\nB,3.xml,2,1\n", "t.csv: two rows name the file 3.xml; keep one"),
        ("subject,file,age,sick\nA,away.xml,1,1\n", "t.csv: none of its 1 rows with a subject names a usable file"),
        ("subject,file,age,sick\nA,a\\1.xml,1,1\n", "the first, a\\1.xml, has a backslash: write the path"),
        ("subject,file,age,sick\n", "t.csv: none of its 0 rows with a subject names a usable file below --ecg"),
        ('subject,file,age,sick\nA,3.xml,"50,5",1\n', "column age: none of its 1 values is a number; a decimal comma"),
        ("subject;file;age;sick\nA;3.xml;old;1\n", "column age: none of its 1 values is a number; write numbers alone"),
        (
            "subject,file,age,sick\nA,3.xml,1,Ja\nB,4.xml,1,Nein\n",
            "column sick: none of its 2 values is one of",
        ),
        ("subject,file,age,sick\nA,3.xml,500,1\nB,4.xml,-2,1\n", "none of its 2 values is from 0 to 120, as declared"),
    ],
)
def test_a_table_of_recordings_that_cannot_be_used_is_refused(folder, tmp_path, table, reason):
    with pytest.raises(UserError) as caught:
        folder(table)
    assert reason in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_split_may_be_written_in_capitals(folder):
    index = folder(TABLE.replace(";train;", ";Train;").replace(";test;", ";TEST;"))
    assert {split: index.counts[split] for split in ("train", "val", "test")} == {"train": 2, "val": 1, "test": 1}


def test_ten_thousand_recordings_are_planned_in_seconds(tmp_path):
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "lab_of_many.py").write_text(MODULE)
    sys.path.insert(0, str(tmp_path))
    try:
        arguments = (("folder", str(tmp_path)), ("count", "10000"))
        options = PrepareOptions(
            tmp_path / "out", collection="lab_of_many:Lab", collection_args=arguments, key_file=tmp_path / "key"
        )
        began = time.process_time()
        plan = make_plan(options, read_earlier(options.out, 512))
        assert time.process_time() - began < 10
    finally:
        sys.path.remove(str(tmp_path))
    assert len(plan.rows) == 10_000
    assert json.dumps(plan.layout.preparation["splits"]) == '{"by": "hash", "fractions": [0.7, 0.15, 0.15]}'
