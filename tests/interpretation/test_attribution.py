from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from beating_cohort import HeightOfV2, context_of, readout_on, write_beating_cohort
from PIL import Image
from tiny_configs import ENCODER
from tiny_model import write_tiny_model

from ecgcmr.encoders import ECGVisionTransformer
from ecgcmr.encoders.readout import AttentionReadout
from ecgcmr.errors import UserError
from ecgcmr.interpretation.attributed import attribute
from ecgcmr.interpretation.attribution import attribution, sign_agreement
from ecgcmr.interpretation.attribution_blocks import AttributionOptions
from ecgcmr.interpretation.explained_targets import load_readout
from ecgcmr.interpretation.pair import AlignedPair
from ecgcmr.interpretation.questions import questions
from ecgcmr.interpretation.recording_features import RecordingFeatures
from ecgcmr.leads import LEADS

pytestmark = pytest.mark.slow

QUICK = AttributionOptions(occluded=4, cascade=2, resamples=100)


def _vit(**arguments) -> ECGVisionTransformer:
    torch.manual_seed(0)
    return ECGVisionTransformer(**{**ENCODER["init_args"], "depth": 1, **arguments}).eval()


@pytest.fixture
def written(tmp_path: Path):
    return write_beating_cohort(tmp_path / "cohort")


def test_an_encoder_that_reads_one_leads_qrs_has_its_mass_there(written, tmp_path: Path):
    index, waves = written
    attribution(context_of(index, readout_on(HeightOfV2()), waves), tmp_path / "out", QUICK)
    content = json.loads((tmp_path / "out" / "attribution.json").read_text())
    (target,) = content["targets"]
    for method in ("integrated gradients", "occlusion"):
        rows = {(row["lead"], row["region"]): row for row in target["rows"]
                if row["method"] == method and row["control"] is None}  # fmt: skip
        assert rows["V2", "QRS"]["share_of_mass"] >= 0.95
        assert rows["V2", "QRS"]["ci_low"] > 20
        assert rows["V3", "QRS"]["share_of_mass"] == pytest.approx(0, abs=1e-5)
        assert sum(row["share_of_area"] for (lead, region), row in rows.items() if "all" not in (lead, region)) == (
            pytest.approx(1, abs=1e-4)
        )
    assert target["occlusion"]["sign_agreement"]["value"] >= 0.99
    assert target["completeness"]["share_complete"] == 1.0
    assert target["completeness"]["largest_relative_error"] <= 0.01
    assert target["subjects"] == 3
    assert target["recordings"] == 6
    assert content["waves"] == "stored"
    assert content["attention"] is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "attribution.json", "attribution_lv_mass_beat.png", "attribution_lv_mass_paper.png",
        "attribution_lv_mass_paper_narrow.png", "attribution_lv_mass_segments.png",
    ]  # fmt: skip
    assert "0000000" not in (tmp_path / "out" / "attribution.json").read_text()  # no subject


def test_contributions_of_all_parts_add_up_to_the_difference_through_the_mean_over_windows(written):
    index, waves = written
    context = context_of(index, readout_on(_vit(), windows=3), waves)
    found = attribute(context, questions(context)[0], QUICK)
    np.testing.assert_allclose(found.sums.signed.sum(axis=(1, 2)), found.output - found.baseline, rtol=0.01, atol=2e-3)
    assert found.complete.all()
    assert found.sums.area[0].sum() == 12 * 3000  # three windows of 1,000 of 3,000 samples
    whole = torch.from_numpy(found.example.signal[None])
    assert float(context.readout(whole)[0, 0]) == pytest.approx(found.example.output, rel=1e-5)


def test_a_constant_output_has_no_mass_and_nothing_is_nan(written, tmp_path: Path):
    index, waves = written
    readout = readout_on(_vit())
    context = context_of(index, replace(readout, weight=torch.zeros_like(readout.weight)), waves)
    attribution(context, tmp_path / "out", replace(QUICK, figures=False))
    text = (tmp_path / "out" / "attribution.json").read_text()
    assert "NaN" not in text
    (target,) = json.loads(text)["targets"]
    assert target["completeness"] == {
        "tolerance": 0.01, "share_complete": 1.0, "largest_relative_error": None, "without_difference": 6,
        "median_steps": 16.0, "most_steps": 16,
    }  # fmt: skip
    gradients = [row for row in target["rows"] if row["method"] == "integrated gradients"]
    assert {row["share_of_mass"] for row in gradients} == {None}
    assert {row["contribution"] for row in gradients} == {0.0}
    assert {row["n"] for row in gradients} == {0}


