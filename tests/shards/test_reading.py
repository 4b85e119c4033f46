"""Reading batches past HDF5 gives what HDF5 gives, for every crop, filter and process."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_cohort import tiny_layout, tiny_rows

from data_modules import PairedDataModule
from data_modules.dataset import VERIFY_READS, ShardBatches, ShardPool
from data_modules.samplers import BatchPlan, EvaluationBatchSampler
from ecgcmr.errors import UserError
from ecgcmr.shards import ShardIndex, read_cmr, read_ecgs, record_kernel, write_index, write_shard
from ecgcmr.shards.layout import ECGLayout
from ecgcmr.shards.shard_reader import ShardReader


def batches(index: ShardIndex, samples: int, **options: str) -> ShardBatches:
    rows = index.positions(None)
    sampler = EvaluationBatchSampler(rows, 7)
    return ShardBatches(index, sampler, ("ecg", "cmr"), samples, None, training=False, **options)


def plan(rows: np.ndarray, start: np.ndarray) -> BatchPlan:
    return BatchPlan(0, 0, rows, np.ones(len(rows), dtype=bool), start)


def _write(root: Path, dtype: str = "float16", compressions: tuple[str | None, ...] = (None, None)) -> ShardIndex:
    """Write a shard per compression, with noise in it."""
    layout = replace(tiny_layout(), ecg=ECGLayout(samples=40, dtype=dtype))
    entries = []
    for number, compression in enumerate(compressions):
        rows = tiny_rows(20 * number, ["train"] * 20)
        rows.ecg = np.random.default_rng(number).standard_normal((20, 12, 40)).astype(np.float32)
        rows.cmr = np.random.default_rng(number).integers(0, 256, (20, 3, 6, 5), dtype=np.uint8)
        entries.append(write_shard(root / "shards" / f"shard-{number:05d}.h5", layout, rows, compression))
    return write_index(root, layout, entries)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("compressions", [(None, None), ("gzip", None), ("gzip", "gzip")])
@pytest.mark.parametrize("verify_reads", VERIFY_READS)
def test_any_crop_equals_what_hdf5_reads(
    tmp_path: Path, dtype: str, compressions: tuple[str | None, ...], verify_reads: str
) -> None:
    index = _write(tmp_path, dtype, compressions)
    random = np.random.default_rng(0)
    for samples in (1, 13, 39, 40):
        rows = random.permutation(np.concatenate([index.positions(None), index.positions(None)[:2]]))
        start = random.integers(0, 40 - samples, len(rows), endpoint=True)
        batch = batches(index, samples, verify_reads=verify_reads)[plan(rows, start)]
        whole = read_ecgs(index, rows)
        expected = np.stack([ecg[:, s : s + samples] for ecg, s in zip(whole, start, strict=True)])
        np.testing.assert_array_equal(batch["ecg"].float(), expected)
        assert batch["ecg"].dtype == getattr(torch, dtype)
        np.testing.assert_array_equal(batch["cmr"], read_cmr(index, rows))


def test_systems_without_the_call_read_through_hdf5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = _write(tmp_path)
    rows = index.positions(None)
    start = np.arange(len(rows)) % 20
    fast = batches(index, 20)[plan(rows, start)]
    monkeypatch.setattr(record_kernel, "AVAILABLE", False)
    slow = batches(index, 20)[plan(rows, start)]
    assert torch.equal(fast["ecg"], slow["ecg"])
    assert torch.equal(fast["cmr"], slow["cmr"])


def test_a_read_that_was_cut_short_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal or a network disk may do it: the fast call fails, and os.pread gives few bytes at a time."""
    index = _write(tmp_path)
    rows = index.positions(None)
    start = np.arange(len(rows)) % 20
    expected = batches(index, 20)[plan(rows, start)]

    def fails(files: np.ndarray, offsets: np.ndarray, buffer: np.ndarray, *rest: object) -> None:
        buffer[:] = 0
        status = rest[-1]
        assert isinstance(status, np.ndarray)
        status[:] = record_kernel.UNREAD

    pread = os.pread
    monkeypatch.setattr(record_kernel, "copy_records", fails)
    monkeypatch.setattr(os, "pread", lambda file, size, offset: pread(file, min(size, 7), offset))
    again = batches(index, 20)[plan(rows, start)]
    assert torch.equal(again["ecg"], expected["ecg"])
    assert torch.equal(again["cmr"], expected["cmr"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_numbers_that_are_not_finite_are_found(value: float, dtype: type) -> None:
    word, magnitude, infinity = {
        np.float16: (np.uint16, 0x7FFF, 0x7C00),
        np.float32: (np.uint32, 0x7FFFFFFF, 0x7F800000),
    }[dtype]
    records = np.full((3, 50), np.finfo(dtype).max, dtype=dtype)
    records[2] = np.finfo(dtype).min
    records[1, 37] = value
    status = np.zeros(3, dtype=np.uint8)
    record_kernel.mark_not_finite(records.view(word), word(magnitude), word(infinity), status)
    assert status.tolist() == [0, record_kernel.NOT_FINITE, 0]


@pytest.mark.parametrize("compression", ["blosc2-zstd", "blosc2-lz4"])
def test_optional_filters(tmp_path: Path, compression: str) -> None:
    pytest.importorskip("hdf5plugin")
    index = _write(tmp_path, compressions=(compression, None))
    rows = index.positions(None)
    start = np.zeros(len(rows), dtype=np.int64)
    np.testing.assert_array_equal(batches(index, 40)[plan(rows, start)]["ecg"].float(), read_ecgs(index, rows))


def test_a_filter_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    index = _write(tmp_path, compressions=("gzip",))
    monkeypatch.setattr("ecgcmr.shards.shard_reader.h5py.h5z.filter_avail", lambda code: False)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with ShardReader(index.shard_path(0)) as reader, pytest.raises(UserError) as error:
        reader.ecg(0)
    assert "shard-00000.h5: compressed with HDF5 filter" in str(error.value)
    assert "pip install 'ecgcmr[compression]'" in str(error.value)
    with pytest.raises(UserError, match=r"ecgcmr\[compression\]"):
        _write(tmp_path / "other", compressions=("blosc2-lz4",))
    with pytest.raises(UserError, match="'zip': choose one of gzip"):
        _write(tmp_path / "other", compressions=("zip",))


def test_few_shards_stay_open_and_none_leaks(make_cohort: Callable[..., ShardIndex]) -> None:
    index = make_cohort(*[["train", "val"]] * 12)
    pool = ShardPool(index, max_open=3)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    for shard in [*range(12), 11, 10, 0]:
        assert pool[shard].name == f"shard-{shard:05d}.h5"
        assert len(pool) <= 3
    held = pool[5]
    for shard in range(6, 12):
        pool[shard]
    assert os.fstat(held.descriptor).st_size == index.shards[5]["bytes"]  # still open: somebody holds it
    copy = pickle.loads(pickle.dumps(pool))
    assert len(copy) == 0
    assert copy[2].name == "shard-00002.h5"
    del held, copy
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) - before == 3


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_loader_can_be_left_and_started_again(cohort: ShardIndex, num_workers: int) -> None:
    data = PairedDataModule(cohort.root, batch_size=2, samples=20, num_workers=num_workers)
    loader = data.train_dataloader()
    first = next(iter(loader))
    whole = [batch["row"].tolist() for batch in loader]
    assert whole[0] == first["row"].tolist()
    assert len(whole) == len(loader)
    state = dict(data.state_dict(), rows=6)
    resumed = PairedDataModule(cohort.root, batch_size=2, samples=20, num_workers=num_workers)
    resumed.load_state_dict(state)
    loader = resumed.train_dataloader()
    assert [batch["row"].tolist() for batch in loader] == whole[3:]
    assert resumed.state_dict() == data.state_dict()
    assert [batch["row"].tolist() for batch in loader] == whole  # only once
