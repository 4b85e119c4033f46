"""No ECG file, however malformed, may do more than be refused in one line."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from fuzzer import CRAFTED, DECLARATIONS, good_ecgs, malformed_ecgs
from raw_file_writers import SECRET_NAME

from ecgcmr.errors import UserError
from ecgcmr.formats import ECGRecord, ecg_files, identify_ecg, read_ecg

COUNT = 400
SECONDS = 5.0
MEGABYTES = 1024
SECRETS = (SECRET_NAME, "1000011", "Secret", "1950")


def peak_megabytes() -> float:
    """The most memory this process has held since the mark was last taken back."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@pytest.fixture
def no_hang():
    """Turn a hang into a failure."""

    def stop(*_):
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 2 * SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def promise_broken(record: ECGRecord) -> str | None:
    """What is wrong with a record that was read."""
    if record.signal.shape[0] != len(record.leads) or record.signal.dtype != np.float64 or record.signal.size == 0:
        return "shape"
    if np.isinf(record.signal).any() or np.isnan(record.signal).all():
        return "values"
    if not 0 < record.sampling_rate < float("inf"):
        return "rate"
    told = repr((record.leads, record.notes))
    return "a secret" if any(secret in told for secret in SECRETS) else None


def test_good_files_of_every_kind_are_read(tmp_path):
    for kind, files in good_ecgs(tmp_path / "good").items():
        folder = tmp_path / kind
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        path = folder / next(iter(files))
        assert identify_ecg(path).kind == kind
        assert promise_broken(read_ecg(path)) is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
@pytest.mark.long
def test_malformed_files_are_refused_or_read_never_worse(tmp_path, no_hang, seed):
    paths = malformed_ecgs(tmp_path, COUNT, seed)
    assert len(paths) == COUNT > sum(len(changes) for changes in CRAFTED.values()) + len(DECLARATIONS) + 100
    wrong, refused = [], 0
    for path in paths:
        forget_peak()
        before, start = peak_megabytes(), time.perf_counter()
        no_hang()
        try:
            identify_ecg(path)
            ecg_files(path)
            outcome = promise_broken(read_ecg(path))
        except UserError as error:
            refused += 1
            told = str(error)
            fine = told.startswith(f"{path.name}: ") and "\n" not in told and str(tmp_path) not in told
            outcome = None if fine and not any(secret in told for secret in SECRETS) else told
        except Exception as error:  # what this test is there to find
            outcome = repr(error)
        seconds, megabytes = time.perf_counter() - start, peak_megabytes() - before
        if outcome is not None or seconds > SECONDS or megabytes > MEGABYTES:
            wrong.append(f"{path.parent.name}/{path.name}: {outcome}, {seconds:.1f} s, {megabytes:.0f} MB")
    assert not wrong, "\n".join(wrong)
    assert COUNT / 2 < refused < COUNT


def test_the_same_seed_gives_the_same_files(tmp_path):
    count = sum(len(changes) for changes in CRAFTED.values()) + len(DECLARATIONS) + 12
    first, again = (malformed_ecgs(tmp_path / name, count, 3)[-12:] for name in ("a", "b"))
    other = malformed_ecgs(tmp_path / "c", count, 4)[-12:]
    contents = [[path.read_bytes() for path in paths] for paths in (first, again, other)]
    assert contents[0] == contents[1] != contents[2]
