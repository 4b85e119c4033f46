"""A collection from outside whose recordings lie in one file of its own kind, read by a class of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from one_ecg import ecg_steps

from ecgcmr.shards import ShardIndex

ROOT = Path(__file__).parents[2]
MODULE = '''
"""A lab that stores all ECGs of a day one after the other, in steps of 5 uV."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.record import ECGRecord, ecg_record
from ecgcmr.leads import LEADS
from ecgcmr.preparation.collections import Candidate, DeclaredLabel

@dataclass(frozen=True)
class Block:
    number: int
    unit: str = "mV"

    @property
    def place(self) -> str:
        return f"block {self.number}"

    def files(self, path: Path) -> list[Path]:
        return [path]

    def read(self, path: Path) -> ECGRecord:
        steps = np.fromfile(path, "<i2", 60000, offset=120000 * self.number)
        if steps.size < 60000:
            raise UserError(f"{path.name}: ends before block {self.number}")
        return ecg_record(steps.reshape(12, 5000) * 0.005, LEADS, 500.0)

class Days:
    def __init__(self, file: Path):
        self.file = file
    def labels(self):
        return [DeclaredLabel("number")]
    def candidates(self, notes):
        for number in range(4):
            yield Candidate(f"S{number}", self.file, labels={"number": number}, read_by=Block(number))
'''


@pytest.mark.long
@pytest.mark.multiprocess
def test_own_blocks_of_one_file_are_read_by_several_workers(tmp_path):
    (tmp_path / "day_lab.py").write_text(MODULE)
    ecg_steps()[:3].astype("<i2").tofile(tmp_path / "day.bin")
    (tmp_path / "key").write_bytes(bytes(range(32)))
    words = ["--collection", "day_lab:Days", "--collection-args", "file=day.bin", "--out", "out", "--key-file", "key"]
    done = subprocess.run(
        [sys.executable, "-m", "ecgcmr", "prepare", *words, "--workers", "2", "--shard-size", "2", "--no-beats"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    index = ShardIndex.load(tmp_path / "out")
    assert index.counts["total"] == 3
    assert "day.bin, block 3" in (tmp_path / "out" / "report.json").read_text()
    assert "ends before block 3" in (tmp_path / "out" / "report.json").read_text()
    assert len(np.unique(index.subjects(index.positions(None, need=())))) == 3
