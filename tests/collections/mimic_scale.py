"""What preparing costs at the size of MIMIC-IV-ECG: ``prepare`` on some thousand files of its layout, by one worker.

    python tests/collections/mimic_scale.py FOLDER 1000 5000

prints for each number of files the processor time, the greatest memory, and what lies in the folder then. Processor
time is counted, not the clock, so that a busy machine tells nearly the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from mimic_folder import write_mimic

HEARTS = 50
"""Different ECGs; the others are these, shifted in time."""


@dataclass(frozen=True)
class Cost:
    """What one run of ``prepare`` took.

    Attributes:
        files: Recordings.
        seconds: Of the processor, of the command and its worker.
        gigabytes: Greatest memory of the command or its worker.
        shards: Bytes of the shards.
        notes: Bytes of all else in the folder: index, membership, report, what is noted of shards.
    """

    files: int
    seconds: float
    gigabytes: float
    shards: int
    notes: int


def cost_of(raw: Path, out: Path, *words: str) -> Cost:
    """Prepare a folder in MIMIC-IV-ECG's layout in a process of its own, and say what it took."""
    key = raw.parent / "subject.key"
    key.write_bytes(bytes(range(32)))
    command = [sys.executable, "-m", "ecgcmr", "prepare", "--collection", "mimic-iv-ecg", "--workers", "1"]
    command += ["--ecg", str(raw), "--out", str(out), "--key-file", str(key), *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        told = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(told.decode(errors="replace"))
    files = [path for path in out.rglob("*") if path.is_file()]
    shards = sum(path.stat().st_size for path in files if path.suffix == ".h5")
    written = json.loads((out / "report.json").read_text())["written"]
    return Cost(
        written,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 2**20,
        shards,
        sum(path.stat().st_size for path in files) - shards,
    )


def main(folder: Path, counts: list[int]) -> None:
    """Write the largest number of files once and prepare a part of it for each smaller one."""
    raw = folder / "raw"
    write_mimic(raw, max(counts), hearts=HEARTS)
    for count in counts:
        out = folder / f"out-{count}"
        print(json.dumps(asdict(cost_of(raw, out, "--limit", str(count)))), flush=True)
        shutil.rmtree(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]])
