"""Loading from shards against tensors that lie in memory already, under the same DataLoader settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from data_modules import ECGDataModule, ECGLayout, Layout, ShardRows, write_index, write_shard
from data_modules.batch import to_float
from ecgcmr.benchmarks.timing import seconds

SAMPLES, CROP, BATCH = 5000, 2500, 128


def write_cohort(root: Path, recordings: int, seed: int) -> None:
    """Write shards of noise, 1,024 recordings each, all but a hundredth in the training split."""
    random = np.random.default_rng(seed)
    layout = Layout(ecg=ECGLayout(samples=SAMPLES), cmr=None)
    entries = []
    for shard, first in enumerate(range(0, recordings, 1024)):
        count = min(1024, recordings - first)
        number = range(first, first + count)
        rows = ShardRows(
            subject=[f"{i:032x}" for i in number],
            split=["val" if i % 100 == 99 else "train" for i in number],
            ecg=random.standard_normal((count, 12, SAMPLES), dtype=np.float32),
            has_ecg=np.ones(count, dtype=bool),
            cmr=None,
            has_cmr=np.zeros(count, dtype=bool),
            labels=np.empty((count, 0), dtype=np.float32),
        )
        entries.append(write_shard(root / "shards" / f"shard-{shard:05d}.h5", layout, rows))
    write_index(root, layout, entries)


def measure(root: Path, recordings: int = 4096, seed: int = 0, workers: tuple[int, ...] = (0, 2)) -> dict[str, float]:
    """Return samples per second of the DataModule and its ratio to tensors in memory, for each number of workers.

    Both give float32 crops (12, 2500) in batches of 128, shuffled; the cache is warm.
    """
    if not (root / "index.json").is_file():
        write_cohort(root, recordings, seed)
    memory = TensorDataset(torch.zeros(recordings, 12, CROP))
    result: dict[str, float] = {}
    for count in workers:
        data = ECGDataModule(root, batch_size=BATCH, samples=CROP, num_workers=count, seed=seed)
        data.setup("fit")
        loader = data.train_dataloader()
        streamed = seconds(lambda loader=loader: [to_float(batch)["ecg"].shape for batch in loader], repeats=2)  # type: ignore[misc]
        plain = DataLoader(memory, BATCH, shuffle=True, drop_last=True, num_workers=count, persistent_workers=count > 0)
        held = seconds(lambda plain=plain: [batch[0].shape for batch in plain], repeats=2)  # type: ignore[misc]
        rate = (data.train_size // BATCH * BATCH) / streamed
        result[f"loader_samples_per_s_{count}_workers"] = rate
        result[f"loader_vs_memory_{count}_workers"] = rate / ((recordings // BATCH * BATCH) / held)
    result["loader_vs_memory"] = min(result[f"loader_vs_memory_{count}_workers"] for count in workers)
    return result
