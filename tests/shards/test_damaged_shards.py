"""Whatever happens to a shard on disk: found by ``verify``, one clear error in training, no NaN in any batch."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from data_modules import ECGDataModule, PairedDataModule
from ecgcmr.errors import UserError
from ecgcmr.shards import ShardIndex, ShardReader
from ecgcmr.verification import verify_cohort
from ecgcmr.verification.command import HELP, add_arguments

pytestmark = pytest.mark.slow

SHARD = "shards/shard-00001.h5"


def _offset(index: ShardIndex, row: int, name: str = "ecg") -> int:
    with ShardReader(index.root / SHARD, index.layout) as reader:
        offsets = reader.chunk_offsets(name)
    assert offsets is not None
    return int(offsets[row])


def _overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def _flip_quietly(index: ShardIndex) -> None:
    """Turn a bit of a value that stays finite: sample 3 of lead II of record 8."""
    offset = _offset(index, 8) + (40 + 3) * 2
    content = (index.root / SHARD).read_bytes()[offset : offset + 1]
    _overwrite(index.root / SHARD, offset, bytes([content[0] ^ 4]))


def _flip_to_nan(index: ShardIndex) -> None:
    _overwrite(index.root / SHARD, _offset(index, 8) + (40 + 3) * 2, np.array([np.nan], np.float16).tobytes())


def _flip_a_pixel(index: ShardIndex) -> None:
    _overwrite(index.root / SHARD, _offset(index, 2, "cmr") + 5, b"\xaa")


def _truncate(index: ShardIndex) -> None:
    os.truncate(index.root / SHARD, (index.root / SHARD).stat().st_size // 2)


def _swap(index: ShardIndex) -> None:
    one, two = index.root / SHARD, index.root / "shards/shard-00002.h5"
    spare = one.with_name("spare")
    one.rename(spare)
    two.rename(one)
    spare.rename(two)


def _edit(change: Callable[[h5py.File], None]) -> Callable[[ShardIndex], None]:
    def damage(index: ShardIndex) -> None:
        with h5py.File(index.root / SHARD, "r+") as file:
            change(file)

    return damage


def _set(name: str, place: Any, value: Any) -> Callable[[ShardIndex], None]:
    return _edit(lambda file: file[name].__setitem__(place, value))


DAMAGES: list[tuple[Callable[[ShardIndex], None], list[str]]] = [
    (_flip_quietly, ["shard-00001.h5: its content", "shard-00001.h5: ecg of record 8 is not what was written"]),
    (_flip_to_nan, ["shard-00001.h5: ecg of record 8 holds NaN"]),
    (_flip_a_pixel, ["shard-00001.h5: cmr of record 2 is not what was written"]),
    (_truncate, ["shard-00001.h5: has", "shard-00001.h5: cannot be"]),
    (lambda index: (index.root / SHARD).unlink(), ["shard-00001.h5: is missing"]),
    (lambda index: (index.root / SHARD).write_bytes(b"x" * 9999), ["shard-00001.h5: has", "cannot be opened"]),
    (_swap, ["shard-00001.h5: subject differs from the index in record 0 and 19 more", "shard-00002.h5: subject"]),
    (_set("labels", (5, 2), 3.0), ["shard-00001.h5: label af_ever is neither 0 nor 1 in record 5"]),
    (_set("labels", (5, 0), np.inf), ["label lv_edv is infinite in record 5"]),
    (_set("split", 4, 9), ["split is unknown in record 4"]),
    (_set("split", 4, 2), ["split differs from the index in record 4"]),
    (_set("has_cmr", 0, 0), ["has_cmr differs from the index in record 0"]),
    (_edit(lambda file: file.attrs.__setitem__("schema_version", 1)), ["schema version 1"]),
    (_edit(lambda file: file.__delitem__("labels")), ["cannot be opened"]),
]


@pytest.mark.parametrize(("damage", "expected"), DAMAGES)
def test_verify_names_shard_and_record(cohort: ShardIndex, damage: Callable, expected: list[str]) -> None:
    assert verify_cohort(cohort.root) == []
    damage(cohort)
    faults = verify_cohort(cohort.root)
    for text in expected:
        assert any(text in fault for fault in faults), faults
    assert all("\n" not in fault and "shard-00000.h5" not in fault for fault in faults)


@pytest.mark.parametrize(("damage", "expected"), DAMAGES[7:12])
def test_quick_finds_what_needs_no_record(cohort: ShardIndex, damage: Callable, expected: list[str]) -> None:
    damage(cohort)
    faults = verify_cohort(cohort.root, quick=True)
    assert any(expected[0] in fault for fault in faults), faults
    assert not any("checksum" in fault for fault in faults)


def test_all_faults_are_listed_and_quick_leaves_records_alone(cohort: ShardIndex) -> None:
    _flip_quietly(cohort)
    _flip_a_pixel(cohort)
    assert verify_cohort(cohort.root, quick=True) == []
    (cohort.root / "shards/shard-00002.h5").unlink()
    faults = verify_cohort(cohort.root)
    assert len(faults) == 4
    assert {fault.split(":")[0] for fault in faults} == {SHARD, "shards/shard-00002.h5"}


def test_the_index_is_checked_too(cohort: ShardIndex) -> None:
    content = json.loads((cohort.root / "index.json").read_text())
    content["counts"]["train"] += 1
    content["subjects"]["subject"][0] = content["subjects"]["subject"][19]  # train and test
    content["selections"] = {"some": {"about": "", "rows": [0, 19]}}
    (cohort.root / "index.json").write_text(json.dumps(content))
    faults = "\n".join(verify_cohort(cohort.root))
    assert "counts.train is 37, its rows make 36" in faults
    assert "stands in more than one split" in faults
    assert "selection some holds position 19" in faults
    assert "shard-00000.h5: subject differs from the index in record 0" in faults


@pytest.mark.slow
def test_command(cohort: ShardIndex, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    from ecgcmr.verification.command import run

    def call(*arguments: str) -> int:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return run(parser.parse_args(list(arguments)))

    assert call(str(cohort.root)) == 0
    assert "no fault found" in capsys.readouterr().out
    _flip_to_nan(cohort)
    assert call(str(cohort.root), "--workers", "2") == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fault: ")]
    assert any("record 8 holds NaN" in line for line in lines)
    with pytest.raises(UserError, match="no such folder"):
        call(str(cohort.root / "nowhere"))
    with pytest.raises(UserError, match="workers"):
        call(str(cohort.root), "--workers", "0")
    assert "checksums" in HELP


def _read_all(data: ECGDataModule | PairedDataModule) -> None:
    for batch in data.train_dataloader():
        assert torch.isfinite(batch["ecg"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "message", "num_workers"),
    [
        (_flip_quietly, "^shard-00001.h5: ecg of record 8 is damaged", 0),
        (_flip_to_nan, "^shard-00001.h5: ecg of record 8 is damaged", 1),
        (_truncate, "^shard-00001.h5: ", 0),
        (lambda index: (index.root / SHARD).unlink(), "^shard-00001.h5: shard is missing", 0),
        (_swap, "^shard-0000[12].h5: is not the shard that index.json names", 0),
    ],
)
def test_training_tells_one_error(cohort: ShardIndex, damage: Callable, message: str, num_workers: int) -> None:
    data = ECGDataModule(cohort.root, batch_size=4, samples=40, num_workers=num_workers)
    data.setup("fit")
    damage(cohort)
    with pytest.raises(UserError, match=message) as error:
        _read_all(data)
    assert "\n" not in str(error.value)


def test_a_file_that_shrinks_while_it_is_open_names_the_record(cohort: ShardIndex) -> None:
    data = ECGDataModule(cohort.root, batch_size=4, samples=40)
    loader = data.val_dataloader()
    list(loader)  # all shards are open now
    os.truncate(cohort.root / SHARD, _offset(cohort, 1) + 100)
    with pytest.raises(UserError, match="^shard-00001.h5: the file ends within ecg of record 1;"):
        list(loader)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_no_nan_reaches_a_batch_without_checksums_either(cohort: ShardIndex, num_workers: int) -> None:
    _flip_to_nan(cohort)
    data = ECGDataModule(cohort.root, batch_size=4, samples=40, num_workers=num_workers, verify_reads="never")
    with pytest.raises(UserError, match="^shard-00001.h5: ecg of record 8 holds NaN or infinity"):
        _read_all(data)


def test_workers_end_with_the_error_that_one_of_them_found(cohort: ShardIndex) -> None:
    _flip_to_nan(cohort)
    before = set(multiprocessing.active_children())
    loader = ECGDataModule(cohort.root, batch_size=4, samples=40, num_workers=1).train_dataloader()
    with pytest.raises(UserError, match="record 8 is damaged") as error:
        list(loader)
    assert error.traceback  # which holds the frames of the iteration
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.slow
def test_verified_reads_find_what_stays_finite(cohort: ShardIndex) -> None:
    _flip_quietly(cohort)
    _read_all(ECGDataModule(cohort.root, batch_size=4, samples=40, verify_reads="never"))
    for when in ("first", "always"):
        with pytest.raises(UserError, match="^shard-00001.h5: ecg of record 8 is damaged"):
            _read_all(ECGDataModule(cohort.root, batch_size=4, samples=40, verify_reads=when))
    with pytest.raises(UserError, match="first, always, never"):
        ECGDataModule(cohort.root, verify_reads="sometimes")
    gc.collect()  # closes the shards that were read through HDF5
    with h5py.File(cohort.root / SHARD, "r+") as file:
        del file["ecg_crc32"]
    _read_all(ECGDataModule(cohort.root, batch_size=4, samples=40))  # an older shard is read as it is
    with pytest.raises(UserError, match="holds no checksums"):
        _read_all(ECGDataModule(cohort.root, batch_size=4, samples=40, verify_reads="always"))


def test_a_record_is_verified_once_and_not_again(cohort: ShardIndex) -> None:
    data = ECGDataModule(cohort.root, batch_size=4, samples=40)
    data.setup("fit")
    loader = data.train_dataloader()
    list(loader)
    _flip_quietly(cohort)
    list(loader)
    with pytest.raises(UserError, match="record 8 is damaged"):
        _read_all(ECGDataModule(cohort.root, batch_size=4, samples=40, verify_reads="always"))


def test_read_only_media_and_locking(cohort: ShardIndex, tmp_path: Path) -> None:
    root = Path(shutil.copytree(cohort.root, tmp_path / "medium"))
    for path in sorted(root.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    root.chmod(0o555)
    try:
        for locking in (False, True, None):
            _read_all(PairedDataModule(root, batch_size=4, samples=30, locking=locking, verify_reads="always"))
            gc.collect()  # HDF5 does not open a file under two ways of locking at a time
        assert verify_cohort(root) == []
    finally:
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)


def test_any_flipped_bit_is_found_and_none_reaches_training_as_another_error(make_cohort: Callable) -> None:
    index = make_cohort(["train"] * 8 + ["val"])
    path, random = index.shard_path(0), np.random.default_rng(0)
    good = path.read_bytes()
    for _ in range(80):
        content = bytearray(good)
        # Mostly among HDF5's own structures, which stand first.
        place = int(random.integers(0, 6000 if random.random() < 0.7 else len(good)))
        content[place] ^= 1 << int(random.integers(0, 8))
        path.write_bytes(content)
        assert verify_cohort(index.root) != []
        data = ECGDataModule(index.root, batch_size=4, samples=40)
        told = ""
        try:
            _read_all(data)
        except UserError as error:
            told = str(error)
        assert told == "" or ("shard-00000.h5" in told and "\n" not in told)


def _replace(name: str, make: Callable[[h5py.File], Any]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        make(file)

    return change


ODD_SHARDS: dict[str, Callable[[h5py.File], None]] = {
    "a group for labels": _replace("labels", lambda file: file.create_group("labels")),
    "a group for flags": _replace("has_ecg", lambda file: file.create_group("has_ecg")),
    "a circle": _replace("split", lambda file: file.__setitem__("split", h5py.SoftLink("/split"))),
    "a link to elsewhere": _replace("ecg", lambda file: file.__setitem__("ecg", h5py.ExternalLink("none.h5", "/x"))),
    "terabytes of rows": _replace(
        "ecg_crc32", lambda file: file.create_dataset("ecg_crc32", (10**12,), "u4", chunks=(64,))
    ),
    "another shape": _replace("labels", lambda file: file.create_dataset("labels", (4, 99), "f4")),
    "a group beside": lambda file: file.create_group("more"),
    "no labels": _replace("labels", lambda file: None),
    "a deep layout": lambda file: file.attrs.__setitem__("layout", "[" * 3000),
    "an array for a layout": lambda file: file.attrs.__setitem__("layout", np.zeros(3)),
    "an array for a schema": lambda file: file.attrs.__setitem__("schema", np.zeros(3)),
    "an array for a version": lambda file: file.attrs.__setitem__("schema_version", np.zeros(3)),
    "control characters": lambda file: file.attrs.__setitem__("schema", "a\x1b[31mb"),
}


@pytest.mark.parametrize("odd", ODD_SHARDS)
def test_what_stands_in_place_of_a_dataset_is_one_clear_error(cohort: ShardIndex, odd: str) -> None:
    path = cohort.root / SHARD
    with h5py.File(path, "r+") as file:
        ODD_SHARDS[odd](file)
    faults = verify_cohort(cohort.root, quick=True)
    assert any(fault.startswith(f"{SHARD}: ") for fault in faults)
    assert all(fault.isprintable() for fault in faults)
    with pytest.raises(UserError, match=path.name), ShardReader(path, cohort.layout) as reader:
        reader.all_rows()
