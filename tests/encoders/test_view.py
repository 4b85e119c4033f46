"""The one way into an encoder: recordings with the leads that are there, of images none."""

from __future__ import annotations

import pytest
import torch

from ecgcmr.encoders import ECGCNN, CMRFrameResNet, ECGVisionTransformer, FrameEncoder, View, require_encoder
from ecgcmr.errors import UserError

ENCODER = ECGVisionTransformer(samples=40, patch_size=(1, 20), width=16, depth=1, heads=2).eval()
ECG = torch.randn(3, 12, 40, generator=torch.Generator().manual_seed(0))
MASK = torch.ones(3, 12, dtype=torch.bool)
MASK[:, 4:] = False


def test_a_view_calls_an_encoder_as_it_is_and_with_its_mask() -> None:
    whole, part = View(ECG), View.from_batch({"ecg": ECG, "lead_mask": MASK}, "ecg")
    assert torch.equal(whole.features(ENCODER), ENCODER(ECG))
    assert torch.equal(part.features(ENCODER), ENCODER(ECG, MASK))
    assert torch.equal(part.tokens(ENCODER), ENCODER.forward_tokens(ECG, MASK))
    assert torch.equal(part.local_features(ENCODER), ENCODER.local_features(ECG, MASK))
    keep = torch.arange(6).expand(3, -1)
    assert torch.equal(part.visible(ENCODER, keep), ENCODER.forward_visible(ECG, keep, MASK))
    assert torch.equal(whole.visible(ENCODER, keep), ENCODER.forward_visible(ECG, keep))
    assert whole.token_mask(ENCODER) is None
    assert torch.equal(part.token_mask(ENCODER), ENCODER.token_mask(MASK))  # type: ignore[arg-type]
    assert torch.equal(part.rows(slice(1)).features(ENCODER), ENCODER(ECG[:1], MASK[:1]))


def test_a_mask_of_leads_says_nothing_of_images() -> None:
    images = torch.rand(3, 4, 32, 32)
    assert View.from_batch({"cmr": images, "lead_mask": MASK}, "cmr").lead_mask is None
    assert View.from_batch({"ecg": ECG}, "ecg").lead_mask is None


def test_an_encoder_that_cannot_leave_leads_out_is_not_given_a_mask() -> None:
    encoder = ECGCNN(samples=40)
    assert View(ECG).features(encoder).shape == (3, encoder.feature_dim)
    with pytest.raises(
        UserError, match="ECGCNN is not an encoder for recordings with missing leads: it lacks token_ma"
    ):
        View(ECG, MASK).features(encoder)


def test_frames_are_a_capability_of_their_own() -> None:
    small = CMRFrameResNet("custom", 2, 32, 32, block="basic", layers=[1] * 4, widths=[4] * 4)
    assert require_encoder(small, FrameEncoder) is small
    with pytest.raises(UserError, match="a feature for each cine frame.*: it lacks frame_features"):
        require_encoder(small.network, FrameEncoder)
