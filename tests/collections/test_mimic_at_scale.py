"""Work and memory of preparing MIMIC-IV-ECG grow in proportion to the number of its files."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mimic_folder import write_mimic

from ecgcmr.preparation import shard_task
from ecgcmr.preparation.earlier_run import read_earlier
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.plan import make_plan
from ecgcmr.preparation.run import prepare


def options(raw: Path, out: Path, key_file: Path) -> PrepareOptions:
    return PrepareOptions(
        out=out, ecg=raw, collection="mimic-iv-ecg", key_file=key_file, beats=False, workers=1, shard_size=32
    )


def calls_of(raw: Path, out: Path, key_file: Path) -> int:
    """Count the Python functions that a run calls: its work, whatever else the machine does."""
    count = 0

    def see(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(see)
    try:
        prepare(options(raw, out, key_file))
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.long
def test_work_is_linear_in_the_number_of_files(tmp_path, key_file):
    counts = (32, 96, 160)
    calls = []
    for files in (16, *counts):  # the first one imports what the others find
        write_mimic(tmp_path / f"raw{files}", files, hearts=8)
        calls.append(calls_of(tmp_path / f"raw{files}", tmp_path / f"out{files}", key_file))
    first, second = calls[2] - calls[1], calls[3] - calls[2]
    assert abs(second / first - 1) < 0.1, calls


def peak_of_plan(folder: Path, rows: int, key_file: Path) -> int:
    """Return the greatest memory of planning so many recordings, none of which is there: no signal is opened."""
    folder.mkdir()
    subject, study = 10_000_000 + np.arange(rows) // 5, 40_000_000 + np.arange(rows)
    paths = [f"files/p{s // 10000}/p{s}/s{n}/{n}" for s, n in zip(subject, study, strict=True)]
    pd.DataFrame({"subject_id": subject, "study_id": study, "path": paths}).to_csv(
        folder / "record_list.csv", index=False
    )
    asked = options(folder, folder.parent / "none", key_file)
    tracemalloc.start()
    make_plan(asked, read_earlier(asked.out, asked.shard_size))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_recording_of_a_plan_costs_few_kilobytes(tmp_path, key_file):
    peak_of_plan(tmp_path / "warm", 10, key_file)
    small, large = (
        # A thread that an earlier test left may allocate meanwhile: the smaller of two is the plan's.
        min(peak_of_plan(tmp_path / f"{rows}-{attempt}", rows, key_file) for attempt in range(2))
        for rows in (1000, 3000)
    )
    assert (large - small) / 2000 < 4000  # bytes; 800,000 then take some 3 GB at most


def test_a_first_run_opens_no_recording_before_its_workers_do(tmp_path, key_file, monkeypatch):
    write_mimic(tmp_path / "raw", 4, hearts=2)
    asked = options(tmp_path / "raw", tmp_path / "out", key_file)
    with monkeypatch.context() as patched:
        patched.setattr(shard_task, "content_fingerprint", _counted(shard_task.content_fingerprint, seen := []))
        prepare(asked)
        assert len(seen) == 1  # by the worker alone
        prepare(asked)
        assert len(seen) == 2


def _counted(function, seen: list):
    def counted(task):
        seen.append(task)
        return function(task)

    return counted
