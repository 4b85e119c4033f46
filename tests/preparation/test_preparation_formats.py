"""A folder of files in many formats becomes one cohort, and the report says how many there were of each."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
from library_file_writers import GOOD, hl7_xml, matlab_4, scp_bytes, sierra_xml, write_challenge_header
from raw_file_writers import SECRET_NAME, sample_counts, write_wfdb_record

from ecgcmr.inspection import command as inspect_command
from ecgcmr.preparation import command
from ecgcmr.shards.index import ShardIndex, read_ecgs

KINDS = [kind for kind in GOOD if kind != "kardia"]  # which has no chest leads
COUNTS = sample_counts(4)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for number, kind in enumerate(KINDS):
        (folder / f"{kind}.ecg").write_bytes(GOOD[kind](COUNTS + 2 * number * (np.arange(5000) % 7 == 0)))
    (folder / "again.scp").write_bytes(scp_bytes(sample_counts(9)))
    write_wfdb_record(folder, "wfdb", sample_counts(8) * 0.005)
    (folder / "JS00001.mat").write_bytes(matlab_4(sample_counts(7) * 5))
    write_challenge_header(folder, 5000)
    (folder / "cut.scp").write_bytes(scp_bytes(COUNTS)[:9000])
    (folder / "six.json").write_bytes(GOOD["kardia"](COUNTS[:6]))
    return folder


def prepare(raw, out, key_file, *words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    plain = ["--ecg", raw, "--out", out, "--key-file", key_file, "--workers", "1", "--no-beats", "--cleaning", "none"]
    assert command.run(parser.parse_args([str(word) for word in (*plain, *words)])) == 0
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def test_formats_are_named_and_counted(raw, tmp_path, key_file, capsys):
    report = prepare(raw, tmp_path / "out", key_file)
    formats = report["ecg_formats"]
    assert formats["SCP-ECG"] == formats["WFDB"] == 2
    assert len(formats) == len(KINDS) + 1
    assert all(count == 1 for name, count in formats.items() if name not in ("SCP-ECG", "WFDB"))
    assert "ECGs read: SCP-ECG 2, WFDB 2, EDF 1, HL7 aECG 1, " in capsys.readouterr().out
    reasons = {item["file"]: item["reason"] for item in report["skipped"]}
    assert set(reasons) == {"cut.scp", "six.json"}
    assert "cannot be read as SCP-ECG, probably damaged" in reasons["cut.scp"]
    assert report["written"] == len(KINDS) + 3
    again = prepare(raw, tmp_path / "out", key_file)
    assert again["ecg_formats"] == formats
    parts = (tmp_path / "out").rglob("*.json")
    assert not any(SECRET_NAME in path.read_text(encoding="utf-8") for path in parts)


def test_the_same_recording_in_any_format_gives_the_same_row(tmp_path, key_file):
    rows = []
    for kind in KINDS:
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "a.ecg").write_bytes(GOOD[kind](COUNTS))
        prepare(folder, tmp_path / f"out-{kind}", key_file)
        rows.append(read_ecgs(ShardIndex.load(tmp_path / f"out-{kind}"), np.array([0]))[0])
    np.testing.assert_allclose(rows[0], COUNTS * 0.005, atol=2e-3)
    for row in rows[1:]:
        np.testing.assert_array_equal(row, rows[0])


@pytest.mark.parametrize(
    ("content", "title"),
    [
        (hl7_xml(COUNTS), "HL7 aECG"),
        (sierra_xml(COUNTS, compressed=True), "Philips Sierra XML"),
        (scp_bytes(COUNTS), "SCP-ECG"),
    ],
)
def test_inspect_names_the_format(tmp_path, capsys, content, title):
    (tmp_path / "a.bin").write_bytes(content)
    parser = argparse.ArgumentParser()
    inspect_command.add_arguments(parser)
    assert inspect_command.run(parser.parse_args([str(tmp_path / "a.bin"), "--no-figures"])) == 0
    shown = capsys.readouterr().out
    assert f"ECG, {title}\n12 leads, 5,000 samples at 500 Hz: 10 s\nprepare takes this recording as it is" in shown
    assert SECRET_NAME not in shown
