"""Masks of frames in shards: written, read, absent in some rows or frames, and refused where they cannot be right."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_cohort import tiny_layout, tiny_rows

from ecgcmr.errors import UserError
from ecgcmr.shards import (
    ShardIndex,
    StoredAnnotations,
    read_masks,
    read_r_peaks,
    read_waves,
    write_index,
    write_shard,
)
from ecgcmr.shards.index_writer import withdraw
from ecgcmr.shards.layout import MASK_UNKNOWN, CMRLayout, ECGLayout, Layout
from ecgcmr.shards.shard import Beats, ShardRows
from ecgcmr.shards.shard_file import ShardFile
from ecgcmr.shards.shard_reader import ShardReader
from ecgcmr.verification import verify_cohort

SPLITS = ["train"] * 8 + ["val"] * 2
UNMASKED = 3
"""A row with frames that nobody has segmented."""


def masked_layout() -> Layout:
    layout = tiny_layout()
    assert layout.cmr is not None
    return replace(layout, cmr=replace(layout.cmr, mask=True))


def masked_rows(first: int = 0) -> ShardRows:
    """Rows whose mask is their position's remainder by 4 in ES and ED, unknown in the mid-beat frame."""
    rows = tiny_rows(first, SPLITS)
    masks = np.full((10, 3, 6, 5), MASK_UNKNOWN, dtype=np.uint8)
    for i in np.flatnonzero(rows.has_cmr):
        if i != UNMASKED:
            masks[i, ::2] = (first + i) % 4
    rows.cmr_mask = masks
    return rows


def cohort(folder: Path) -> ShardIndex:
    entries = [
        write_shard(folder / "shards" / f"shard-0000{n}.h5", masked_layout(), masked_rows(10 * n)) for n in (0, 1)
    ]
    return write_index(folder, masked_layout(), entries)


def test_masks_come_back_from_a_shard_and_from_a_rewritten_one(tmp_path: Path) -> None:
    rows = masked_rows()
    assert rows.cmr_mask is not None
    entry = write_shard(tmp_path / "s.h5", masked_layout(), rows)
    assert entry.has_cmr_mask == [i % 5 != 4 and i != UNMASKED for i in range(10)]
    with ShardReader(tmp_path / "s.h5", masked_layout()) as reader:
        assert reader.has("cmr_mask").tolist() == entry.has_cmr_mask
        for i in np.flatnonzero(rows.has_cmr):
            np.testing.assert_array_equal(reader.cmr_mask(i), rows.cmr_mask[i])
        with pytest.raises(ValueError, match="row 4 of s.h5 has no cmr"):
            reader.cmr_mask(4)
        again = reader.all_rows()
    np.testing.assert_array_equal(again.cmr_mask, rows.cmr_mask)
    assert write_shard(tmp_path / "again.h5", masked_layout(), again).sha256 == entry.sha256


def test_the_file_follows_the_specification(tmp_path: Path) -> None:
    write_shard(tmp_path / "s.h5", masked_layout(), masked_rows())
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["cmr_mask"].shape == (10, 3, 6, 5)
        assert file["cmr_mask"].chunks == (1, 3, 6, 5)
        assert file["cmr_mask"].dtype == np.uint8
        assert file["cmr_mask"].compression == "gzip"
        assert file["cmr"].compression is None  # read past HDF5, as ever
        assert file["has_cmr_mask"][:].tolist() == [1, 1, 1, 0, 0, 1, 1, 1, 1, 0]
        assert (file["cmr_mask_crc32"][:] != 0).tolist() == file["has_cmr_mask"][:].astype(bool).tolist()
        assert list(file.attrs["mask_regions"]) == ["outside", "LV cavity", "myocardium", "RV cavity"]
        assert json.loads(file.attrs["layout"])["cmr"]["mask"] is True


def test_rows_of_many_shards_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    index = cohort(tmp_path)
    assert index.counts["with_cmr_mask"] == 14
    assert ShardIndex.load(tmp_path).has("cmr_mask").tolist() == index.has("cmr_mask").tolist()
    positions = np.array([17, 2, 13, 4, 11])
    masks = read_masks(index, positions)
    assert masks.shape == (5, 3, 6, 5)
    assert masks[:, 0, 0, 0].tolist() == [1, 2, MASK_UNKNOWN, MASK_UNKNOWN, 3]
    assert (masks[:, 1] == MASK_UNKNOWN).all()
    np.testing.assert_array_equal(read_masks(index, index.locate(positions)), masks)
    chosen = index.positions("val", need=("cmr_mask",))
    assert chosen.tolist() == [8, 18]


