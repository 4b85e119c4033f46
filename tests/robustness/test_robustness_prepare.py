"""``ecgcmr prepare`` over hundreds of malformed files at once: none stops it, every one is reported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cmr_fuzzer import malformed_folders, malformed_zips
from fuzzer import malformed_ecgs
from raw_file_writers import cardiosoft_xml, write_cine_folder

from ecgcmr.shards.index import ShardIndex

ECGS, FOLDERS, ZIPS = 160, 30, 50
MEGABYTES = 1024

PREPARE = """
import sys
from ecgcmr.cli import main
code = main(sys.argv[1:])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""  # the most memory that this process itself has held, in kB

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good subject among 240 malformed inputs."""
    raw = tmp_path_factory.mktemp("malformed")
    for number, path in enumerate(malformed_ecgs(raw / "made", ECGS, seed=7)):
        shutil.copytree(path.parent, raw / "ecg" / f"{number:04d}")
        # A name of its own, else many would be recordings of one subject.
        (raw / "ecg" / f"{number:04d}" / path.name).rename(raw / "ecg" / f"{number:04d}" / f"{number:04d}{path.name}")
    malformed_folders(raw / "cmr", FOLDERS, seed=7)
    malformed_zips(raw / "cmr", ZIPS, seed=7)
    (raw / "ecg" / "1000011.xml").write_bytes(cardiosoft_xml())
    write_cine_folder(raw / "cmr" / "1000011", 1)
    (raw / "key").write_bytes(bytes(range(32)))
    return raw


def test_every_malformed_file_is_reported(raw: Path, tmp_path: Path) -> None:
    words = ["prepare", "--out", tmp_path / "out", "--ecg", raw / "ecg", "--cmr", raw / "cmr", "--size", 32]
    words += ["--key-file", raw / "key", "--workers", 1, "--strict"]
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, *map(str, words)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 3, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert int(done.stdout.split()[-2]) / 1024 < MEGABYTES
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    skipped = {item["file"]: item["reason"] for item in report["skipped"]}
    assert not [reason for reason in skipped.values() if "unexpected" in reason or "\n" in reason]
    listed = set(report["files"])
    for path in (raw / "ecg").rglob("*"):
        name = path.relative_to(raw / "ecg").as_posix()
        companion = path.suffix == ".dat" or path.name == "ecg.yaml"
        assert path.is_dir() or companion or name in listed, name
    for path in (raw / "cmr").iterdir():
        assert any(name == path.name or name.startswith(f"{path.name}/") for name in listed), path.name
    assert report["read"] == len(report["files"])
    assert len(skipped) > 150
    index = ShardIndex.load(tmp_path / "out")
    assert index.counts["with_ecg"] + len(skipped) >= ECGS
    assert index.counts["with_both"] == 1
