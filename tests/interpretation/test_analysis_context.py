"""What an analysis is given: blocks of the networks' inputs, made as training makes them, and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_pair import SAMPLES, SIDE, PlantedTruth, planted_context, planted_pair

from ecgcmr.encoders import CMRInput, ECGInput
from ecgcmr.errors import UserError
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.shards import read_cmr, read_ecgs


@pytest.fixture
def context(tmp_path: Path) -> AnalysisContext:
    return planted_context(tmp_path / "cohort", planted_pair(), block=4)


def test_blocks_are_the_stored_recordings_in_order(context: AnalysisContext):
    rows, ecg = zip(*context.ecg_blocks(), strict=True)
    assert [len(part) for part in rows] == [4, 4, 2]
    assert np.array_equal(np.concatenate(rows), context.rows)
    assert torch.equal(torch.cat(ecg), torch.from_numpy(read_ecgs(context.index, context.rows)))
    cmr = torch.cat([x for _, x in context.cmr_blocks()])
    torch.testing.assert_close(cmr, torch.from_numpy(read_cmr(context.index, context.rows)).float() / 255)


def test_windows_lie_as_in_evaluation(context: AnalysisContext):
    context.ecg_encoder.input_spec = ECGInput(12, 500.0, 200)
    several = replace(context, windows=3)
    x = torch.cat([x for _, x in several.window_blocks()])
    whole = torch.from_numpy(read_ecgs(context.index, context.rows))
    assert x.shape == (10, 3, 12, 200)
    assert torch.equal(x[:, 1], whole[..., 150:350])
    assert torch.equal(torch.cat([x for _, x in several.ecg_blocks()]), whole[..., :200])


def test_frames_and_masks_come_in_the_networks_size(context: AnalysisContext):
    context.require_pair().cmr_encoder.input_spec = CMRInput(2, SIDE // 2, SIDE // 2)
    assert context.cmr(context.rows[:3]).shape == (3, 2, SIDE // 2, SIDE // 2)
    masks = context.masks(context.rows[:3])
    assert masks.dtype == np.uint8
    assert np.array_equal(masks, PlantedTruth().masks(context.rows[:3])[..., ::2, ::2])


def test_draws_belong_to_a_purpose(context: AnalysisContext):
    first, again, other = (context.generator(purpose).random(3) for purpose in ("a", "a", "b"))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("ecg", "cmr", "words"),
    [
        (ECGInput(3, 500.0, SAMPLES), None, "takes 3 leads and does not say which"),
        (ECGInput(12, 250.0, SAMPLES), None, "at 250 Hz"),
        (ECGInput(12, 500.0, SAMPLES + 1), None, "stores 500"),
        (None, CMRInput(3, SIDE, SIDE), "takes 3 frames of 64 x 64 pixels, the cohort has 2 of 64 x 64"),
        (None, CMRInput(2, SIDE, 32), "64 x 32"),
    ],
)
def test_a_cohort_of_other_inputs_is_refused(context: AnalysisContext, ecg, cmr, words: str):
    context.check()
    context.ecg_encoder.input_spec = ecg or context.ecg_input
    context.require_pair().cmr_encoder.input_spec = cmr or context.cmr_input
    with pytest.raises(UserError, match=words):
        context.check()


def test_what_is_not_there_is_asked_for_in_one_line(context: AnalysisContext):
    with pytest.raises(UserError, match="neither masks nor waves"):
        replace(context, truth=None).masks(context.rows)
    with pytest.raises(UserError, match="run folder of an alignment"):
        replace(context, pair=None).require_pair()


def test_an_encoder_of_fewer_leads_is_given_its_own(context: AnalysisContext):
    whole = context.ecg(context.rows[:2])
    context.ecg_encoder.input_spec = ECGInput(3, 500.0, 200, lead_rows=(1, 6, 11))
    context.check()
    assert torch.equal(context.ecg(context.rows[:2]), whole[:, [1, 6, 11], :200])
    assert torch.equal(replace(context, windows=2).ecg_windows(context.rows[:2])[:, 0], whole[:, [1, 6, 11], :200])