def test_a_cohort_without_masks_keeps_its_fingerprint_and_its_columns(tmp_path: Path) -> None:
    layout = tiny_layout()
    assert "mask" not in layout.to_dict()["cmr"]
    assert layout.fingerprint == "23b57938a6cc8796c6369afcfaec9885a45395c62bdf078c7082445543d05545"
    assert layout.fingerprint != masked_layout().fingerprint
    assert Layout.from_dict(masked_layout().to_dict()) == masked_layout()
    entry = write_shard(tmp_path / "shards" / "s.h5", layout, tiny_rows(0, SPLITS))
    index = write_index(tmp_path, layout, [entry])
    assert entry.has_cmr_mask == []
    assert "with_cmr_mask" not in index.counts
    assert not index.has("cmr_mask").any()
    assert set(json.loads((tmp_path / "index.json").read_text())["subjects"]) == {
        "subject",
        "split",
        "has_ecg",
        "has_cmr",
    }
    with h5py.File(tmp_path / "shards" / "s.h5") as file:
        assert not [name for name in file if "mask" in name]
    with pytest.raises(UserError, match="stores no masks of its frames"):
        read_masks(index, np.array([0]))
    for read in (read_r_peaks, read_waves):
        with pytest.raises(UserError, match="stores no R peaks"):
            read(index, np.array([0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda masks: masks.astype(np.int16), "int16"),
        (lambda masks: masks[:, :2], "shape"),
        (lambda masks: masks.transpose(0, 1, 3, 2), "shape"),
        (lambda masks: masks + np.where(np.arange(10) == 2, 3, 0)[:, None, None, None].astype(np.uint8), "row 2"),
        (lambda masks: np.where(np.arange(5) == 1, np.uint8(MASK_UNKNOWN), masks), "row 0: .*part of a frame"),
        (lambda masks: np.where(np.arange(10)[:, None, None, None] == 4, np.uint8(0), masks), "row 4: .*no frames"),
    ],
)
def test_masks_that_cannot_be_right_are_refused(tmp_path: Path, change, message: str) -> None:  # noqa: ANN001
    rows = masked_rows()
    rows.cmr_mask = change(rows.cmr_mask)
    with pytest.raises(ValueError, match=message):
        write_shard(tmp_path / "s.h5", masked_layout(), rows)
    assert not (tmp_path / "s.h5").exists()


def test_masks_need_a_layout_that_stores_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the layout stores none"):
        write_shard(tmp_path / "s.h5", tiny_layout(), masked_rows())
    rows = masked_rows()
    rows.cmr_mask = None
    write_shard(tmp_path / "s.h5", masked_layout(), rows)  # nobody of this shard was segmented
    with ShardReader(tmp_path / "s.h5") as reader:
        assert (reader.cmr_mask(0) == MASK_UNKNOWN).all()


def test_a_shard_that_lost_its_masks_is_refused(tmp_path: Path) -> None:
    index = cohort(tmp_path)
    with h5py.File(index.shard_path(0), "r+") as file:
        del file["cmr_mask"]
    with pytest.raises(UserError, match=r"^shard-00000.h5: holds no cmr_mask[^\n]*$"):
        read_masks(index, np.array([0]))


def test_masks_of_another_type_are_refused(tmp_path: Path) -> None:
    index = cohort(tmp_path)
    with h5py.File(index.shard_path(0), "r+") as file:
        del file["cmr_mask"]
        file["cmr_mask"] = np.full((10, 3, 6, 5), np.nan, dtype=np.float32)
    with pytest.raises(UserError, match=r"^shard-00000.h5: cmr_mask is float32, not uint8[^\n]*$"):
        read_masks(index, np.array([0]))
    faults = verify_cohort(tmp_path)
    assert any("cmr_mask of record 0 cannot be read" in line for line in faults), faults


def test_an_index_that_lost_or_changed_its_column_is_refused(tmp_path: Path) -> None:
    cohort(tmp_path)
    path = tmp_path / "index.json"
    content = json.loads(path.read_text())
    for change in (lambda c: c.pop("has_cmr_mask"), lambda c: c.update(has_cmr_mask=[1] * 20)):
        broken = json.loads(json.dumps(content))
        change(broken["subjects"])
        path.write_text(json.dumps(broken))
        with pytest.raises(UserError, match="incomplete or damaged"):
            ShardIndex.load(tmp_path)


def test_the_layout_says_whether_there_are_masks_and_nothing_else() -> None:
    assert masked_layout().to_dict()["cmr"] == {**asdict(masked_layout().cmr), "frames": ["ES", "mid", "ED"]}  # type: ignore[call-overload]
    content = masked_layout().to_dict()
    content["cmr"]["mask"] = "yes"
    with pytest.raises(ValueError, match="layout.cmr.mask is no true or false"):
        Layout.from_dict(content)
    assert CMRLayout(("ED",), 6, 5, 10.0).mask is False


