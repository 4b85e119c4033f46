"""The data module of frames alone takes every row that has them, with an ECG or without."""

from __future__ import annotations

import numpy as np
import pytest

from data_modules import CMRDataModule
from ecgcmr.errors import UserError
from ecgcmr.shards import ShardIndex


def test_rows_with_frames_are_read_whether_they_have_an_ecg_or_not(cohort: ShardIndex) -> None:
    data = CMRDataModule(cohort.root, batch_size=4, image_size=3, labels=["lv_edv"], samples=5000)
    data.setup("fit")
    assert data.input_spec == {"cmr": {"frames": 3, "height": 3, "width": 3}}
    batches = list(data.val_dataloader())
    rows = np.concatenate([batch["row"].numpy() for batch in batches])
    frames = np.concatenate([batch["cmr"].numpy()[:, 0, 0, 0] for batch in batches])
    validating = cohort.positions("val", ["cmr"])
    assert len(cohort.positions("val", ["cmr", "ecg"])) < len(validating)
    assert set(rows) == set(validating)
    np.testing.assert_array_equal(frames, rows)
    assert sorted(batches[0]) == ["cmr", "labels", "row", "valid"]
    trained = np.concatenate([batch["row"].numpy() for batch in data.train_dataloader()])
    assert set(trained) <= set(cohort.positions("train", ["cmr"]))
    with pytest.raises(UserError, match="image_size"):
        CMRDataModule(cohort.root, image_size=0)
