from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections import Counter

import numpy as np
import pytest
from raw_file_writers import SECRET_NAME, cardiosoft_xml, sample_counts, write_cine_folder

from ecgcmr.errors import UserError
from ecgcmr.formats import read_ecg, read_short_axis
from ecgcmr.preparation import (
    CineOptions,
    assign_split,
    clean_ecg,
    command,
    frames_from_short_axis,
    standardise_record,
    subject_hash,
)
from ecgcmr.preparation import run as run_module
from ecgcmr.preparation.beats import MEASUREMENTS
from ecgcmr.shards.index import ShardIndex, read_cmr, read_ecgs, read_labels

KEY = bytes(range(32))
SUBJECTS = [str(1000010 + i) for i in range(7)]


def write_raw(folder):
    """Seven subjects: all have an ECG, the first five images; tables for all."""
    ecg = folder / "ecg"
    ecg.mkdir(parents=True)
    for i, subject in enumerate(SUBJECTS):
        (ecg / f"{subject}_20205_2_0.xml").write_bytes(cardiosoft_xml(sample_counts(i)))
    for i, subject in enumerate(SUBJECTS[:5]):
        write_cine_folder(folder / "cmr" / subject, i)
    rows = [f"{subject},{140 + i},{60 + i},{i % 2}" for i, subject in enumerate(SUBJECTS)]
    (folder / "phenotypes.csv").write_text("eid,24100-2.0,21003-2.0,31-0.0\n" + "\n".join(rows) + "\n")
    rows = [f"{subject},I48,2012-01-01,2016-01-01" for subject in SUBJECTS[:2]]
    rows += [f"{subject},,,2016-01-01" for subject in SUBJECTS[2:]]
    (folder / "diagnoses.csv").write_text("eid,41270-0.0,41280-0.0,53-2.0\n" + "\n".join(rows) + "\n")
    return folder


@pytest.fixture
def raw(tmp_path):
    return write_raw(tmp_path / "raw")