def _set(name: str, place: object, value: object) -> Callable[[h5py.File], None]:
    return lambda file: file[name].__setitem__(place, value)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (_set("cmr_mask", (2, 0, 1, 1), 1), "cmr_mask of record 2 is not what was written"),
        (_set("cmr_mask", (2, 0, 1, 1), 9), "cmr_mask of record 2 holds the value 9, which stands for nothing"),
        (_set("cmr_mask", (2, 0, 1, 1), MASK_UNKNOWN), "cmr_mask of record 2 is unknown in a part of a frame"),
        (_set("has_cmr_mask", 2, 0), "has_cmr_mask differs from the index in record 2"),
        (_set("has_cmr_mask", 4, 1), "a mask belongs to no frames in record 4"),
        (lambda file: file.__delitem__("has_cmr_mask"), "cannot be opened (holds no has_cmr_mask"),
    ],
)
def test_verify_finds_what_is_wrong_with_a_mask(tmp_path: Path, damage: Callable, fault: str) -> None:
    index = cohort(tmp_path)
    assert verify_cohort(tmp_path) == []
    with h5py.File(index.shard_path(0), "r+") as file:
        damage(file)
    faults = verify_cohort(tmp_path)
    assert any(fault in line for line in faults), faults
    assert not any("shard-00001" in line for line in faults)


def test_verify_counts_the_rows_with_a_mask(tmp_path: Path) -> None:
    cohort(tmp_path)
    content = json.loads((tmp_path / "index.json").read_text())
    content["counts"]["with_cmr_mask"] = 3
    (tmp_path / "index.json").write_text(json.dumps(content))
    assert verify_cohort(tmp_path) == ["index.json: counts.with_cmr_mask is 3, its rows make 14"]


def test_withdrawn_subjects_masks_are_given_out_no_more(tmp_path: Path) -> None:
    index = cohort(tmp_path)
    subject = str(index.subjects()[1])
    after = withdraw(tmp_path, [subject])
    assert after.counts["with_cmr_mask"] == 13
    assert 1 not in after.positions(None, need=("cmr_mask",))
    assert verify_cohort(tmp_path) == []


def test_training_reads_no_masks(tmp_path: Path) -> None:
    index = cohort(tmp_path)
    with h5py.File(index.shard_path(0), "r") as file:
        place = file["cmr_mask"].id.get_chunk_info(0).byte_offset
    with index.shard_path(0).open("r+b") as stream:
        stream.seek(place)
        stream.write(b"\xff" * 8)
    shard = ShardFile(index.shard_path(0), index.layout, digest=index.shard_digest(0))
    assert set(shard.offsets) == {"ecg", "cmr"}
    assert shard.checked_record("cmr", 0).shape == (3, 6, 5)
    with pytest.raises(UserError, match=r"^shard-00000.h5: shard is truncated or damaged[^\n]*$"):
        read_masks(index, np.array([0]))


def test_r_peaks_and_waves_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    layout = replace(tiny_layout(), ecg=ECGLayout(samples=40, max_beats=2))
    entries = []
    for number in (0, 1):
        rows = tiny_rows(10 * number, SPLITS)
        peaks = np.stack([np.arange(10) + 10 * number, np.full(10, -1)], axis=1)
        waves = np.repeat(peaks[:, :, None], 8, axis=2)
        rows.beats = Beats(peaks, waves)
        entries.append(write_shard(tmp_path / "shards" / f"shard-0000{number}.h5", layout, rows))
    index = write_index(tmp_path, layout, entries)
    positions = np.array([13, 2, 19])
    assert read_r_peaks(index, positions).tolist() == [[13, -1], [2, -1], [19, -1]]
    assert read_waves(index, index.locate(positions))[:, :, 3].tolist() == [[13, -1], [2, -1], [19, -1]]
    assert read_waves(index, positions).dtype == np.int64
    assert read_r_peaks(index, positions[:0]).shape == (0, 2)


def test_annotations_say_what_is_stored(tmp_path: Path) -> None:
    index = cohort(tmp_path / "masked")
    stored = StoredAnnotations(index)
    assert (stored.has_masks, stored.has_waves, stored.waves_are_true) == (True, False, False)
    np.testing.assert_array_equal(stored.masks(np.array([1])), read_masks(index, np.array([1])))
    with pytest.raises(UserError, match="stores no R peaks"):
        stored.waves(np.array([1]))
    alone = write_shard(tmp_path / "plain" / "shards" / "s.h5", masked_layout(), tiny_rows(0, SPLITS))
    assert not StoredAnnotations(write_index(tmp_path / "plain", masked_layout(), [alone])).has_masks
