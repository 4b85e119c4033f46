"""A table of subjects and the files: every way to name a file, both sides counted, nothing ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from raw_file_writers import write_cine_folder
from small_raw import prepare, report_in, write_ecgs

from ecgcmr.errors import UserError
from ecgcmr.preparation import subject_hash
from ecgcmr.shards.index import ShardIndex

KEY = bytes(range(32))
FILES = ("a/1.xml", "a/2.xml", "b/3.xml")


@pytest.fixture
def call(tmp_path: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch):
    """Prepare three recordings by a table of subjects; returns the subjects' hashes."""
    write_ecgs(tmp_path / "raw" / "ecg", FILES)
    monkeypatch.chdir(tmp_path)

    def run(lines: dict[str, str], *words: object) -> set[str]:
        table = tmp_path / "s.csv"
        table.write_text("file,subject\n" + "".join(f'"{file}",{subject}\n' for file, subject in lines.items()))
        ecg = () if "--cmr" in words else ("--ecg", "raw/ecg")
        prepare("--out", tmp_path / "out", *ecg, "--subjects", table, "--key-file", key_file, *words)
        return set(ShardIndex.load(tmp_path / "out").subjects())

    return run


def hashes(*subjects: str) -> set[str]:
    return {subject_hash(subject, KEY) for subject in subjects}


@pytest.mark.parametrize(
    "write",
    [
        lambda file, folder: file,
        lambda file, folder: f"./{file}",
        lambda file, folder: file.replace("/", "\\"),
        lambda file, folder: file.removesuffix(".xml"),
        lambda file, folder: Path(file).name,
        lambda file, folder: Path(file).stem,
        lambda file, folder: f"ecg/{file}",
        lambda file, folder: f"raw/ecg/{file}",
        lambda file, folder: str(folder / file),
        lambda file, folder: str(folder / file).removesuffix(".xml"),
    ],
)
def test_every_sensible_way_to_name_a_file(call, tmp_path, write):
    lines = {write(file, tmp_path / "raw" / "ecg"): subject for file, subject in zip(FILES, "PPQ", strict=True)}
    assert call(lines, "--recordings", "all") == hashes("P", "Q")
    assert report_in(tmp_path / "out")["remarks"] == []


@pytest.mark.parametrize(
    "write",
    [
        lambda file: f"/elsewhere/{file}",
        lambda file: f"other/{file}",
        lambda file: f"C:\\data\\{file}",
        lambda file: file.upper(),
        lambda file: f"{file}.gz",
        lambda file: f"../{file}",
    ],
)
@pytest.mark.parametrize("words", [(), ("--partial-subjects",)])
def test_a_table_that_matches_nothing_is_refused(call, tmp_path, write, words):
    told = "--subjects s.csv: 0 of 3 files have a line, 0 of 3 lines name a file; write each file's path"
    with pytest.raises(UserError, match=told) as error:
        call({write(file): "P" for file in FILES}, *words)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("lines", "counts", "remedy", "subjects"),
    [
        (
            {"a/1.xml": "P", "a/2.xml": "P"},
            "2 of 3 files have a line, 2 of 2 lines name a file",
            "complete the table",
            ("P", "3"),
        ),
        (
            {"a/1.xml": "P", "a/2.xml": "P", "3": "Q", "4": "Q"},
            "3 of 3 files have a line, 3 of 4 lines name a file",
            "correct or remove the lines that name none",
            ("P", "Q"),
        ),
    ],
)
def test_a_part_is_refused_unless_it_is_meant(call, tmp_path, capsys, lines, counts, remedy, subjects):
    with pytest.raises(UserError, match=f"{counts}; {remedy}, or pass --partial-subjects"):
        call(lines)
    assert call(lines, "--partial-subjects") == hashes(*subjects)
    assert f"note: s.csv: {counts}" in capsys.readouterr().err
    assert report_in(tmp_path / "out")["remarks"] == [f"s.csv: {counts}"]


def test_lines_that_disagree_about_a_file_are_refused(call):
    with pytest.raises(UserError, match="s.csv: two lines name the file 1.xml and give it two subjects; keep one"):
        call({"a/1.xml": "P", "1.xml": "Q", "a/2.xml": "P", "b/3.xml": "Q"})


def test_a_name_of_files_in_several_folders_is_refused(call, tmp_path):
    write_ecgs(tmp_path / "raw" / "ecg", ["c/1.xml"])
    with pytest.raises(UserError, match="s.csv: names 1.xml, of which there are several in different folders"):
        call({"1.xml": "P", "2.xml": "P", "3.xml": "Q"})


def test_a_line_of_a_file_that_cannot_be_used_is_no_mistake_of_the_table(call, tmp_path):
    (tmp_path / "raw/ecg/notes.txt").write_text("hello")
    lines = {"a/1.xml": "P", "a/2.xml": "P", "b/3.xml": "Q", "notes.txt": "R"}
    assert call(lines) == hashes("P", "Q")
    assert report_in(tmp_path / "out")["remarks"] == []


def test_folders_of_images_are_matched_in_the_same_way(call, tmp_path):
    for number in range(2):
        write_cine_folder(tmp_path / "cmr" / f"scan.{number}", number)
    with pytest.raises(UserError, match="1 of 2 files have a line, 1 of 1 lines name a file"):
        call({"scan.0": "P"}, "--cmr", tmp_path / "cmr", "--size", 32)
    told = call({"scan.0": "P", str(tmp_path / "cmr" / "scan.1"): "Q"}, "--cmr", tmp_path / "cmr", "--size", 32)
    assert told == hashes("P", "Q")


def test_options_of_subjects_that_have_no_use_are_refused(tmp_path, key_file):
    (tmp_path / "ptbxl_database.csv").write_text(
        "ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_hr\n1,1,50,0,{},1,x\n"
    )
    (tmp_path / "scp_statements.csv").write_text(",diagnostic,diagnostic_class\nNORM,1,NORM\n")
    (tmp_path / "t.csv").write_text("eid,age,file,subject\n1,2,x,y\n")
    words = ("--out", tmp_path.with_name("out"), "--ecg", tmp_path, "--key-file", key_file)
    for option in ("--table", "--subjects"):
        with pytest.raises(UserError, match=f"{option}: is not used for a PTB-XL download"):
            prepare(*words, option, tmp_path / "t.csv")
    with pytest.raises(UserError, match="--partial-subjects: goes with --subjects"):
        prepare(*words, "--partial-subjects")


def test_no_pairs_at_all_are_remarked(tmp_path, key_file, capsys):
    write_ecgs(tmp_path / "ecg", ["p1.xml"])
    write_cine_folder(tmp_path / "cmr" / "1", 1)
    words = ("--ecg", tmp_path / "ecg", "--cmr", tmp_path / "cmr", "--size", 32, "--key-file", key_file)
    prepare("--out", tmp_path / "out", *words)
    assert "note: no subject has both an ECG and images" in capsys.readouterr().err
    assert np.array_equal(ShardIndex.load(tmp_path / "out").has("ecg"), ~ShardIndex.load(tmp_path / "out").has("cmr"))
