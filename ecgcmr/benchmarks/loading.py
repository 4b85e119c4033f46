"""Loading from shards against tensors that lie in memory already, under the same DataLoader settings.

What is compared: ``ECGDataModule.train_dataloader()`` on shards of 12 x 5,000 float16, of which it gives random crops
of 12 x 2,500, and a ``TensorDataset`` of real (random, not zero) float32 crops of 12 x 2,500 under a ``DataLoader`` of
the same batch size, shuffling, worker count and persistence. For pairs, 3 x 96 x 96 uint8 frames come with the ECGs;
in memory they are float32. The files are in the system's cache. A batch counts when the loader hands it over, which is
float16 and uint8 from the shards: it becomes float32 on the device. ``loader_float_vs_memory`` adds that conversion, on
the CPU, to the loader's side.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from data_modules import ECGDataModule, PairedDataModule
from data_modules.batch import to_float
from ecgcmr.shards import CMRLayout, ECGLayout, Layout, ShardRows, write_index, write_shard

SAMPLES, CROP, BATCH, SHARD_ROWS = 5000, 2500, 128, 1024
FRAMES, SIZE = ("ES", "mid", "ED"), 96
REPEATS = 5


def write_cohort(root: Path, recordings: int, seed: int) -> None:
    """Write shards of noise, 1,024 recordings each, all but a hundredth in the training split."""
    random = np.random.default_rng(seed)
    layout = Layout(ecg=ECGLayout(samples=SAMPLES), cmr=CMRLayout(FRAMES, SIZE, SIZE, 1.67))
    entries = []
    for shard, first in enumerate(range(0, recordings, SHARD_ROWS)):
        count = min(SHARD_ROWS, recordings - first)
        number = range(first, first + count)
        rows = ShardRows(
            subject=[f"{i:032x}" for i in number],
            split=["val" if i % 100 == 99 else "train" for i in number],
            ecg=random.standard_normal((count, 12, SAMPLES), dtype=np.float32),
            has_ecg=np.ones(count, dtype=bool),
            cmr=random.integers(0, 256, (count, len(FRAMES), SIZE, SIZE), dtype=np.uint8),
            has_cmr=np.ones(count, dtype=bool),
            labels=np.empty((count, 0), dtype=np.float32),
        )
        entries.append(write_shard(root / "shards" / f"shard-{shard:05d}.h5", layout, rows))
    write_index(root, layout, entries)


def rates(
    loaders: dict[str, tuple[Iterable[Any], Callable[[Any], Any] | None]], repeats: int = REPEATS
) -> dict[str, float]:
    """Return batches per second of each loader: the best of several epochs, after one that is not counted.

    The loaders take turns, so that a disturbance of the machine hits all of them.

    Args:
        loaders: Name -> (loader, what to do with each of its batches).
        repeats: Epochs that count.
    """
    best = dict.fromkeys(loaders, 0.0)
    for repeat in range(repeats + 1):
        for name, (loader, use) in loaders.items():
            start, count = time.perf_counter(), 0
            for batch in loader:
                if use is not None:
                    use(batch)
                count += 1
            if repeat > 0:
                best[name] = max(best[name], count / (time.perf_counter() - start))
    return best


def measure(root: Path, recordings: int = 4096, seed: int = 0, workers: tuple[int, ...] = (0, 2)) -> dict[str, float]:
    """Return rates, ratios to memory for each number of workers and the least of them, and the growth of memory.

    Args:
        root: Folder of the cohort, written if it is not there.
        recordings: Recordings of the cohort and of the tensors in memory.
        seed: Of the noise.
        workers: Numbers of workers to try.
    """
    if not (root / "index.json").is_file():
        write_cohort(root, recordings, seed)
    result = _compare(ECGDataModule, root, recordings, workers, "loader")
    result |= _compare(PairedDataModule, root, recordings, workers, "paired_loader")
    larger = root.with_name(f"{root.name}-larger")
    if not (larger / "index.json").is_file():
        write_cohort(larger, 2 * recordings, seed)
    first, later = epoch_growth(larger)
    return result | {"loader_rss_growth_mb": first, "loader_rss_growth_later_mb": later}


def _compare(kind: Any, root: Path, recordings: int, workers: tuple[int, ...], name: str) -> dict[str, float]:
    """Compare one data module with tensors in memory."""
    random = torch.Generator().manual_seed(0)
    tensors = [torch.randn(recordings, 12, CROP, generator=random)]
    if "cmr" in kind.modalities:
        tensors.append(torch.rand(recordings, len(FRAMES), SIZE, SIZE, generator=random))
    memory = TensorDataset(*tensors)
    result: dict[str, float] = {}
    for count in workers:
        data = kind(root, batch_size=BATCH, samples=CROP, num_workers=count)
        data.setup("fit")
        streamed: Any = data.train_dataloader()
        held: Any = DataLoader(
            memory, BATCH, shuffle=True, drop_last=True, num_workers=count, persistent_workers=count > 0
        )
        found = rates({"streamed": (streamed, None), "float": (streamed, to_float), "held": (held, None)})
        result[f"{name}_samples_per_s_{count}_workers"] = found["streamed"] * BATCH
        result[f"{name}_vs_memory_{count}_workers"] = found["streamed"] / found["held"]
        result[f"{name}_float_vs_memory_{count}_workers"] = found["float"] / found["held"]
    for ratio in (f"{name}_vs_memory", f"{name}_float_vs_memory"):
        result[ratio] = min(result[f"{ratio}_{count}_workers"] for count in workers)
    return result


def epoch_growth(root: Path, epochs: int = 3) -> tuple[float, float]:
    """Return by how many MB the memory of a fresh process grows in the first epoch, and from then to the last."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_watch_memory, args=(root, epochs, sender))
    child.start()
    sender.close()
    sizes = receiver.recv()
    child.join()
    return (sizes[1] - sizes[0]) / 1e6, (sizes[-1] - sizes[1]) / 1e6


def _watch_memory(root: Path, epochs: int, sender: Any) -> None:
    """Send the resident memory in bytes before the first epoch and after each; runs in a process of its own."""
    data = ECGDataModule(root, batch_size=BATCH, samples=CROP)
    data.setup("fit")
    loader = data.train_dataloader()
    sizes = [resident_bytes()]
    for _ in range(epochs):
        for batch in loader:
            to_float(batch)
        sizes.append(resident_bytes())
    sender.send(sizes)


def resident_bytes() -> int:
    """Return this process's resident memory; where the system does not tell, the most it ever was."""
    status = Path("/proc/self/statm")
    if status.is_file():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