def test_blocks_and_batches_change_nothing(written):
    index, waves = written
    context = context_of(index, readout_on(_vit(), windows=2), waves)
    one = attribute(context, questions(context)[0], replace(QUICK, batch=8))
    other = replace(context, block=6)
    two = attribute(other, questions(other)[0], replace(QUICK, batch=128))
    np.testing.assert_allclose(one.sums.mass, two.sums.mass, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(one.control.mass, two.control.mass, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(one.effects, two.effects[: len(one.effects)], rtol=1e-3, atol=1e-3)


@pytest.mark.long
def test_attention_is_shown_where_there_is_some(written, tmp_path: Path):
    index, waves = written
    attribution(context_of(index, readout_on(_vit(patch_size=(1, 50))), waves), tmp_path / "out", QUICK)
    attention = json.loads((tmp_path / "out" / "attribution.json").read_text())["attention"]
    assert attention["leads_resolved"] is True
    assert attention["patch_seconds"] == 0.1
    parts = [row["share_of_mass"] for row in attention["rows"] if row["lead"] == "all"]
    assert sum(parts) == pytest.approx(1, abs=1e-4)
    with Image.open(tmp_path / "out" / "attention_heads.png") as image:
        assert min(image.size) > 500


def test_a_baseline_of_mean_beats_asks_what_differs_from_the_usual_heart(written):
    index, waves = written
    context = context_of(index, readout_on(_vit()), waves)
    options = replace(QUICK, baseline="mean_beat")
    found = attribute(context, questions(context)[0], options)
    assert found.complete.all()
    assert len(np.unique(found.baseline.round(4))) > 1  # in the rhythm of each recording
    assert found.beatless == 0


def test_similarity_with_the_own_image_is_attributed_where_there_are_no_targets(written):
    index, waves = written
    ecg, cmr = _vit(), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 16))
    torch.manual_seed(2)
    pair = AlignedPair(ecg, _WithImages(cmr), torch.nn.Linear(32, 8), torch.nn.Linear(16, 8))
    for network in (ecg, cmr, pair.ecg_projection, pair.cmr_projection):
        network.requires_grad_(False)
    context = replace(context_of(index, readout_on(ecg), waves), readout=None, pair=pair)
    (question,) = questions(context)
    found = attribute(context, question, QUICK)
    assert question.name == "image_similarity"
    assert found.complete.all()
    own = (pair.ecg_embedding(context.ecg(context.rows)) * pair.cmr_embedding(context.cmr(context.rows))).sum(dim=1)
    np.testing.assert_allclose(found.output, own.numpy(), atol=1e-5)
    with pytest.raises(UserError, match="image_similarity"):
        questions(context, ["lv_mass"])


class _WithImages(torch.nn.Module):
    """Images in, features out."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        from ecgcmr.encoders import CMRInput

        self.network, self.input_spec = network, CMRInput(3, 8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)


def test_leads_that_are_left_out_get_nothing_and_count_as_no_area(tmp_path: Path):
    flags = np.zeros((6, 12), dtype=np.uint8)
    flags[:3, LEADS.index("V6")] = 1  # missing
    index, waves = write_beating_cohort(tmp_path / "cohort", flags=flags)
    context = context_of(index, readout_on(_vit(patch_size=(1, 50)), leave_out=("missing",)), waves)
    found = attribute(context, questions(context)[0], QUICK)
    assert found.complete.all()
    assert not found.sums.mass[:3, LEADS.index("V6")].any()
    assert not found.sums.area[:3, LEADS.index("V6")].any()
    assert found.sums.mass[3:, LEADS.index("V6")].sum(axis=1).all()


def test_a_frozen_readout_passes_gradients_to_the_recording():
    readout = readout_on(_vit())
    pooled = AttentionReadout(32, 2).eval().requires_grad_(False)
    x = torch.rand(2, 12, 1000, requires_grad=True)
    RecordingFeatures(readout.features.encoder, pooled)(x).sum().backward()
    assert x.grad.abs().sum() > 0


def test_a_model_folder_is_read_with_its_targets_and_windows(tmp_path: Path):
    write_tiny_model(tmp_path / "model")
    readout = load_readout(tmp_path / "model")
    assert readout.names == ("lv_edv", "af_ever", "cad_incident")
    assert readout.units == ("mL", "log odds", "log risk")
    assert readout.features.windows == 4
    assert readout.features.seen(5000).shape == (12, 5000)
    with pytest.raises(UserError, match="lv_edv"):
        readout.place_of("nothing")


def test_options_out_of_range_are_refused():
    with pytest.raises(UserError, match="baseline"):
        AttributionOptions(baseline="noise")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="batch"):
        AttributionOptions(batch=0)


def test_signs_agree_by_the_size_of_the_effect():
    effects = np.array([[[3.0, -1.0, np.nan]], [[0.0, 0.0, 0.0]]])
    gained = np.array([[[1.0, 1.0, 5.0]], [[1.0, 1.0, 1.0]]])
    found = sign_agreement(gained, effects)
    assert found[0] == 0.75
    assert np.isnan(found[1])
