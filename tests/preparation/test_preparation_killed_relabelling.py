"""A preparation with other labels that is killed between two shards: nobody reads the mixture, and a rerun mends it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from raw_file_writers import cardiosoft_xml, sample_counts

from data_modules import ECGDataModule
from ecgcmr.errors import UserError
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.run import prepare
from ecgcmr.shards.index import ShardIndex, read_labels
from ecgcmr.verification import verify_cohort

SUBJECTS = 6
KILLED = """
import os, signal, sys
from pathlib import Path
from ecgcmr.preparation import run
from ecgcmr.preparation.options import PrepareOptions
raw, out, table = map(Path, sys.argv[1:])
genuine = run.prepare_shard
def killed(task):
    if task.path.stem == "shard-00001":
        os.kill(os.getpid(), signal.SIGKILL)
    return genuine(task)
run.prepare_shard = killed
given = {"tables": (table,), "key_file": raw / "key", "beats": False, "shard_size": 2, "workers": 1}
run.prepare(PrepareOptions(out, raw / "ecg", **given))
"""


def options(raw: Path, out: Path, table: str) -> PrepareOptions:
    return PrepareOptions(
        out, raw / "ecg", tables=(raw / table,), key_file=raw / "key", beats=False, shard_size=2, workers=1
    )


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    (folder / "ecg").mkdir(parents=True)
    for i in range(SUBJECTS):
        (folder / "ecg" / f"{1000000 + i}_20205_2_0.xml").write_bytes(cardiosoft_xml(sample_counts(i)))
    for name, first in (("one.csv", 100), ("two.csv", 200)):
        rows = "\n".join(f"{1000000 + i},{first + i}" for i in range(SUBJECTS))
        (folder / name).write_text(f"eid,24100-2.0\n{rows}\n")
    (folder / "key").write_bytes(bytes(range(32)))
    return folder


@pytest.mark.slow
def test_labels_of_two_tables_are_never_read_together(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(options(raw, out, "one.csv"))
    running = ShardIndex.load(out)  # as a training holds it that began before
    sizes = [path.stat().st_size for path in sorted(out.glob("shards/*.h5"))]
    words = [sys.executable, "-c", KILLED, raw, out, raw / "two.csv"]
    done = subprocess.run([str(word) for word in words], capture_output=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.stat().st_size for path in sorted(out.glob("shards/*.h5"))] == sizes

    told = "shard-00000.h5: is not the shard that index.json names.*run the same 'ecgcmr prepare' again"
    with pytest.raises(UserError, match=told):
        ShardIndex.load(out)
    with pytest.raises(UserError, match=told):
        ECGDataModule(out, batch_size=2, samples=100).setup("fit")
    with pytest.raises(UserError, match=told):
        read_labels(running, ["lv_edv"], np.arange(SUBJECTS))
    faults = verify_cohort(out, quick=True)
    assert len(faults) == 1
    assert "run the same 'ecgcmr prepare' again" in faults[0]

    prepare(options(raw, out, "two.csv"))
    prepare(options(raw, tmp_path / "fresh", "two.csv"))
    for name in ("index.json", "shards/shard-00000.h5", "shards/shard-00002.h5", "shards/membership.json"):
        assert (out / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()
    labels = read_labels(ShardIndex.load(out), ["lv_edv"], np.arange(SUBJECTS))
    assert sorted(labels[:, 0]) == [200 + i for i in range(SUBJECTS)]
    assert verify_cohort(out) == []


def test_a_cohort_from_before_digests_is_read_and_never_mixed_with_newer_shards(raw: Path, tmp_path: Path) -> None:
    import h5py

    out = tmp_path / "out"
    prepare(options(raw, out, "one.csv"))
    content = json.loads((out / "index.json").read_text())
    newer = (out / "shards" / "shard-00001.h5").read_bytes()
    for shard in content["shards"]:
        del shard["digest"]
        with h5py.File(out / shard["file"], "r+") as file:
            del file.attrs["digest"]
        shard["bytes"] = (out / shard["file"]).stat().st_size  # HDF5 may give the room back
    (out / "index.json").write_text(json.dumps(content))
    assert sorted(read_labels(ShardIndex.load(out), ["lv_edv"], np.arange(SUBJECTS))[:, 0])[0] == 100
    record = out / "shards" / "shard-00002.json"
    assert verify_cohort(out, quick=True) == []
    record.write_text(record.read_text().replace(content["shards"][2]["sha256"], "0" * 64))
    assert verify_cohort(out, quick=True) == [
        "shards/shard-00002.h5: its record beside it is of another run; run the same 'ecgcmr prepare' again"
    ]
    (out / "shards" / "shard-00001.h5").write_bytes(newer)
    with pytest.raises(UserError, match="shard-00001.h5: (is not the shard|shard has)"):
        ShardIndex.load(out)


def test_labels_changed_in_place_are_found_without_reading_the_records(raw: Path, tmp_path: Path) -> None:
    import h5py

    out = tmp_path / "out"
    prepare(options(raw, out, "one.csv"))
    with h5py.File(out / "shards" / "shard-00001.h5", "r+") as file:
        file["labels"][0, 0] = 150.0
    assert verify_cohort(out, quick=True) == [
        "shards/shard-00001.h5: its columns (labels, splits, beats) are not what was written"
    ]
