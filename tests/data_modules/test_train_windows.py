"""Several windows of a recording in training: whose draws they are, what a batch holds, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_evaluation_windows import SAMPLES, Keeper, kept
from tiny_cohort import tiny_layout, tiny_rows
from torch import Tensor
from witness import trainer

from data_modules import LabelledDataModule
from data_modules.sampling import crop_starts
from ecgcmr.errors import UserError
from ecgcmr.row_random import uniform
from ecgcmr.shards import ShardIndex, write_index, write_shard
from ecgcmr.shards.layout import LEAD_FLAGS, LEADS
from ecgcmr.shards.shard import LeadQuality
from ecgcmr.windows import cut_windows_at


def noise(x: Tensor, generator: torch.Generator) -> Tensor:
    return x + uniform(generator, x, *x.shape[1:])


def starts(module: Keeper) -> dict[int, list[int]]:
    """Return where each row's windows started; lead II is the sample number."""
    ecg, row = module.joined("train", "ecg"), module.joined("train", "row")
    return dict(zip(row.tolist(), ecg[:, :, 1, 0].long().tolist(), strict=True))


def test_windows_are_cut_where_they_start() -> None:
    ecg = torch.arange(2 * 3 * 40).view(2, 3, 40)
    cut = cut_windows_at(ecg, 25, torch.tensor([[0, 15, 7, 7], [3, 2, 1, 0]]))
    assert cut.shape == (2, 4, 3, 25)
    assert torch.equal(cut[0, 1], ecg[0, :, 15:40])
    assert torch.equal(cut[1, 0], ecg[1, :, 3:28])


def test_each_window_has_a_start_and_an_augmentation_of_its_own(cohort: ShardIndex) -> None:
    one, three = (kept(cohort.root, augmentation=noise, train_windows=windows) for windows in (1, 3))
    ecg = three.joined("train", "ecg")
    assert ecg.shape == (len(three.joined("train", "row")), 3, 12, SAMPLES)
    assert ecg.dtype == torch.float32
    # The first is the crop that a single window would be, augmented alike; evaluation is as it was.
    assert torch.equal(ecg[:, 0], one.joined("train", "ecg"))
    assert torch.equal(three.joined("val", "ecg"), one.joined("val", "ecg"))
    plain = kept(cohort.root, train_windows=3)
    for row, found in starts(plain).items():
        assert found == [int(crop_starts(len(cohort), 15, 0, 0, window)[row]) for window in range(3)]
    drawn = ecg - plain.joined("train", "ecg")
    assert not any(torch.allclose(drawn[:, first], drawn[:, second]) for first, second in ((0, 1), (0, 2), (1, 2)))


def test_starts_of_windows_are_independent_and_uniform() -> None:
    drawn = np.stack([crop_starts(4000, 7, 1, 2, window) for window in range(3)])
    assert np.array_equal(drawn[0], crop_starts(4000, 7, 1, 2))
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.06
    for window in drawn:
        assert np.bincount(window, minlength=8).min() > 400


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"num_workers": 1}, {"shuffle": "none"}, {"batch_size": 9}])
def test_windows_belong_to_the_row_whatever_reads_it(cohort: ShardIndex, options: dict[str, Any]) -> None:
    whole = starts(kept(cohort.root, train_windows=3))
    module = Keeper()
    data = LabelledDataModule(
        cohort.root, ["lv_edv"], **{"batch_size": 4, "samples": SAMPLES, "train_windows": 3} | options
    )
    trainer(max_epochs=1).fit(module, datamodule=data)
    found = starts(module)
    assert found.keys() & whole.keys()
    assert all(found[row] == whole[row] for row in found.keys() & whole.keys())


def test_windows_belong_to_the_row_on_every_rank(cohort: ShardIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(rank: int, world: int) -> dict[int, Tensor]:
        data = LabelledDataModule(
            cohort.root, ["lv_edv"], 8 // world, samples=SAMPLES, train_windows=3, augmentation=noise
        )
        monkeypatch.setattr(data, "_place", lambda: (rank, world))
        data.setup("fit")
        found: dict[int, Tensor] = {}
        for loaded in data.train_dataloader():
            batch = data.on_after_batch_transfer(data.on_before_batch_transfer(loaded, 0), 0)
            found |= dict(zip(batch["row"].tolist(), batch["ecg"], strict=True))
        return found

    alone, ranks = read(0, 1), read(0, 2) | read(1, 2)
    assert alone.keys() == ranks.keys()
    assert all(torch.equal(alone[row], ranks[row]) for row in alone)


def test_windows_share_the_leads_that_their_recording_lacks(tmp_path: Path) -> None:
    layout = tiny_layout()
    assert layout.ecg is not None
    layout = replace(layout, ecg=replace(layout.ecg, quality=True))
    rows = tiny_rows(0, ["train"] * 8 + ["val"] * 4)
    flags = np.zeros((12, 12), dtype=np.uint8)
    flags[1::2, LEADS.index("V1")] = 1 << LEAD_FLAGS.index("noisy")
    rows.quality = LeadQuality(flags, np.ones((12, 12), dtype=np.float32))
    root = tmp_path / "cohort"
    write_index(root, layout, [write_shard(root / "shards" / "shard-00000.h5", layout, rows)])
    module = Keeper()
    options: dict[str, Any] = {"leads": ["II", "V1"], "leave_out_leads": ["noisy"], "train_windows": 2}
    trainer(max_epochs=1).fit(module, datamodule=LabelledDataModule(root, ["lv_edv"], 2, samples=9, **options))
    assert module.joined("train", "ecg").shape[1:] == (2, 2, 9)
    mask, row = module.joined("train", "lead_mask"), module.joined("train", "row")
    assert mask.shape == (len(row), 2)
    assert torch.equal(mask[:, 1], row % 2 == 0)
    assert mask[:, 0].all()


def test_windows_of_training_that_cannot_be(cohort: ShardIndex) -> None:
    with pytest.raises(UserError, match="^train_windows 0: must be at least 1$"):
        LabelledDataModule(cohort.root, ["lv_edv"], train_windows=0)
    with pytest.raises(UserError, match="^train_windows: belongs to input ecg; remove it$"):
        LabelledDataModule(cohort.root, ["lv_edv"], input="cmr", train_windows=2)
    data = LabelledDataModule(cohort.root, ["lv_edv"], samples=39, train_windows=3)
    with pytest.raises(UserError, match="^train_windows 3: 39 of 40 stored samples can start in 2 places only"):
        data.setup("fit")