def call(*words, key_file, workers=1):
    """Run the command as the command line does and return its exit code."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = [str(word) for word in words]
    return command.run(parser.parse_args([*words, "--key-file", str(key_file), "--workers", str(workers)]))


def everything(raw):
    tables = (raw / "phenotypes.csv", raw / "diagnoses.csv")
    return ("--ecg", raw / "ecg", "--cmr", raw / "cmr", "--table", *tables)


def digests(out):
    files = [*sorted((out / "shards").glob("*.h5")), out / "index.json", out / "report.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def report_of(out):
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def test_whole_cohort(raw, tmp_path, key_file):
    out = tmp_path / "out"
    assert call("--out", out, *everything(raw), "--shard-size", 3, "--size", 32, key_file=key_file) == 0
    index = ShardIndex.load(out)
    assert [shard["rows"] for shard in index.shards] == [2, 2, 3]
    assert index.counts["with_ecg"] == 7
    assert index.counts["with_cmr"] == 5
    assert index.layout.ecg is not None
    assert index.layout.cmr is not None
    assert index.layout.cmr.frames == ("ES", "mid", "ED")
    assert index.layout.cmr.spacing_mm == 5.0
    hashes = list(index.subjects())
    assert hashes == sorted(subject_hash(subject, KEY) for subject in SUBJECTS)
    for subject in SUBJECTS:
        row = np.array([hashes.index(subject_hash(subject, KEY))])
        record = read_ecg(raw / "ecg" / f"{subject}_20205_2_0.xml")
        expected = clean_ecg(standardise_record(record)).astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(read_ecgs(index, row)[0], expected)
        i = SUBJECTS.index(subject)
        labels = read_labels(index, ["lv_edv", "age", "sex", "af_prevalent", "af_ever", "cad_ever"], row)[0]
        np.testing.assert_array_equal(labels, [140 + i, 60 + i, i % 2, i < 2, i < 2, 0])
        assert row[0] in index.positions(assign_split(hashes[row[0]]), need=())
        if i < 5:
            frames = frames_from_short_axis(read_short_axis(raw / "cmr" / subject), CineOptions(size=32))
            np.testing.assert_array_equal(read_cmr(index, row)[0], frames)


def test_report_lists_every_file(raw, tmp_path, key_file):
    out = tmp_path / "out"
    (raw / "ecg" / "readme.txt").write_text("hello")
    call("--out", out, *everything(raw), key_file=key_file)
    report = report_of(out)
    assert report["written"] == 7
    assert report["read"] == len(report["files"]) == 7 + 5 * 5 + 2 + 1
    assert "1000010_20205_2_0.xml" in report["files"]
    assert "1000011/seg_sa_ES.nii.gz" in report["files"]
    assert [item["file"] for item in report["skipped"]] == ["readme.txt"]
    assert report["counts"]["with_both"] == 5


def test_bad_files_never_stop_the_rest(raw, tmp_path, key_file, capsys):
    ecg, cmr = raw / "ecg", raw / "cmr"
    bad = {
        "2000001_20205_2_0.xml": (b"", "empty"),
        "2000002_20205_2_0.xml": (cardiosoft_xml()[:9000], "not well-formed"),
        "2000003_20205_2_0.xml": (cardiosoft_xml(strip=False), "no StripData"),
        "2000004_20205_2_0.xml": (cardiosoft_xml(sample_counts(0, 4000)), "lasts 8.00 s"),
        "2000005_20205_2_0.xml": (b"\x00\x01\x02", "no ECG file of a known kind"),
        "2000006_20205_2_0.xml": (cardiosoft_xml(np.zeros((12, 5000), dtype=int)), "flat"),
        "junk.hea": (b"nothing", "no ECG file of a known kind"),
    }
    for name, (content, _) in bad.items():
        (ecg / name).write_bytes(content)
    (cmr / "1000010" / "sa.nii.gz").write_bytes(b"\x1f\x8b broken")
    (cmr / "empty").mkdir()
    words = ("--out", tmp_path / "out", "--ecg", ecg, "--cmr", cmr, "--table", raw / "phenotypes.csv", "--size", 32)
    assert call(*words, key_file=key_file) == 0
    skipped = {item["file"]: item["reason"] for item in report_of(tmp_path / "out")["skipped"]}
    assert set(skipped) == {*bad, "1000010/sa.nii.gz", "empty"}
    for name, (_, reason) in bad.items():
        assert reason in skipped[name]
        assert name not in skipped[name]
    assert "NIfTI" in skipped["1000010/sa.nii.gz"] or "cannot be read" in skipped["1000010/sa.nii.gz"]
    index = ShardIndex.load(tmp_path / "out")
    assert index.counts["with_ecg"] == 7
    assert index.counts["with_cmr"] == 4
    assert call(*words, "--strict", key_file=key_file) == 3
    assert "9 files skipped" in capsys.readouterr().err


def test_nothing_of_a_person_leaves_but_in_the_report(raw, tmp_path, key_file, capsys):
    out = tmp_path / "out"
    (raw / "ecg" / "1000099_20205_2_0.xml").write_bytes(b"<CardiologyXML><broken")
    call("--out", out, *everything(raw), key_file=key_file)
    printed = capsys.readouterr()
    texts = [printed.out.encode(), printed.err.encode()]
    texts += [path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != "report.json"]
    assert len(texts) == 6
    for secret in (*SUBJECTS, "1000099", SECRET_NAME, str(raw)):
        for text in texts:
            assert secret.encode() not in text
            assert secret.encode("latin-1") not in text


def test_same_files_same_bytes_and_other_key_other_hashes(raw, tmp_path, key_file):
    words = (*everything(raw), "--shard-size", 3, "--size", 32)
    call("--out", tmp_path / "a", *words, key_file=key_file)
    call("--out", tmp_path / "b", *words, key_file=key_file)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    key_file.write_bytes(KEY[::-1])
    call("--out", tmp_path / "c", *words, key_file=key_file)
    assert not set(ShardIndex.load(tmp_path / "a").subjects()) & set(ShardIndex.load(tmp_path / "c").subjects())


@pytest.mark.multiprocess
@pytest.mark.long
def test_processes_give_the_same_bytes(raw, tmp_path, key_file):
    words = (*everything(raw), "--shard-size", 3, "--size", 32)
    call("--out", tmp_path / "a", *words, key_file=key_file)
    call("--out", tmp_path / "b", *words, key_file=key_file, workers=2)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


@pytest.fixture
def computed(monkeypatch):
    """Names of the shards that are really computed, in order."""
    names = []
    genuine = run_module.prepare_shard

    def counting(task):
        names.append(task.path.stem)
        return genuine(task)

    monkeypatch.setattr(run_module, "prepare_shard", counting)
    return names


def test_interrupted_run_goes_on_where_it_stopped(raw, tmp_path, key_file, monkeypatch, computed):
    words = ("--out", tmp_path / "out", *everything(raw), "--shard-size", 3, "--size", 32)
    genuine = run_module.prepare_shard

    def interrupted(task):
        if task.path.stem == "shard-00001":
            raise KeyboardInterrupt
        return genuine(task)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "prepare_shard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            call(*words, key_file=key_file)
    assert not (tmp_path / "out" / "index.json").exists()
    computed.clear()
    call(*words, key_file=key_file)
    assert computed == ["shard-00001", "shard-00002"]
    call("--out", tmp_path / "fresh", *words[2:], key_file=key_file)
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")


def test_finished_run_does_nothing_again(raw, tmp_path, key_file, computed):
    (raw / "ecg" / "1000099_20205_2_0.xml").write_bytes(b"<CardiologyXML><broken")
    words = ("--out", tmp_path / "out", *everything(raw), "--shard-size", 3, "--size", 32)
    call(*words, key_file=key_file)
    before, times = digests(tmp_path / "out"), [p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.h5")]
    computed.clear()
    call(*words, key_file=key_file)
    assert computed == []
    assert digests(tmp_path / "out") == before
    assert [path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.h5")] == times


@pytest.mark.parametrize("change", ["size", "label", "ecg", "damage", "record"])
def test_what_changed_is_computed_again(raw, tmp_path, key_file, computed, change):
    out = tmp_path / "out"
    words = [*everything(raw), "--shard-size", 3]
    call("--out", out, *words, "--size", 32, key_file=key_file)
    computed.clear()
    everyone = ["shard-00000", "shard-00001", "shard-00002"]
    first = sorted(SUBJECTS, key=lambda subject: subject_hash(subject, KEY))[0]
    size, expected = 32, ["shard-00000"]
    if change == "size":
        size, expected = 40, everyone
    elif change == "label":
        table = raw / "phenotypes.csv"
        table.write_text(table.read_text().replace(f"{first},1", f"{first},2"))
    elif change == "ecg":
        (raw / "ecg" / f"{first}_20205_2_0.xml").write_bytes(cardiosoft_xml(sample_counts(99)))
    elif change == "damage":
        path = out / "shards" / "shard-00000.h5"
        content = bytearray(path.read_bytes())
        content[-1000] ^= 255
        path.write_bytes(content)
    else:
        (out / "shards" / "shard-00000.json").write_text("{")
    call("--out", out, *words, "--size", size, key_file=key_file)
    assert computed == expected
    call("--out", tmp_path / "fresh", *words, "--size", size, key_file=key_file)
    assert digests(out) == digests(tmp_path / "fresh")


def test_shards_of_a_larger_run_are_removed(raw, tmp_path, key_file):
    out = tmp_path / "out"
    call("--out", out, *everything(raw), "--shard-size", 2, "--size", 32, key_file=key_file)
    (out / "shards" / ".shard-00001.h5.77.tmp").write_bytes(b"half a shard")  # as a killed run leaves it
    call("--out", out, *everything(raw), "--shard-size", 5, "--size", 32, key_file=key_file)
    assert sorted(path.name for path in (out / "shards").iterdir()) == [
        "membership.json",
        "shard-00000.h5",
        "shard-00000.json",
        "shard-00001.h5",
        "shard-00001.json",
    ]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "name a folder with --ecg or --cmr"),
        (("--ecg", "{raw}/missing"), "--ecg .* does not exist"),
        (("--cmr", "{raw}/phenotypes.csv"), "--cmr .* is not a folder"),
        (("--table", "{raw}/phenotypes.csv"), "a table alone makes no rows; name the recordings it labels"),
        (("--ecg", "{raw}/cmr"), "no ECG file in .*; it holds images: name it with --cmr"),
        (("--cmr", "{raw}/ecg"), "no folder with sa.nii.gz or sa_ED.nii.gz and no zip in .*: name it with --ecg"),
        (("--cmr", "{raw}"), "the subjects' folders lie deeper: name --cmr .*raw/cmr$"),
        (("--cmr", "{raw}/cmr/1000010"), "one subject's folder itself: name the folder above it, --cmr .*raw/cmr$"),
        (("--ecg", "{raw}/ecg", "--table", "{raw}/none.csv"), "--table .*none.csv: no such file"),
        (("--ecg", "{raw}/ecg", "--shard-size", "0"), "--shard-size 0"),
        (("--cmr", "{raw}/cmr", "--size", "2"), "size 2"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(raw, tmp_path, key_file, words, reason):
    words = [word.format(raw=raw) for word in words]
    with pytest.raises(UserError, match=reason) as caught:
        call("--out", tmp_path / "out", *words, key_file=key_file)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_data_set_with_other_names_of_images_is_told_which_it_needs(tmp_path, key_file):
    folder = tmp_path / "database" / "training" / "patient001"
    write_cine_folder(folder, 1)
    for path in folder.iterdir():
        path.rename(folder / f"patient001_{path.name.replace('sa', '4d')}")
    for parent in (folder, folder.parent, folder.parent.parent):
        with pytest.raises(UserError, match="as in ACDC's layout.*call the cine sa.nii.gz"):
            call("--out", tmp_path / "out", "--cmr", parent, key_file=key_file)


@pytest.mark.parametrize(
    ("out", "what"), [("ecg", "is"), ("ecg/out", "lies within"), ("cmr/../ecg/x/y", "lies within")]
)
def test_shards_are_not_written_among_raw_files(raw, key_file, out, what):
    with pytest.raises(UserError, match=f"--out .*: {what} --ecg .*; write to a folder outside"):
        call("--out", raw / out, "--ecg", raw / "ecg", key_file=key_file)
    assert not list(raw.rglob("shards"))


def test_output_that_cannot_be_written_is_told(raw, tmp_path, key_file):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: is a file, where a folder is to be; choose another folder"):
        call("--out", tmp_path / "file", "--ecg", raw / "ecg", key_file=key_file)


def test_cohort_without_one_usable_file_is_an_error_with_report(tmp_path, key_file):
    (tmp_path / "ecg").mkdir()
    (tmp_path / "ecg" / "1_20205_2_0.xml").write_bytes(b"<CardiologyXML><broken")
    with pytest.raises(UserError, match="none of 1 rows could be prepared"):
        call("--out", tmp_path / "out", "--ecg", tmp_path / "ecg", key_file=key_file)
    assert len(report_of(tmp_path / "out")["skipped"]) == 1
    assert not (tmp_path / "out" / "index.json").exists()


def test_imaging_visit_comes_before_repeat_visit(raw, tmp_path, key_file):
    ecg = raw / "ecg"
    (ecg / "1000010_20205_3_0.xml").write_bytes(cardiosoft_xml(sample_counts(50)))
    (ecg / "1000011_20205_2_0.xml").rename(ecg / "1000011_20205_3_0.xml")
    (raw / "t.csv").write_text("eid,21003-2.0,21003-3.0\n1000010,60,65\n1000011,61,66\n")
    call("--out", tmp_path / "out", "--ecg", ecg, "--table", raw / "t.csv", key_file=key_file)
    index = ShardIndex.load(tmp_path / "out")
    hashes = list(index.subjects())
    rows = np.array([hashes.index(subject_hash(subject, KEY)) for subject in SUBJECTS[:2]])
    np.testing.assert_array_equal(read_labels(index, ["age"], rows)[:, 0], [60, 66])
    skipped = report_of(tmp_path / "out")["skipped"]
    assert [item["file"] for item in skipped] == ["1000010_20205_3_0.xml"]


def test_cohort_of_two_phase_folders(raw, tmp_path, key_file):
    for folder in (raw / "cmr").iterdir():
        (folder / "sa.nii.gz").unlink()
    call("--out", tmp_path / "out", "--cmr", raw / "cmr", "--size", 32, key_file=key_file)
    layout = ShardIndex.load(tmp_path / "out").layout
    assert layout.ecg is None
    assert layout.cmr is not None
    assert layout.cmr.frames == ("ES", "ED")


def test_folder_without_a_cine_among_cines_is_skipped(raw, tmp_path, key_file):
    (raw / "cmr" / "1000012" / "sa.nii.gz").unlink()
    call("--out", tmp_path / "out", "--cmr", raw / "cmr", "--size", 32, key_file=key_file)
    skipped = report_of(tmp_path / "out")["skipped"]
    reason = "has no cine, so nothing between end-diastole and end-systole"
    assert [(item["file"], item["reason"]) for item in skipped] == [("1000012", reason)]


def test_real_acdc(real_data_dir, tmp_path, key_file):
    source = tmp_path / "acdc"
    for folder in sorted((real_data_dir / "acdc").glob("patient*"))[:4]:
        shutil.copytree(folder, source / folder.name)
    table = real_data_dir / "acdc" / "phenotypes.csv"
    call("--out", tmp_path / "out", "--cmr", source, "--table", table, "--size", 32, key_file=key_file)
    index = ShardIndex.load(tmp_path / "out")
    assert index.counts["with_cmr"] == 4
    hashes = list(index.subjects())
    row = np.array([hashes.index(subject_hash("patient001", KEY))])
    np.testing.assert_allclose(read_labels(index, ["lv_edv", "lv_ef", "lv_mass"], row)[0], [295.51, 23.65, 172.47])


def test_real_ptbxl(real_data_dir, tmp_path, key_file):
    source = tmp_path / "ptbxl"
    source.mkdir()
    shutil.copy(real_data_dir / "ptbxl" / "scp_statements.csv", source)
    lines = (real_data_dir / "ptbxl" / "ptbxl_database.csv").read_text(encoding="utf-8").splitlines()
    fold = lines[0].split(",").index("strat_fold")
    picked = [lines[0]]
    for wanted in ("1", "2", "3"):
        picked += [line for line in lines[1:] if line.rsplit(",", len(lines[0].split(",")) - fold)[1] == wanted][:6]
    (source / "ptbxl_database.csv").write_text("\n".join(picked) + "\n", encoding="utf-8")
    (source / "records500").symlink_to(real_data_dir / "ptbxl" / "records500")
    call("--out", tmp_path / "out", "--ecg", source, key_file=key_file)
    index = ShardIndex.load(tmp_path / "out")
    assert [index.counts[split] for split in ("train", "val", "test")] == [6, 6, 6]
    assert index.label_names[:7] == ("NORM", "MI", "STTC", "CD", "HYP", "age", "sex")
    assert index.label_names[-len(MEASUREMENTS) :] == tuple(label.name for label in MEASUREMENTS)
    groups = Counter(label.group for label in index.layout.labels)
    sizes = {"statement": 71, "diagnostic": 44, "subclass": 23, "superclass": 5, "form": 19, "rhythm": 12}
    assert {name: groups[name] for name in sizes} == sizes
    values = read_labels(index, index.label_names, index.positions(None, need=()))
    findings = values[:, :5]
    assert set(np.unique(findings[~np.isnan(findings)])) == {0.0, 1.0}
    assert index.layout.preparation["splits"] == {"by": "strat_fold", "val": 2, "test": 3}


def test_new_subjects_open_new_shards_and_leave_the_others_alone(raw, tmp_path, key_file, computed):
    words = ("--out", tmp_path / "out", *everything(raw), "--shard-size", 3, "--size", 32)
    call(*words, key_file=key_file)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out" / "shards").glob("*.h5")}
    computed.clear()
    for i in range(2):
        (raw / "ecg" / f"{3000000 + i}_20205_2_0.xml").write_bytes(cardiosoft_xml(sample_counts(30 + i)))
    call(*words, key_file=key_file)
    assert computed == ["shard-00003"]
    after = {path.name: path.read_bytes() for path in (tmp_path / "out" / "shards").glob("*.h5")}
    assert {name: after[name] for name in before} == before
    assert ShardIndex.load(tmp_path / "out").counts["total"] == 9


def test_new_labels_do_not_read_the_recordings_again(raw, tmp_path, key_file, computed, monkeypatch):
    words = ["--out", tmp_path / "out", *everything(raw), "--shard-size", 3, "--size", 32]
    call(*words, key_file=key_file)
    codes = raw / "codes.yaml"
    codes.write_text("heart_failure: {title: heart failure, prefixes: [I50]}\n")
    monkeypatch.setattr("ecgcmr.preparation.rows.read_ecg", None)  # would be called if it did
    monkeypatch.setattr("ecgcmr.preparation.rows.read_cmr", None)
    computed.clear()
    call(*words, "--codes", codes, key_file=key_file)
    assert computed == ["shard-00000", "shard-00001", "shard-00002"]
    monkeypatch.undo()
    call("--out", tmp_path / "fresh", *words[2:], "--codes", codes, key_file=key_file)
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")
    assert "heart_failure_ever" in ShardIndex.load(tmp_path / "out").label_names


def test_withdrawn_subjects_go_at_once_and_from_the_shards_at_the_next_run(raw, tmp_path, key_file, capsys):
    out = tmp_path / "out"
    words = (*everything(raw), "--shard-size", 3, "--size", 32)
    call("--out", out, *words, key_file=key_file)
    gone = subject_hash(SUBJECTS[0], KEY)
    (raw / "withdrawn.csv").write_text(f"{SUBJECTS[0]}\n")
    assert call("--out", out, "--withdrawn", raw / "withdrawn.csv", key_file=key_file) == 0
    assert "6 remain" in capsys.readouterr().out
    index = ShardIndex.load(out)
    assert gone not in index.subjects(index.positions(None, need=()))
    assert gone in index.subjects()  # its recording still lies in the shard
    call("--out", out, *words, key_file=key_file)
    index = ShardIndex.load(out)
    assert gone not in index.subjects()
    assert index.counts["total"] == 6
    assert gone.encode() not in b"".join(path.read_bytes() for path in (out / "shards").glob("*.h5"))
    skipped = {item["file"]: item["reason"] for item in report_of(out)["skipped"]}
    assert skipped[f"{SUBJECTS[0]}_20205_2_0.xml"] == skipped[SUBJECTS[0]] == "the subject has withdrawn"


def test_all_recordings_and_all_windows_become_rows(raw, tmp_path, key_file):
    ecg = raw / "long"
    ecg.mkdir()
    long = np.concatenate([sample_counts(1), sample_counts(2)], axis=1)
    (ecg / "a.xml").write_bytes(cardiosoft_xml(long))
    (ecg / "b.xml").write_bytes(cardiosoft_xml(sample_counts(3)))
    (raw / "who.csv").write_text("file,subject\na.xml,p1\nb.xml,p1\n")
    words = ("--ecg", ecg, "--subjects", raw / "who.csv", "--recordings", "all", "--window", "all", "--short", "pad")
    call("--out", tmp_path / "out", *words, key_file=key_file)
    index = ShardIndex.load(tmp_path / "out")
    assert list(index.subjects()) == [subject_hash("p1", KEY)] * 3
    assert len(set(index.splits())) == 1
    call("--out", tmp_path / "first", *words[:4], key_file=key_file)
    assert ShardIndex.load(tmp_path / "first").counts["total"] == 1


def test_the_same_recording_in_two_splits_is_left_out_of_one(tmp_path, key_file):
    ecg = tmp_path / "ecg"
    ecg.mkdir()
    for i in range(30):
        (ecg / f"{i}.xml").write_bytes(cardiosoft_xml(sample_counts(i)))
    split_of = {i: assign_split(subject_hash(str(i), KEY)) for i in range(30)}
    train = next(i for i in range(30) if split_of[i] == "train")
    test = next(i for i in range(30) if split_of[i] == "test")
    (ecg / f"{train}.xml").write_bytes((ecg / f"{test}.xml").read_bytes())
    call("--out", tmp_path / "out", "--ecg", ecg, "--no-beats", key_file=key_file)
    index = ShardIndex.load(tmp_path / "out")
    remaining = index.subjects(index.positions(None, need=()))
    assert subject_hash(str(train), KEY) not in remaining
    assert subject_hash(str(test), KEY) in remaining
    assert [item["file"] for item in report_of(tmp_path / "out")["duplicates"]] == [f"{train}.xml"]


def test_stratified_splits_share_a_label(tmp_path, key_file):
    ecg = tmp_path / "ecg"
    ecg.mkdir()
    for i in range(20):
        (ecg / f"{i}.xml").write_bytes(cardiosoft_xml(sample_counts(i % 3)))
    (tmp_path / "t.csv").write_text("eid,31-0.0\n" + "".join(f"{i},{i % 2}\n" for i in range(20)))
    words = ("--ecg", ecg, "--table", tmp_path / "t.csv", "--no-beats", "--stratify", "sex")
    call("--out", tmp_path / "out", *words, key_file=key_file)
    index = ShardIndex.load(tmp_path / "out")
    sex = read_labels(index, ["sex"], np.arange(20))[:, 0]
    men, women = (np.unique(index.splits()[sex == value], return_counts=True) for value in (1, 0))
    assert men[0].tolist() == women[0].tolist() == ["test", "train", "val"]
    assert np.abs(men[1] - women[1]).max() <= 1
    assert index.layout.preparation["splits"]["stratified_by"] == ["sex"]


def test_what_an_earlier_run_had_and_this_one_has_not_is_said(raw, tmp_path, key_file, capsys):
    """A forgotten table empties all labels, a folder that is not mounted takes its subjects along."""
    options = ("--out", tmp_path / "out", "--size", 32, "--no-beats")
    assert call(*options, *everything(raw), key_file=key_file) == 0
    assert report_of(tmp_path / "out")["remarks"] == []
    (raw / "ecg" / f"{SUBJECTS[6]}_20205_2_0.xml").unlink()
    assert call(*options, "--ecg", raw / "ecg", key_file=key_file) == 0
    remarks = report_of(tmp_path / "out")["remarks"]
    assert remarks[:2] == [
        "1 of the 7 subjects of the earlier run have no usable file any more",
        "5 rows had images in the earlier run, none has now; was --cmr forgotten?",
    ]
    assert "labels had values in the earlier run and have none now (lv_edv, age, sex" in remarks[2]
    assert all(remark in capsys.readouterr().err for remark in remarks[:1])
    assert call(*options, "--ecg", raw / "ecg", key_file=key_file) == 0
    assert report_of(tmp_path / "out")["remarks"] == []
