"""400 damaged files of every kind through the commands that read them, and what the harness itself can see."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cine_zip_writer import PATIENT_NAME
from fuzz_kinds import KINDS, share
from fuzz_verdict import Outcome, judge
from raw_file_writers import cardiosoft_xml

pytestmark = pytest.mark.long

COUNT = 400
HERE = Path(__file__).parent
HANDED_IN = {
    "raw": ("ecg-cardiosoft", "ecg-muse", "ecg-dicom", "ecg-wfdb", "ecg-csv", "ecg-npy", "ecg-parquet",
            "nifti-sa", "cine-zip"),
    "tables": ("table-phenotypes.csv", "table-diagnoses.csv.gz", "table-diagnoses.parquet", "ptbxl-ptbxl"),
    "lists": ("list--subjects", "list--withdrawn", "list--codes", "list--cleaning", "list--key-file",
              "declaration-npy"),
    "prepared": ("shard", "index.json", "membership.json", "shard-record"),
    "configs": ("fit-config", "experiment", "encoder.yaml"),
    "run folders": ("run-config", "last.ckpt", "best.ckpt", "encoder.safetensors", "metrics.json", "stage.json"),
    "predictions": ("predictions.parquet", "predictions.csv", "results.json"),
    "weights": ("signal.pth", "image.pth"),
}  # fmt: skip
ECG = KINDS["ecg-cardiosoft"]
REFUSED = "error: a.xml: not a recording; give another\n"


def judged(
    tmp_path: Path, code: int | None, out: str = "", err: str = "", kind: str = "ecg-cardiosoft", **more: float
) -> str:
    return judge(KINDS[kind], Outcome(kind, 0, code=code, **more), tmp_path, out, err)[0]


@pytest.mark.slow
@pytest.mark.multiprocess
def test_no_damaged_file_does_more_than_be_refused_in_one_line(tmp_path: Path) -> None:
    report = tmp_path / "fuzz.json"
    words = [sys.executable, str(HERE / "fuzz.py"), "--count", str(COUNT), "--good", "--out", str(report)]
    done = subprocess.run(
        [*words, "--work", str(tmp_path / "work")], capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    outcomes = [Outcome(**outcome) for outcome in json.loads(report.read_text())["outcomes"]]
    good = [outcome for outcome in outcomes if outcome.number < 0]
    mutants = [outcome for outcome in outcomes if outcome.number >= 0]
    assert {outcome.kind for outcome in good} == {outcome.kind for outcome in mutants} == set(KINDS)
    assert {outcome.code for outcome in good} == {0}
    assert len(mutants) >= COUNT
    refused = sum(outcome.code == 2 for outcome in mutants)
    assert COUNT / 4 < refused < COUNT  # the damage is neither harmless nor always in the first byte


def test_every_kind_of_file_that_a_user_hands_in_is_there() -> None:
    assert {name for names in HANDED_IN.values() for name in names} <= set(KINDS)
    shared = share(COUNT)
    assert {name for name, _ in shared} == set(KINDS)
    assert len(shared) == len(set(shared))
    assert abs(len(shared) - COUNT) < 20


def test_a_mutant_is_the_same_for_its_seed_and_number_alone() -> None:
    good = cardiosoft_xml()
    first, again, other, seeded = (ECG.mutant(good, seed, number) for seed, number in ((0, 5), (0, 5), (0, 7), (1, 5)))
    assert first == again
    assert len({first, other, seeded, good}) == 4


@pytest.mark.parametrize(
    ("wrong", "code", "out", "err"),
    [
        ("exit code 1", 1, "", "ValueError: x"),
        ("exit code 70", 70, "", ""),
        ("traceback", 2, "", f"Traceback (most recent call last):\n{REFUSED}"),
        ("control characters on stderr", 2, "", "error: a.xml: \x1b[31mred\n"),
        ("control characters on stdout", 0, "lead \x07", ""),
        ("a secret", 0, PATIENT_NAME, ""),
        ("refused without an error line", 2, "", "a.xml is bad\n"),
        ("more than one line", 2, "", f"{REFUSED}{REFUSED}"),
        ("more than one line", 2, "", f"{REFUSED}and more\n"),
        ("names neither file nor field", 2, "", "error: something is wrong\n"),
        ("an error of 2012 characters", 2, "", f"error: a.xml{'x' * 2000}\n"),
    ],
)
def test_what_the_harness_calls_wrong(tmp_path: Path, wrong: str, code: int, out: str, err: str) -> None:
    assert judged(tmp_path, code, out, err) == wrong


def test_what_the_harness_calls_right(tmp_path: Path) -> None:
    assert judged(tmp_path, 0, "12 leads\n", "Seed set to 0\n") == ""
    assert judged(tmp_path, 2, "", f"Seed set to 0\n{REFUSED}") == ""
    assert judged(tmp_path, 3, "", "1 files skipped\n") == ""


def test_time_memory_and_what_is_left_count(tmp_path: Path) -> None:
    assert judged(tmp_path, 0, seconds=21.0) == "21 s"
    assert judged(tmp_path, 2, "", REFUSED, megabytes=1100.0) == "1100 MB"
    assert judged(tmp_path, 2, "", REFUSED, kind="cohort-cardiosoft") == "one damaged file stopped the others"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text('{"r2": NaN}')
    assert "NaN is no number" in judged(tmp_path, 0)
    (tmp_path / "out" / ".a.1.tmp").touch()
    assert judged(tmp_path, 0) == "leaves .a.1.tmp"
