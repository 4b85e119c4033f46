"""Names of files that are no UTF-8, or hold line breaks and a terminal's escapes: used or listed, never a stop."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
from raw_file_writers import cardiosoft_xml, sample_counts, write_cine_folder
from small_raw import prepare, report_in

from ecgcmr.preparation.file_names import as_utf8
from ecgcmr.shards.index import ShardIndex, read_labels
from ecgcmr.verification import verify_cohort


def test_bytes_become_escapes_and_everything_else_stays():
    name = os.fsdecode(b"a\xffb\n.xml")
    assert as_utf8({"x": [name, ("é", 1, None)]}) == {"x": ["a\\xffb\n.xml", ["é", 1, None]]}
    assert as_utf8("\ud800") == "\\ud800"


def test_strange_names_are_used_or_listed(tmp_path: Path, key_file: Path) -> None:
    ecg, cmr = os.fsencode(tmp_path / "ecg"), os.fsencode(tmp_path / "cmr")
    os.makedirs(ecg + b"/dir\xe9")
    for number, name in enumerate((b"/\xff.xml", b"/a\nb\x1b[31m.xml", b"/dir\xe9/x\xff.xml")):
        Path(os.fsdecode(ecg + name)).write_bytes(cardiosoft_xml(sample_counts(number)))
    Path(os.fsdecode(ecg + b"/bad\xff\n.xml")).write_bytes(b"<broken")
    Path(os.fsdecode(ecg + b"/\xfe.txt")).write_bytes(b"unused")
    write_cine_folder(Path(os.fsdecode(cmr + b"/s\xff")), 1)
    os.makedirs(cmr + b"/empty\xff")
    with zipfile.ZipFile(os.fsdecode(cmr + b"/z\xff.zip"), "w") as archive:
        archive.writestr("é.dcm", b"x")
    path = Path(os.fsdecode(cmr + b"/z\xff.zip"))
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))

    words = ("--ecg", os.fsdecode(ecg), "--cmr", os.fsdecode(cmr), "--size", 32, "--key-file", key_file)
    for _ in range(2):
        assert prepare("--out", tmp_path / "out", *words, "--recordings", "all") == 0
    report = report_in(tmp_path / "out")
    assert {item["file"] for item in report["skipped"]} == {"bad\\xff\n.xml", "\\xfe.txt", "empty\\xff", "z\\xff.zip"}
    assert all(item["reason"] and "bug" not in item["reason"] for item in report["skipped"])
    assert {"\\xff.xml", "a\nb\x1b[31m.xml", "dir\\xe9/x\\xff.xml", "s\\xff/sa.nii.gz"} <= set(report["files"])
    counts = ShardIndex.load(tmp_path / "out").counts
    assert (counts["with_ecg"], counts["with_cmr"]) == (3, 1)
    assert verify_cohort(tmp_path / "out") == []


def test_a_table_whose_name_is_no_utf8(tmp_path: Path, key_file: Path) -> None:
    (tmp_path / "ecg").mkdir()
    (tmp_path / "ecg" / "1.xml").write_bytes(cardiosoft_xml(sample_counts(0)))
    table = Path(os.fsdecode(os.fsencode(tmp_path) + b"/t\xff.csv"))
    table.write_text("eid,age\n1,50\n")
    prepare("--out", tmp_path / "out", "--ecg", tmp_path / "ecg", "--table", table, "--key-file", key_file)
    assert report_in(tmp_path / "out")["tables"][0]["table"] == "t\\xff.csv"
    assert read_labels(ShardIndex.load(tmp_path / "out"), ["age"], np.array([0])) == 50
