"""Real loaders over cohorts of any shape: subjects, shards, ranks, workers, batch sizes, epochs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_cohort import tiny_layout, tiny_rows

from data_modules import ECGDataModule
from data_modules.samplers import EvaluationBatchSampler, PlanSampler
from data_modules.sampling import SHUFFLES
from ecgcmr.errors import UserError
from ecgcmr.shards import write_index, write_shard

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


READ_IN_WORKERS = 2
"""Ranks whose loaders have workers; 16 ranks with 4 workers each would start 64 processes to show the same again."""


def rows_of(data: ECGDataModule, sampler: PlanSampler, epoch: int, training: bool, workers: int) -> list[list[int]]:
    """Go through one rank's loader; every ECG must be that of its row."""
    sampler.set_epoch(epoch)
    data.num_workers = workers if sampler.rank < READ_IN_WORKERS else 0
    batches = []
    for batch in data._loader(sampler, training):
        np.testing.assert_array_equal(batch["ecg"][:, 0, 0], batch["row"])
        batches.append(batch["row"][batch["valid"]].tolist())
    return batches


@pytest.mark.slow
@given(
    shards=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    world_size=st.integers(1, 16),
    workers=st.integers(0, 4),
    batch_size=st.integers(1, 6),
    epoch=st.integers(0, 3),
    shuffle=st.sampled_from(SHUFFLES),
)
@settings(max_examples=12, deadline=None)
@pytest.mark.long
def test_every_rank_and_worker(
    shards: list[int], world_size: int, workers: int, batch_size: int, epoch: int, shuffle: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, first, entries = Path(folder), 0, []
        for number, size in enumerate(shards):
            splits = ["train" if (first + i) % 4 else "val" for i in range(size)]
            path = root / "shards" / f"shard-{number:05d}.h5"
            entries.append(write_shard(path, tiny_layout(), tiny_rows(first, splits)))
            first += size
        index = write_index(root, tiny_layout(), entries)
        data = ECGDataModule(root, batch_size, samples=30, shuffle=shuffle)
        train, val = index.positions("train", ["ecg"]).tolist(), index.positions("val", ["ecg"]).tolist()
        if val:
            ranks = [
                rows_of(data, EvaluationBatchSampler(np.array(val), batch_size, rank, world_size), 0, False, workers)
                for rank in range(world_size)
            ]
            assert len({len(batches) for batches in ranks}) == 1
            assert sorted(row for batches in ranks for batch in batches for row in batch) == val
        if len(train) < world_size:
            with pytest.raises(UserError, match="cannot feed|holds no row"):
                data._train_sampler(0, world_size)
            return
        ranks = [
            rows_of(data, data._train_sampler(rank, world_size), epoch, True, workers) for rank in range(world_size)
        ]
        assert len({len(batches) for batches in ranks}) == 1
        seen = [row for batches in ranks for batch in batches for row in batch]
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(train)
        assert len(train) - len(seen) < batch_size * world_size
        # The global batches in a row are the epoch's order, whoever read them.
        joined = [row for parts in zip(*ranks, strict=True) for part in parts for row in part]
        assert joined == data._train_sampler(0, world_size).order(epoch).tolist()[: len(seen)]


def test_a_resume_with_other_rows_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        entry = write_shard(root / "shards" / "s.h5", tiny_layout(), tiny_rows(0, ["train"] * 12))
        write_index(root, tiny_layout(), [entry])
        data = ECGDataModule(root, 2, samples=20)
        list(data.train_dataloader())
        state = {**data.state_dict(), "rows": 4}
        assert state == {"epoch": 0, "rows": 4, "global_batch": 2, "size": 11, "seed": 0}
        other = ECGDataModule(root, 2, samples=20, seed=1)
        other.load_state_dict(state)
        loader = other.train_dataloader()
        assert any("11 rows under seed 0, the data have 11 under seed 1" in line for line in caplog.messages)
        assert len(list(loader)) == 3
