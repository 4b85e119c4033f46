"""Several windows of a recording in evaluation: where they start, what a batch holds, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_cohort import tiny_layout, tiny_rows
from witness import Witness, trainer

from data_modules import LabelledDataModule, cut_windows, window_starts
from data_modules.batch import Batch
from ecgcmr.errors import UserError
from ecgcmr.shards import ShardIndex, write_index, write_shard
from ecgcmr.shards.layout import LEAD_FLAGS, LEADS
from ecgcmr.shards.shard import LeadQuality


class Keeper(Witness):
    """Keeps whole batches."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, list[Batch]] = {}

    def note(self, stage: str, batch: Batch) -> None:
        self.kept.setdefault(stage, []).append(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.note("predict", batch)
        return batch["row"]

    def joined(self, stage: str, name: str) -> torch.Tensor:
        return torch.cat([batch[name] for batch in self.kept[stage]])  # type: ignore[literal-required]


SAMPLES = 25


def kept(root: Path, **options: Any) -> Keeper:
    """Fit, test and predict."""
    module = Keeper()
    data = LabelledDataModule(root, ["lv_edv"], batch_size=4, samples=SAMPLES, predict_split="val", **options)
    run = trainer(max_epochs=1)
    run.fit(module, datamodule=data)
    run.test(module, datamodule=data, verbose=False)
    run.predict(module, datamodule=data)
    assert data.input_spec["ecg"]["samples"] == SAMPLES
    return module


@pytest.mark.parametrize(("stored", "samples"), [(5000, 1250), (5000, 2500), (40, 25), (40, 1), (41, 40), (7, 7)])
def test_windows_reach_from_the_first_to_the_last_sample(stored: int, samples: int) -> None:
    assert window_starts(stored, samples, 1) == [0]
    for windows in range(2, min(stored - samples + 1, 9) + 1):
        starts = window_starts(stored, samples, windows)
        assert len(set(starts)) == windows
        assert (starts[0], starts[-1]) == (0, stored - samples)
        assert np.ptp(np.diff(starts)) <= 1


def test_known_starts_and_cuts() -> None:
    assert window_starts(5000, 1250, 4) == [0, 1250, 2500, 3750]
    assert window_starts(40, 25, 4) == [0, 5, 10, 15]
    ecg = torch.arange(2 * 3 * 40).view(2, 3, 40)
    cut = cut_windows(ecg, 25, 4)
    assert cut.shape == (2, 4, 3, 25)
    for window, start in enumerate((0, 5, 10, 15)):
        assert torch.equal(cut[:, window], ecg[:, :, start : start + 25])


@pytest.mark.parametrize(("stored", "windows", "places"), [(40, 2, 1), (39, 1, 0), (42, 4, 3)])
def test_windows_need_places(stored: int, windows: int, places: int) -> None:
    with pytest.raises(UserError, match=f"^evaluation_windows {windows}: 40 of {stored} .* in {places} places only"):
        window_starts(stored, 40, windows)
    with pytest.raises(UserError, match="^windows 0: must be at least 1$"):
        window_starts(stored, 40, 0, option="windows")


def test_evaluation_batches_hold_windows_and_training_batches_do_not(cohort: ShardIndex) -> None:
    one, four = kept(cohort.root), kept(cohort.root, evaluation_windows=4)
    for stage in ("val", "test", "predict"):
        ecg, row = four.joined(stage, "ecg"), four.joined(stage, "row")
        assert ecg.shape == (len(row), 4, 12, 25)
        assert ecg.dtype == torch.float32
        assert (ecg[:, :, 0] == row[:, None, None]).all()
        for window, start in enumerate((0, 5, 10, 15)):  # lead II is the sample number
            assert (ecg[:, window, 1] == torch.arange(start, start + 25)).all()
        assert torch.equal(ecg[:, 0], one.joined(stage, "ecg"))
        for name in ("row", "valid", "labels"):
            torch.testing.assert_close(four.joined(stage, name), one.joined(stage, name), equal_nan=True)
    for name in ("ecg", "row"):
        assert torch.equal(four.joined("train", name), one.joined("train", name))
    assert one.joined("train", "ecg").shape[1:] == (12, 25)


def test_windows_of_chosen_and_marked_leads(tmp_path: Path) -> None:
    layout = tiny_layout()
    assert layout.ecg is not None
    layout = replace(layout, ecg=replace(layout.ecg, quality=True))
    rows = tiny_rows(0, ["train"] * 6 + ["val", "test"] * 4)
    assert rows.ecg is not None
    rows.ecg[:, LEADS.index("V1")] = -1.0
    flags = np.zeros((14, 12), dtype=np.uint8)
    flags[::2, LEADS.index("V1")] = 1 << LEAD_FLAGS.index("missing")
    rows.quality = LeadQuality(flags, np.ones((14, 12), dtype=np.float32))
    write_index(tmp_path, layout, [write_shard(tmp_path / "shards" / "shard-00000.h5", layout, rows)])
    module = kept(tmp_path, leads=["V1", "I"], leave_out_leads=["missing"], evaluation_windows=3)
    ecg, row, mask = (module.joined("val", name) for name in ("ecg", "row", "lead_mask"))
    assert ecg.shape == (len(row), 3, 2, 25)
    assert (ecg[:, :, 0] == -1).all()
    assert (ecg[:, :, 1] == row[:, None, None]).all()
    assert mask.tolist() == [[position % 2 == 1, True] for position in row.tolist()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluation_windows": 0}, "^evaluation_windows 0: must be at least 1$"),
        ({"evaluation_windows": 2, "input": "cmr"}, "^evaluation_windows: belongs to input ecg"),
        ({"evaluation_windows": 2, "samples": 40}, "^evaluation_windows 2: 40 of 40 stored samples can start in 1 pl"),
        ({"evaluation_windows": 2, "samples": 41}, "^samples 41: .* only 40"),
    ],
)
def test_mistakes_are_told(cohort: ShardIndex, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        LabelledDataModule(cohort.root, ["lv_edv"], **{"samples": 20, **options}).setup("fit")
    assert "\n" not in str(error.value)


def test_one_window_asks_nothing(cohort: ShardIndex) -> None:
    for modality in ("ecg", "cmr"):
        data = LabelledDataModule(cohort.root, ["lv_edv"], samples=40, evaluation_windows=1, input=modality)
        data.setup("fit")
        assert len(data.rows("train")) > 0
