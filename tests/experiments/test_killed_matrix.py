"""A matrix of twelve experiments that is killed ten times, at any moment, ends as one that was not."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_experiment import LITTLE, change, write_experiment

KILLS, SEED = 10, 18
AXES = {
    "mask": {
        "m75": {},
        "m50": {"stages.mae.set.model.mask_ratio": 0.5},
        "m60": {"stages.mae.set.model.mask_ratio": 0.6},
    },
    "size": {"p8": {}, "p4": {"stages.mae+alignment.set.model.projection_size": 4}},
    "seed": [0, 3],
}
MARK = "ECGCMR_KILLED_MATRIX"
"""Variable by which every process of a run is found, also one that has lost its parent."""
OF_A_MOMENT = ("run.json", "times.json", "events.out.tfevents.*", "*.log", ".ecgcmr.lock")
"""Files that hold times of day or what was printed: they are to be there, not to be equal."""
PLACE = re.compile(rb"(?<=OUT/cells/)[^/]+(?=/stages/)")
"""The cell that ran a stage, in its checkpoints: of several that share one, whichever came to it first."""
NAME = re.compile(rb"(?<=phenotypes-scratch-20)-s0")
"""What one of these cells calls the run that all of them share."""


def write_matrix(folder: Path, root: Path) -> Path:
    path = write_experiment(folder, root)

    def of_twelve(content: dict) -> None:
        content["stages"] = {name: content["stages"][name] for name in ("mae", "mae+alignment")}
        content["evaluation"].update(LITTLE, linear_probe=["mae", "random"], finetune=["scratch"])
        content["evaluation"]["tasks"] = {
            "phenotypes": {**content["evaluation"]["tasks"]["phenotypes"], "targets": ["lv_edv"]}
        }
        content["matrix"] = AXES

    change(path, of_twelve)
    return path


def start(path: Path, out: Path, mark: str) -> subprocess.Popen[bytes]:
    words = ["experiment", str(path), "--out", str(out), "--jobs", "2", "--workers", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", MARK: mark}
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ecgcmr", *words], env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def alive(mark: str) -> list[int]:
    """Return the processes of a run that have not ended."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = f"{MARK}={mark}\0".encode() in (place / "environ").read_bytes()
            if is_ours and (place / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(place.name))
        except OSError:  # it has ended meanwhile, or is another user's
            continue
    return found


def is_worker(process: int) -> bool:
    """Whether a process runs parts, unlike the experiment itself and Python's own helpers."""
    try:
        return b"ecgcmr.experiments.run_worker" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def content(out: Path) -> dict[str, str]:
    """Return a checksum of every file, of those of a moment that they are there."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.is_file():
            name = path.relative_to(out).as_posix()
            if any(path.match(pattern) for pattern in OF_A_MOMENT):
                name, data = path.parent.relative_to(out).as_posix(), b""
            else:
                data = path.read_bytes()
            if path.suffix == ".ckpt":  # an archive with checksums of its own; what it holds names its folder too
                data = b"".join(held(torch.load(path, map_location="cpu", weights_only=True)))
                data = PLACE.sub(b"", data.replace(str(out).encode(), b"OUT"))
            if path.suffix == ".parquet":
                table = pd.read_parquet(path)
                data = f"{table.dtypes.to_dict()}{table.to_csv()}".encode()  # digits that read back as they were
            data = NAME.sub(b"", data.replace(str(out).encode(), b"OUT"))
            found[name] = hashlib.sha256(data).hexdigest()
    return found


def held(value: Any) -> Iterator[bytes]:
    """Give all that a checkpoint holds, bit by bit."""
    if isinstance(value, torch.Tensor):
        yield str(value.dtype).encode() + value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield repr(key).encode()
            yield from held(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from held(inner)
    else:
        yield repr(value).encode()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="processes are found by /proc, which Linux has")
def test_killed_ten_times_a_matrix_ends_as_undisturbed(tmp_path: Path, cohort_root: Path) -> None:
    path = write_matrix(tmp_path / "trial", cohort_root)
    whole, struck = tmp_path / "whole", tmp_path / "struck"
    began = time.monotonic()
    assert start(path, whole, "whole").wait() == 0, whole.with_suffix(".log").read_text()[-2000:]
    seconds = time.monotonic() - began
    draw = random.Random(SEED)
    for number in range(KILLS):
        run = start(path, struck, "struck")
        while run.poll() is None and len(alive("struck")) < 2:  # until a part has begun
            time.sleep(0.05)
        try:
            assert run.wait(draw.uniform(0.0, 0.25) * seconds) == 0
        except subprocess.TimeoutExpired:
            workers = [process for process in alive("struck") if is_worker(process)]
            if number % 3 == 2 and workers:  # a worker alone, which ends the others
                os.kill(draw.choice(workers), signal.SIGKILL)
                if run.wait(60 + seconds) != 2:  # what it had to do was done
                    assert run.returncode == 0
                    assert content(struck).keys() == content(whole).keys()
            else:
                run.kill()
                run.wait()
        deadline = time.monotonic() + 10
        while alive("struck") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert alive("struck") == []
    assert start(path, struck, "struck").wait() == 0, struck.with_suffix(".log").read_text()[-2000:]
    expected, found = content(whole), content(struck)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert not [path for path in struck.rglob("*") if path.name.endswith((".tmp", ".lock", ".unfinished"))]
