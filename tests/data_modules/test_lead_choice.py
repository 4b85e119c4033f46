"""Leads of a batch: a subset by name, leads with a mark left out, and the words for choices that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_cohort import tiny_layout, tiny_rows

from data_modules import ECGDataModule
from data_modules.base import ShardDataModule
from data_modules.batch import Batch
from ecgcmr.errors import UserError
from ecgcmr.shards import ShardIndex, write_index, write_shard
from ecgcmr.shards.layout import LEAD_FLAGS, LEADS
from ecgcmr.shards.shard import LeadQuality

MISSING, DERIVED, FLAT = (1 << LEAD_FLAGS.index(name) for name in ("missing", "derived", "flat"))


def _batches(data: ShardDataModule, split: str = "val") -> list[Batch]:
    """The batches as a model sees them."""
    data.setup("fit")
    loader = data.train_dataloader() if split == "train" else data.val_dataloader()
    return [data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0) for batch in loader]


@pytest.fixture
def marked(tmp_path: Path) -> ShardIndex:
    """Two shards of 10 rows; row r misses lead r % 12 and has lead V6 flat and III derived; row 3 misses all."""
    layout = tiny_layout()
    layout = replace(layout, ecg=replace(layout.ecg, quality=True))
    entries = []
    for shard in range(2):
        rows = tiny_rows(10 * shard, ["train"] * 6 + ["val"] * 4)
        flags = np.zeros((10, 12), dtype=np.uint8)
        flags[np.arange(10), (10 * shard + np.arange(10)) % 12] = MISSING
        flags[:, LEADS.index("V6")] |= FLAT
        flags[:, LEADS.index("III")] |= DERIVED
        if shard == 0:
            flags[3] = MISSING
        rows.quality = LeadQuality(flags, np.ones((10, 12), dtype=np.float32))
        entries.append(write_shard(tmp_path / "shards" / f"shard-{shard:05d}.h5", layout, rows))
    return write_index(tmp_path, layout, entries)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_subset_is_those_rows_of_the_same_batches(cohort: ShardIndex, split: str) -> None:
    names = ["V1", "I", "aVF"]
    options = {"batch_size": 4, "samples": 25}
    seen: list[tuple[int, ...]] = []

    def note(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seen.append(tuple(x.shape[:2]))
        return x

    whole = _batches(ECGDataModule(cohort.root, **options), split)
    some = _batches(ECGDataModule(cohort.root, **options, leads=names, augmentation=note), split)
    assert len(whole) == len(some) > 1
    for a, b in zip(whole, some, strict=True):
        assert torch.equal(a["ecg"][:, [LEADS.index(name) for name in names]], b["ecg"])
        assert torch.equal(a["row"], b["row"])
        assert "lead_mask" not in b
    tried, *used = seen  # once before the fit, on two recordings
    assert tried == (2, 3)
    assert {leads for _, leads in used} == ({3} if split == "train" else set())
    spec = ECGDataModule(cohort.root, **options, leads=names).input_spec["ecg"]
    assert spec == {"leads": 3, "lead_rows": (6, 0, 5), "sampling_rate": 500.0, "samples": 25}


def test_marked_leads_are_told_to_the_encoder(marked: ShardIndex) -> None:
    data = ECGDataModule(marked.root, batch_size=3, samples=25, leave_out_leads=["missing", "flat"])
    rows = []
    for batch in _batches(data) + _batches(data, "train"):
        assert batch["ecg"].shape[1:] == (12, 25)
        for row, mask in zip(batch["row"].tolist(), batch["lead_mask"], strict=True):
            assert (~mask).nonzero()[:, 0].tolist() == sorted({row % 12, 11})
            rows.append(row)
    assert 3 not in rows  # no lead is left
    assert 3 in marked.positions("train", ["ecg"])
    given = np.concatenate([data.rows("train"), data.rows("val")]).tolist()
    assert sorted([*given, 3]) == marked.positions(None, ["ecg"]).tolist()
    assert set(rows) <= set(given)


def test_a_subset_keeps_its_marks(marked: ShardIndex) -> None:
    options = {"batch_size": 3, "samples": 25, "leave_out_leads": ["missing"]}
    data = ECGDataModule(marked.root, **options, leads=["V6", "II"])
    masks = {r: m for b in _batches(data) for r, m in zip(b["row"].tolist(), b["lead_mask"].tolist(), strict=True)}
    assert masks
    assert all(mask == [row % 12 != 11, row % 12 != 1] for row, mask in masks.items())
    alone = ECGDataModule(marked.root, **options, leads=["II"])
    assert set(alone.rows("train").tolist()) == set(data.rows("train").tolist()) - {1}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: ECGDataModule(root, samples=20, leads=["I", "V7"]), r"^leads V7: this cohort has I, II, .*V6$"),
        (lambda root: ECGDataModule(root, leads=[]), "name at least one"),
        (lambda root: ECGDataModule(root, leads=["I", "I"]), "each once"),
        (lambda root: ECGDataModule(root, leave_out_leads=["bad"]), "leave_out_leads bad: choose of missing, derived"),
        (lambda root: ECGDataModule(root, samples=20, leave_out_leads=["flat"]), "no lead quality; .* --no-beats"),
    ],
)
def test_mistakes_are_told(cohort: ShardIndex, make: Callable[[Path], ShardDataModule], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(cohort.root).setup("fit")
