"""Two ranks and hardly any data: training ends by itself, with a result or one clear line on each rank."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import warm_runs
import yaml
from tiny_configs import write_mae

from ecgcmr.shards import ECGLayout, Layout, ShardRows, write_index, write_shard

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess]


def write_cohort(root: Path, *shards: list[str]) -> Path:
    """Write ECGs alone, 100 samples each; a list of splits a shard."""
    layout, entries, first = Layout(ecg=replace(ECGLayout(), samples=100), cmr=None), [], 0
    for number, splits in enumerate(shards):
        n = len(splits)
        rows = ShardRows(
            subject=[f"{i:032x}" for i in range(first, first + n)],
            split=splits,
            ecg=np.random.default_rng(number).standard_normal((n, 12, 100), dtype=np.float32),
            has_ecg=np.ones(n, dtype=bool),
            cmr=None,
            has_cmr=np.zeros(n, dtype=bool),
            labels=np.empty((n, 0), dtype=np.float32),
        )
        entries.append(write_shard(root / "shards" / f"shard-{number:05d}.h5", layout, rows))
        first += n
    write_index(root, layout, entries)
    return root


CASES = {
    "one-subject": ([["train", "val"]], 2, "1 training rows cannot feed 2 devices"),
    "nothing-to-validate": ([["train"] * 9], 2, "the val split holds no row with ECG"),
    "one-to-validate": ([["train"] * 3 + ["val"]], 0, None),
    "uneven-shards": ([["train"] * 7 + ["val"], ["train"] + ["val"] * 2, ["train"] * 13], 0, None),
}


@pytest.mark.long
def test_no_deadlock(tmp_path: Path) -> None:
    plans = []
    for name, (shards, code, _) in CASES.items():
        folder = tmp_path / name
        folder.mkdir()
        path = write_mae(folder, write_cohort(folder / "cohort", *shards))
        content = yaml.safe_load(path.read_text())
        content["model"]["init_args"]["encoder"]["init_args"] |= {"samples": 100, "patch_size": [12, 10], "depth": 1}
        content["data"]["init_args"] |= {"samples": 100, "labels": [], "batch_size": 4}
        content["trainer"] |= {"logger": False, "devices": 2, "strategy": "ddp", "enable_model_summary": False}
        path.write_text(yaml.safe_dump(content))
        plans.append(warm_runs.plan(["fit", "-c", str(path)], ranks=2, code=code))
    output = warm_runs.run(plans, tmp_path / "log")
    for _, code, message in CASES.values():
        if code and message:
            # Once on each rank; the two may write at the same moment, on one line.
            assert output.count(message) == 2, output[-4000:]
    for name in ("one-to-validate", "uneven-shards"):
        assert (tmp_path / name / "mae" / "encoder.safetensors").is_file()
