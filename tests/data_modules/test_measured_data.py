"""Batches with measurements: what they hold, which rows are left out, the scale, what is hidden, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled_cohort import SPLITS, write_cohort

from data_modules import MeasuredDataModule
from ecgcmr.augmentations import HideMeasurements
from ecgcmr.errors import UserError
from ecgcmr.row_random import RowGenerator
from ecgcmr.shards import ShardIndex, read_labels

NAMES = ["lv_edv", "age"]
NEITHER = {"lv_edv": [0, 1, 2, 21], "age": [1, 2, 3, 21]}
"""Rows without a value: 1 and 2 of training and 21 of validation have neither."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_cohort(tmp_path / "cohort", missing=NEITHER)


def prepared(root: Path, stage: str = "fit", **options: Any) -> MeasuredDataModule:
    data = MeasuredDataModule(root, NAMES, batch_size=4, samples=100, **options)
    data.setup(stage)
    return data


def batches(data: MeasuredDataModule, loader: Any) -> list[Any]:
    return [data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0) for batch in loader]


def test_a_batch_holds_the_measurements_of_its_rows(root: Path) -> None:
    data = prepared(root)
    expected = read_labels(ShardIndex.load(root), NAMES, np.arange(len(SPLITS)))
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for batch in batches(data, loader):
            np.testing.assert_array_equal(batch["measurements"].numpy(), expected[batch["row"].numpy()])
    assert data.input_spec["measurements"] == {"names": ("lv_edv", "age")}


def test_rows_without_any_measurement_are_left_out_and_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("data_modules.measured.rank_zero_info", said.append)
    data = prepared(root)
    assert set(data.rows("train")) == set(range(20)) - {1, 2}
    assert set(data.rows("val")) == set(range(20, 26)) - {21}
    assert data.without_measurement == {"train": 2, "val": 1}
    assert data.train_size == 18
    assert said == [
        "note: 2 of 20 rows of the train split have none of the 2 measurements and are left out",
        "note: 1 of 6 rows of the val split have none of the 2 measurements and are left out",
    ]
    data.setup("fit")
    assert len(said) == 2


def test_the_scale_is_that_of_the_rows_that_are_trained_on(root: Path) -> None:
    data = prepared(root)
    mean, deviation = data.measurement_statistics()
    values = read_labels(ShardIndex.load(root), NAMES, data.rows("train")).astype(np.float64)
    np.testing.assert_allclose(mean, np.nanmean(values, axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, np.nanstd(values, axis=0), rtol=1e-6)


def test_measurements_of_other_splits_are_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def reading(index: ShardIndex, names: list[str], rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return read_labels(index, names, rows)

    monkeypatch.setattr("data_modules.measured.read_labels", reading)
    data = prepared(root)
    batches(data, data.train_dataloader())
    batches(data, data.val_dataloader())
    data.measurement_statistics()
    assert set(asked) == {row for row, split in enumerate(SPLITS) if split != "test"}
    data.setup("test")
    assert all(torch.isfinite(batch["measurements"]).all() for batch in batches(data, data.test_dataloader()))


def test_training_hides_measurements_of_a_row_alike_in_every_batch(root: Path) -> None:
    def seen(batch_size: int, epoch: int) -> dict[int, list[float]]:
        data = MeasuredDataModule(root, NAMES, batch_size, samples=100, measurement_augmentation=HideMeasurements(0.5))
        data.setup("fit")
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        whole = batches(data, loader)
        assert all(torch.isfinite(batch["measurements"]).any(dim=1).all() for batch in whole)
        return {
            int(row): np.nan_to_num(values, nan=-1.0).tolist()
            for batch in whole
            for row, values in zip(batch["row"], batch["measurements"].numpy(), strict=True)
        }

    small, large = seen(3, 0), seen(9, 0)
    assert small == large
    assert small != seen(9, 1)
    hidden = sum(value == -1.0 for values in small.values() for value in values)
    assert hidden > 5
    data = MeasuredDataModule(root, NAMES, 4, samples=100, measurement_augmentation=HideMeasurements(0.9))
    data.setup("fit")
    known = sum(int(torch.isfinite(batch["measurements"]).sum()) for batch in batches(data, data.val_dataloader()))
    assert known == np.isfinite(read_labels(ShardIndex.load(root), NAMES, data.rows("val"))).sum()


def test_one_known_measurement_of_a_row_always_stays() -> None:
    x = torch.tensor([[1.0, float("nan"), 2.0], [float("nan"), 3.0, float("nan")]]).repeat(50, 1)
    hidden = HideMeasurements(0.95)(x, RowGenerator(torch.arange(100), 1, 2))
    assert torch.isfinite(hidden).any(dim=1).all()
    assert torch.isfinite(hidden)[::2].sum() < 70
    assert torch.equal(torch.isfinite(hidden) & torch.isfinite(x), torch.isfinite(hidden))
    with pytest.raises(UserError, match="probability 1.0"):
        HideMeasurements(1.0)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["LV"], r"LV is a group, and each label has its place: write \[lv_edv, lv_ef\]"),
        (["lv_edf"], "label 'lv_edf' is not in the index: did you mean"),
    ],
)
def test_names_that_are_no_labels_are_refused(root: Path, names: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        MeasuredDataModule(root, names, samples=100).setup("fit")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"measurements": []}, "name at least one label"),
        ({"measurements": ["age", "age"]}, "each once"),
        ({"measurements": ["age"], "image_size": 32}, "images: true"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        MeasuredDataModule("nowhere", **options)


def test_a_cohort_in_which_nothing_was_measured_is_refused(tmp_path: Path) -> None:
    root = write_cohort(tmp_path / "cohort", missing={"lv_edv": range(20)})
    with pytest.raises(UserError, match="no row of the train split with ECG has a value of lv_edv"):
        MeasuredDataModule(root, ["lv_edv"], samples=100).setup("fit")
    data = MeasuredDataModule(root, ["lv_edv", "age"], samples=100)
    data.setup("fit")
    with pytest.raises(UserError, match="measurements: lv_edv has no value among the training rows; leave it out"):
        data.measurement_statistics()


def test_with_images_rows_have_all_three(make_cohort: Callable[..., ShardIndex]) -> None:
    index = make_cohort(["train"] * 20 + ["val"] * 8)
    data = MeasuredDataModule(index.root, ["lv_edv", "af_ever"], batch_size=4, samples=20, images=True)
    data.setup("fit")
    rows = data.rows("train")
    assert set(rows) == {row for row in index.positions("train", ["ecg", "cmr"]).tolist() if row % 3}
    batch = batches(data, data.train_dataloader())[0]
    assert batch["cmr"].shape[1:] == (3, 6, 5)
    assert set(data.input_spec) == {"ecg", "cmr", "measurements"}
