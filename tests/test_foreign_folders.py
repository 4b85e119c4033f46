"""Every command that writes: a folder of another kind is refused, and so is one in which another process writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.experiments.out_folder import claim_folder
from ecgcmr.locks import FolderLock

REPOSITORY = Path(__file__).resolve().parents[1]
EXPERIMENT = REPOSITORY / "configs" / "experiments" / "demo.yaml"


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "words",
    [
        "prepare --ecg {ecg} --key-file {ecg}/key --out {out}",
        "synthesize --subjects 4 --seed 1 --format raw --out {out}",
        "synthesize --subjects 4 --seed 1 --out {out}",
        "experiment {experiment} --root {out} --out {out}",
    ],
)
def test_a_cohort_is_not_replaced_by_another_command(
    words: str, cohort_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, ecg = Path(shutil.copytree(cohort_root, tmp_path / "cohort")), tmp_path / "ecg"
    ecg.mkdir()
    (ecg / "a.xml").write_text("<x/>")
    (ecg / "key").write_bytes(bytes(32))
    before = content(out)
    assert main(words.format(ecg=ecg, out=out, experiment=EXPERIMENT).split()) == 2
    assert f"--out {out}: holds " in capsys.readouterr().err
    assert content(out) == before


@pytest.mark.parametrize(
    "words",
    [
        "prepare --ecg {ecg} --out {out}",
        "prepare --withdrawn {ecg}/a.xml --out {out}",
        "synthesize --subjects 4 --seed 1 --out {out}",
        "experiment {experiment} --out {out}",
        "bench --only cleaning --out {out}",
    ],
)
def test_a_folder_that_another_command_writes_to_is_left_alone(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ecg").mkdir()
    with FolderLock(tmp_path / "out", "prepare"):
        before = os.listdir(tmp_path / "out")
        line = words.format(ecg=tmp_path / "ecg", out=tmp_path / "out", experiment=EXPERIMENT)
        assert main(line.split()) == 2
        assert os.listdir(tmp_path / "out") == before
    assert f"'ecgcmr prepare' is writing there (process {os.getpid()} on " in capsys.readouterr().err


def test_an_experiments_folder_stays_its_file_s(tmp_path: Path) -> None:
    out, file = tmp_path / "out", Path("first.yaml")
    claim_folder(out, file, overwrite=False)
    (out / "results.json").write_text("[]")
    claim_folder(out, file, overwrite=False)  # its file may change
    with pytest.raises(UserError, match=r"holds results\.json of first\.yaml.*--overwrite"):
        claim_folder(out, Path("second.yaml"), overwrite=False)
    claim_folder(out, Path("second.yaml"), overwrite=True)
    with pytest.raises(UserError, match=r"of second\.yaml"):
        claim_folder(out, file, overwrite=False)
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "results.json").write_text("{}")
    with pytest.raises(UserError, match="of another origin"):
        claim_folder(tmp_path / "evaluation", file, overwrite=False)
    (out / "last.ckpt").touch()
    with pytest.raises(UserError, match=r"holds last\.ckpt, so it is no experiment's folder"):
        claim_folder(out, Path("second.yaml"), overwrite=True)


def living(group: int) -> list[str]:
    """Return the processes of a group that are not dead, by their state in /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, process_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state != "Z":
                found.append(path.parent.name)
    return found


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_ended_takes_its_workers_along(ending: int, tmp_path: Path) -> None:
    words = f"synthesize --subjects 200 --shard-size 8 --size 32 --seed 1 --workers 2 --out {tmp_path / 'out'}"
    process = subprocess.Popen(
        [sys.executable, "-m", "ecgcmr", *words.split()],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None and not list((tmp_path / "out").glob("shards/*.h5")):
            time.sleep(0.02)
        process.send_signal(ending)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + ending
        line = "terminated" if ending == signal.SIGTERM else "interrupted"
        assert said.splitlines()[-1] == f"{line}; the same command goes on from what is finished"
        assert "Traceback" not in said
        deadline = time.monotonic() + 20
        while living(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert living(process.pid) == []
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    # What a worker was writing is left half-written; the next call, which alone may write here, removes it.
    assert not [name for name in content(tmp_path / "out") if "lock" in name]
    assert main([*words.split(), "--workers", "1"]) == 0
    assert not [name for name in content(tmp_path / "out") if name.endswith(".tmp")]
