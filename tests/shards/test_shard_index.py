"""The index: selections, statistics, bulk reading, and one clear line for whatever is wrong with a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_cohort import tiny_layout, tiny_rows

from ecgcmr.errors import UserError
from ecgcmr.shards.index import ShardIndex, read_cmr, read_ecgs, read_labels
from ecgcmr.shards.index_writer import write_index
from ecgcmr.shards.shard import write_shard


def test_rows_are_those_of_the_split_that_have_all_that_is_needed(cohort: ShardIndex) -> None:
    split = (["train"] * 12 + ["val"] * 5 + ["test"] * 3) + (["val"] * 5 + ["train"] * 12 + ["test"] * 3)
    split += ["test"] * 3 + ["val"] * 5 + ["train"] * 12
    for wanted in ("train", "val", "test", None):
        for need in ((), ("ecg",), ("cmr",), ("ecg", "cmr")):
            expected = [
                p
                for p in range(60)
                if wanted in (None, split[p])
                and not ("ecg" in need and p % 7 == 6)
                and not ("cmr" in need and p % 5 == 4)
            ]
            assert cohort.positions(wanted, need).tolist() == expected
            assert cohort.rows(wanted, need).tolist() == [[p // 20, p % 20] for p in expected]
            assert cohort.subjects(cohort.rows(wanted, need)).tolist() == [f"{p:032x}" for p in expected]
    with pytest.raises(UserError, match="train, val, test"):
        cohort.rows("training")
    with pytest.raises(ValueError, match="positions"):
        cohort.locate(np.array([60]))


def test_counts_and_statistics_of_the_training_split(cohort: ShardIndex) -> None:
    assert cohort.counts == {
        **{"train": 36, "val": 15, "test": 9, "total": 60, "subjects": 60},
        **{"with_ecg": 52, "with_cmr": 48, "with_both": 41, "left_out": 0},
    }
    train = cohort.positions("train", ())
    known = train[train % 3 != 0]
    entry = cohort.statistics["lv_edv"]
    assert entry["n"] == len(known)
    np.testing.assert_allclose([entry["mean"], entry["std"]], [(100 + known).mean(), (100 + known).std()], rtol=1e-6)
    assert (entry["min"], entry["max"]) == (100 + known.min(), 100 + known.max())
    assert cohort.statistics["lv_esv"] == {"n": 0, "mean": None, "std": None, "min": None, "max": None}
    assert cohort.statistics["af_ever"] == {"n": len(known), "positives": int((known % 2 == 0).sum())}


def test_load_gives_what_was_written_and_the_same_bytes(cohort: ShardIndex, make_cohort: Callable) -> None:
    loaded = ShardIndex.load(cohort.root)
    assert loaded.layout == tiny_layout()
    assert (loaded.counts, loaded.statistics, loaded.shards) == (cohort.counts, cohort.statistics, cohort.shards)
    assert loaded.extra == {"code": "test"}
    assert len(loaded) == 60
    content = json.loads((cohort.root / "index.json").read_text())
    assert {"schema", "version", "fingerprint", "layout", "shards", "subjects", "statistics", "counts"} <= set(content)
    assert {"file", "sha256", "rows"} <= set(content["shards"][0])
    again = make_cohort(["train", "val", "test"], name="a")
    other = make_cohort(["train", "val", "test"], name="b")
    assert (again.root / "index.json").read_bytes() == (other.root / "index.json").read_bytes()


@pytest.mark.parametrize("as_pairs", [True, False])
def test_bulk_reading_keeps_the_order_asked_for(cohort: ShardIndex, as_pairs: bool) -> None:
    positions = np.random.default_rng(1).permutation(cohort.positions(None))
    positions = np.concatenate([positions, positions[:3]])  # a row may be asked for twice
    rows = cohort.locate(positions) if as_pairs else positions
    ecgs = read_ecgs(cohort, rows, start=5, length=10)
    assert ecgs.shape == (len(rows), 12, 10)
    assert ecgs.dtype == np.float32
    np.testing.assert_array_equal(ecgs[:, 0, 0], positions)
    np.testing.assert_array_equal(ecgs[:, 3], np.broadcast_to(np.arange(5, 15), (len(rows), 10)))
    assert read_ecgs(cohort, rows[:2]).shape == (2, 12, 40)
    np.testing.assert_array_equal(read_cmr(cohort, rows)[:, 2, 1, 1], positions)
    labels = read_labels(cohort, ["af_ever", "lv_edv"], rows)
    known = positions % 3 != 0
    np.testing.assert_array_equal(labels[known], np.stack([positions % 2 == 0, 100 + positions], axis=1)[known])
    assert np.isnan(labels[~known]).all()
    assert read_labels(cohort, ["lv_edv"], rows[:0]).shape == (0, 1)


def test_a_modality_the_cohort_lacks_is_told(tmp_path: Path) -> None:
    layout = replace(tiny_layout(), ecg=None, cmr=None)
    rows = replace(tiny_rows(0, ["train"]), ecg=None, cmr=None, has_ecg=np.array([False]), has_cmr=np.array([False]))
    index = write_index(tmp_path, layout, [write_shard(tmp_path / "shards" / "s.h5", layout, rows)])
    with pytest.raises(UserError, match="holds no ECGs"):
        read_ecgs(index, np.array([0]))
    with pytest.raises(UserError, match="holds no CMR frames"):
        read_cmr(index, np.array([0]))


def test_unknown_label_lists_close_matches(cohort: ShardIndex) -> None:
    with pytest.raises(UserError, match="label 'lv_edw' is not in the index: did you mean lv_edv") as error:
        read_labels(cohort, ["lv_edv", "lv_edw"], np.array([0]))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="there are 3, such as lv_edv, lv_esv, af_ever"):
        cohort.label_columns(["qqqq"])


def test_a_subject_in_two_splits_is_refused(tmp_path: Path) -> None:
    rows = tiny_rows(0, ["train", "test"])
    rows.subject[1] = rows.subject[0]
    entry = write_shard(tmp_path / "shards" / "s.h5", tiny_layout(), rows)
    with pytest.raises(ValueError, match="two splits: train and test"):
        write_index(tmp_path, tiny_layout(), [entry])
    rows.split[1] = "train"
    entry = write_shard(tmp_path / "shards" / "s.h5", tiny_layout(), rows)
    assert write_index(tmp_path, tiny_layout(), [entry]).counts["subjects"] == 1


def test_index_needs_its_shards(tmp_path: Path) -> None:
    entry = write_shard(tmp_path / "shards" / "s.h5", tiny_layout(), tiny_rows(0, ["train"]))
    with pytest.raises(ValueError, match="at least one shard"):
        write_index(tmp_path, tiny_layout(), [])
    with pytest.raises(UserError, match="other settings"):
        write_index(tmp_path, replace(tiny_layout(), preparation={}), [entry])
    (tmp_path / entry.file).unlink()
    with pytest.raises(UserError, match="shard is missing"):
        write_index(tmp_path, tiny_layout(), [entry])


def _edit(root: Path, **changes: object) -> None:
    path = root / "index.json"
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


def _drop_a_row(root: Path) -> None:
    columns = json.loads((root / "index.json").read_text())["subjects"]
    _edit(root, subjects={**columns, "split": columns["split"][1:]})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: root.rename(root.with_name("moved")), "no such folder"),
        (lambda root: (root / "index.json").unlink(), "holds no index.json"),
        (lambda root: (root / "index.json").write_text("{"), "cannot be read as JSON"),
        (lambda root: (root / "index.json").write_bytes(b"\xff\xfe\x00"), "no UTF-8 text"),
        (lambda root: (root / "index.json").write_text("[]"), "not an index of ecgcmr-shards"),
        (lambda root: _edit(root, schema="other"), "not an index of ecgcmr-shards"),
        (lambda root: _edit(root, version=1), "schema version 1, this program reads 2"),
        (lambda root: _edit(root, layout={}), "incomplete or damaged"),
        (lambda root: _edit(root, shards=[]), "incomplete or damaged"),
        (_drop_a_row, "incomplete or damaged"),
        (lambda root: _edit(root, fingerprint="0" * 64), "fingerprint disagree"),
        (lambda root: (root / "shards" / "shard-00001.h5").unlink(), "shard-00001.h5: shard is missing"),
        (lambda root: (root / "shards" / "shard-00001.h5").write_bytes(b"HDF"), "shard-00001.h5: shard has 3 bytes"),
    ],
)
def test_a_bad_folder_is_told_in_one_line(cohort: ShardIndex, damage: Callable, message: str) -> None:
    damage(cohort.root)
    with pytest.raises(UserError, match=message) as error:
        ShardIndex.load(cohort.root)
    assert "\n" not in str(error.value)


def test_a_large_index_loads_fast_and_selects_vectorised(tmp_path: Path, make_cohort: Callable) -> None:
    """100,000 subjects: the columns are what grows, so they are laid over one shard's entry."""
    index = make_cohort(["train"])
    n = 100_000
    columns = {
        "subject": [f"{p:032x}" for p in range(n)],
        "split": ["train", "train", "val", "test"] * (n // 4),
        "has_ecg": [True] * n,
        "has_cmr": [p % 2 == 0 for p in range(n)],
    }
    _edit(index.root, subjects=columns, shards=[{**index.shards[0], "rows": 500}] * (n // 500))
    large = ShardIndex.load(index.root)
    assert large.rows("train").shape == (25_000, 2)
    assert large.rows("test", ("ecg",))[-1].tolist() == [199, 499]
