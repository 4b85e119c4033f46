"""Shards: what is written is read, bytes are repeatable, bad content and damaged files are refused."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_cohort import LABELS, SAMPLES, tiny_layout, tiny_rows

from ecgcmr.errors import UserError
from ecgcmr.shards.layout import WAVES, CMRLayout, ECGLayout, Label, Layout
from ecgcmr.shards.shard import Beats, LeadQuality, ShardRows, write_shard
from ecgcmr.shards.shard_reader import ShardReader

SPLITS = ["train"] * 8 + ["val"] * 2


def test_rows_come_back(tmp_path: Path) -> None:
    rows = tiny_rows(0, SPLITS)
    assert rows.ecg is not None
    assert rows.cmr is not None
    rows.ecg += np.random.default_rng(0).normal(size=rows.ecg.shape).astype(np.float32)
    entry = write_shard(tmp_path / "shards" / "shard-00000.h5", tiny_layout(), rows)
    assert (entry.file, entry.rows, entry.split) == ("shards/shard-00000.h5", 10, SPLITS)
    with ShardReader(tmp_path / entry.file, tiny_layout()) as reader:
        assert len(reader) == 10
        assert reader.layout == tiny_layout()
        for i in np.flatnonzero(rows.has_ecg):
            np.testing.assert_allclose(reader.ecg(i), rows.ecg[i], rtol=2**-11)
            np.testing.assert_array_equal(reader.ecg(i, 7, 9), reader.ecg(i)[:, 7:16])
        assert reader.ecg(0).dtype == np.float32
        assert reader.stored_ecg(0).dtype == np.float16
        for i in np.flatnonzero(rows.has_cmr):
            np.testing.assert_array_equal(reader.cmr(i), rows.cmr[i])
        np.testing.assert_array_equal(reader.labels(), rows.labels)
        np.testing.assert_array_equal(reader.labels(4), rows.labels[4])


def test_same_rows_give_same_bytes(tmp_path: Path) -> None:
    write_shard(tmp_path / "a" / "s.h5", tiny_layout(), tiny_rows(0, SPLITS))
    time.sleep(1.1)  # HDF5 time stamps count seconds
    second = tmp_path / "b" / "other-name.h5"
    write_shard(second, tiny_layout(), tiny_rows(0, SPLITS))
    assert (tmp_path / "a" / "s.h5").read_bytes() == second.read_bytes()
    assert sorted(p.name for p in second.parent.iterdir()) == ["other-name.h5"]


def test_file_follows_the_specification(tmp_path: Path) -> None:
    write_shard(tmp_path / "s.h5", tiny_layout(), tiny_rows(0, SPLITS))
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["ecg"].shape == (10, 12, SAMPLES)
        assert file["ecg"].chunks == (1, 12, SAMPLES)
        assert file["ecg"].compression is None
        assert file["ecg"].dtype == np.float16
        assert file["cmr"].chunks == (1, 3, 6, 5)
        assert file["split"][:].tolist() == [0] * 8 + [1] * 2
        assert file["subject"][1] == b"0" * 31 + b"1"
        assert file["has_cmr"][:].tolist() == [1, 1, 1, 1, 0, 1, 1, 1, 1, 0]
        assert list(file.attrs["leads"])[:4] == ["I", "II", "III", "aVR"]
        assert file.attrs["sampling_rate_hz"] == 500.0
        assert file.attrs["schema"] == "ecgcmr-shards"
        assert json.loads(file.attrs["layout"])["labels"][0]["name"] == "lv_edv"
        assert (file["ecg"][6] == 0).all()  # absent: never written


def test_absent_records_take_no_room_and_may_hold_anything(tmp_path: Path) -> None:
    rows = tiny_rows(0, SPLITS)
    assert rows.ecg is not None
    rows.ecg[6] = np.nan
    write_shard(tmp_path / "s.h5", tiny_layout(), rows)
    rows.ecg, rows.cmr, rows.has_ecg, rows.has_cmr = None, None, np.zeros(10, bool), np.zeros(10, bool)
    write_shard(tmp_path / "empty.h5", tiny_layout(), rows)
    with ShardReader(tmp_path / "empty.h5") as reader, pytest.raises(ValueError, match="row 0 of empty.h5 has no ecg"):
        reader.ecg(0)
    with h5py.File(tmp_path / "s.h5") as full, h5py.File(tmp_path / "empty.h5") as empty:
        assert full["ecg"].id.get_storage_size() == 9 * 12 * SAMPLES * 2
        assert empty["ecg"].id.get_storage_size() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 70000.0])
def test_unstorable_ecg_is_refused_by_row(tmp_path: Path, value: float) -> None:
    rows = tiny_rows(0, SPLITS)
    assert rows.ecg is not None
    rows.ecg[3, 2, 1] = value
    with pytest.raises(ValueError, match="row 3: ecg"):
        write_shard(tmp_path / "s.h5", tiny_layout(), rows)
    assert list(tmp_path.iterdir()) == []  # nothing half-written stays


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject": ["1234567"] * 10}, "keyed hash"),
        ({"subject": ["G" * 32] * 10}, "keyed hash"),
        ({"split": ["training"] * 10}, "split 'training'"),
        ({"labels": np.zeros((10, 2), np.float32)}, "labels have shape"),
        ({"cmr": np.zeros((10, 3, 5, 6), np.uint8)}, "cmr has shape"),
        ({"cmr": np.zeros((10, 3, 6, 5), np.float32)}, "not uint8"),
        ({"ecg": None}, "has_ecg is set"),
        ({"has_cmr": np.ones(9, bool)}, "has_cmr has 9"),
        ({"subject": [], "split": []}, "at least one row"),
    ],
)
def test_malformed_rows_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_shard(tmp_path / "s.h5", tiny_layout(), replace(tiny_rows(0, SPLITS), **change))


def test_crop_outside_the_record_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "s.h5", tiny_layout(), tiny_rows(0, SPLITS))
    with ShardReader(tmp_path / "s.h5") as reader:
        for start, length in ((SAMPLES - 3, 4), (-1, 4), (SAMPLES + 1, None)):
            with pytest.raises(ValueError, match="do not lie within"):
                reader.ecg(0, start, length)


def test_reader_pickles_closed(tmp_path: Path) -> None:
    write_shard(tmp_path / "s.h5", tiny_layout(), tiny_rows(0, SPLITS))
    reader = ShardReader(tmp_path / "s.h5", tiny_layout())
    before = reader.ecg(0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).ecg(0), before)


def _read_in_child(reader: ShardReader, queue: multiprocessing.Queue) -> None:
    queue.put(reader.ecg(1))


def test_reader_opened_before_a_fork_works_in_the_child_and_after_it(tmp_path: Path) -> None:
    write_shard(tmp_path / "s.h5", tiny_layout(), tiny_rows(0, SPLITS))
    reader = ShardReader(tmp_path / "s.h5")
    expected = reader.ecg(1)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(reader, queue))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=20), expected)
    child.join(20)
    np.testing.assert_array_equal(reader.ecg(1), expected)


def test_damaged_and_foreign_files_are_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    write_shard(path, tiny_layout(), tiny_rows(0, SPLITS))
    whole = path.read_bytes()
    cases = {"truncated": whole[: len(whole) // 2], "no HDF5": b"not an HDF5 file", "empty": b""}
    for content in cases.values():
        path.write_bytes(content)
        with pytest.raises(UserError, match="^s.h5: shard is truncated or damaged[^\n]*$"):
            ShardReader(path).ecg(0)
    path.unlink()
    with pytest.raises(UserError, match="^s.h5: shard is missing[^\n]*$"):
        ShardReader(path).ecg(0)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("schema", "other", "not an ecgcmr-shards file"),
        ("schema_version", 99, "schema version 99"),
        ("layout", "{", "layout is unreadable"),
        ("layout", "{}", "layout is unreadable"),
    ],
)
def test_other_schemas_are_refused(tmp_path: Path, attribute: str, value: object, message: str) -> None:
    write_shard(tmp_path / "s.h5", tiny_layout(), tiny_rows(0, SPLITS))
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file.attrs[attribute] = value
    with pytest.raises(UserError, match=f"^s.h5: [^\n]*{message}[^\n]*$"):
        ShardReader(tmp_path / "s.h5").ecg(0)


def test_the_layout_may_be_written_in_another_order(tmp_path: Path) -> None:
    write_shard(tmp_path / "s.h5", tiny_layout(), tiny_rows(0, SPLITS))
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file.attrs["layout"] = json.dumps(dict(reversed(tiny_layout().to_dict().items())), indent=1)
    assert ShardReader(tmp_path / "s.h5", tiny_layout()).ecg(1).shape == (12, SAMPLES)


def test_other_preparation_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "s.h5", tiny_layout(), tiny_rows(0, SPLITS))
    other = replace(tiny_layout(), preparation={"lambda": 1e6})
    with pytest.raises(UserError, match="^s.h5: prepared with other settings"):
        ShardReader(tmp_path / "s.h5", other).ecg(0)


def test_layout_survives_json_and_its_fingerprint_sees_every_part() -> None:
    layout = tiny_layout()
    assert Layout.from_dict(json.loads(layout.canonical_json)) == layout
    assert len(layout.fingerprint) == 64
    others = [
        replace(layout, ecg=ECGLayout(samples=SAMPLES, sampling_rate=250)),
        replace(layout, ecg=None),
        replace(layout, cmr=CMRLayout(("ES", "ED"), 6, 5, 10.0)),
        replace(layout, labels=LABELS[:2]),
        replace(layout, labels=LABELS[::-1]),
        replace(layout, preparation={"lambda": 1e7, "p": 0.3}),
    ]
    assert len({layout.fingerprint, *(other.fingerprint for other in others)}) == 7


def test_layout_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match="unique: lv_edv"):
        replace(tiny_layout(), labels=(*LABELS, LABELS[0]))
    with pytest.raises(ValueError, match="kind 'number'"):
        Label("x", "number", "", "", "")
    with pytest.raises(ValueError, match="ECG dtype"):
        ECGLayout(dtype="int16")
    with pytest.raises(ValueError, match="not a layout"):
        Layout.from_dict({"ecg": {"colour": 1}, "cmr": None, "labels": [], "preparation": {}})


def _annotated(flags: int = 5) -> tuple[Layout, ShardRows]:
    layout = replace(tiny_layout(), ecg=ECGLayout(samples=SAMPLES, max_beats=4, quality=True))
    rows = tiny_rows(0, SPLITS)
    peaks = np.full((10, 4), -1)
    peaks[:, :2] = [3, 21]
    waves = np.full((10, 4, len(WAVES)), -1)
    waves[:, 0] = np.arange(len(WAVES))
    rows.beats = Beats(peaks, waves)
    rows.quality = LeadQuality(np.full((10, 12), flags), np.linspace(0, 1, 120).reshape(10, 12))
    return layout, rows


def test_beats_and_quality_come_back(tmp_path: Path) -> None:
    layout, rows = _annotated()
    write_shard(tmp_path / "s.h5", layout, rows)
    with ShardReader(tmp_path / "s.h5", layout) as reader:
        assert reader.r_peaks(2).tolist() == [3, 21]
        assert reader.waves(2).tolist() == [list(range(len(WAVES))), [-1] * len(WAVES)]
        assert reader.lead_flags(2).tolist() == [5] * 12
        np.testing.assert_allclose(reader.lead_quality(), np.linspace(0, 1, 120).reshape(10, 12), rtol=1e-6)
        with pytest.raises(ValueError, match="row 6"):
            reader.r_peaks(6)


def test_layout_and_annotations_must_agree(tmp_path: Path) -> None:
    layout, rows = _annotated()
    rows.beats = None
    with pytest.raises(ValueError, match="stores beats"):
        write_shard(tmp_path / "s.h5", layout, rows)
    layout, rows = _annotated()
    assert rows.quality is not None
    rows.quality.flags = rows.quality.flags[:, :3]
    with pytest.raises(ValueError, match="lead_flags"):
        write_shard(tmp_path / "s.h5", layout, rows)
    write_shard(tmp_path / "plain.h5", tiny_layout(), tiny_rows(0, SPLITS))
    with ShardReader(tmp_path / "plain.h5") as reader, pytest.raises(ValueError, match="no r_peaks"):
        reader.r_peaks(0)
