"""Features of each layer: of every published encoder and of our own, equal to what its modules give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ecgcmr.encoders import ECGCNN, ECGS4, ECGResNet, ECGVisionTransformer
from ecgcmr.encoders.layer_features import layer_features
from ecgcmr.encoders.published import PublishedECG, published_encoders
from ecgcmr.errors import UserError

OWN = (
    ECGCNN(samples=1000, widths=(8, 8)),
    ECGResNet(samples=1000),
    ECGS4(samples=1000, width=16, depth=2),
    ECGVisionTransformer(samples=1000, patch_size=(12, 50), width=32, depth=1, heads=2),
)
FURTHER = {"ecg-fm", "ecg-jepa", "st-mem", "st-mem-small"}
"""Whose tokens went through a norm after the last layer, or leave tokens of it out."""
PROJECTED = "merl-resnet18-zero-shot"
"""Whose tokens are a projection of the last layer, of another width."""


@pytest.mark.parametrize("encoder", OWN, ids=lambda encoder: type(encoder).__name__)
def test_own_encoders_give_a_feature_for_each_layer(encoder: Any) -> None:
    x = torch.randn(3, 12, 1000)
    with torch.inference_mode():
        found = layer_features(encoder.eval(), x)
    assert len(found) == encoder.num_layers - 1
    assert all(len(layer) == 3 and layer.isfinite().all() for layer in found)


@pytest.mark.parametrize("name", published_encoders())
def test_the_last_layer_of_a_published_encoder_is_the_mean_of_its_tokens(name: str) -> None:
    encoder = PublishedECG(name, sizes=dict(published_encoders()[name].small)).eval()
    x = torch.randn(2, 12, encoder.input_spec.samples)
    with torch.inference_mode():
        *_, last = found = layer_features(encoder, x)
        tokens = encoder.forward_tokens(x)
    assert len(found) == encoder.num_layers - 1
    assert last.shape == (2, last.shape[1] if name == PROJECTED else tokens.shape[2])
    if name not in FURTHER | {PROJECTED}:
        torch.testing.assert_close(last, tokens.mean(dim=1), rtol=1e-4, atol=1e-5)


def test_pieces_of_a_recording_are_averaged() -> None:
    sizes = dict(published_encoders()["hubert-ecg-small"].small)
    torch.manual_seed(0)
    two = PublishedECG("hubert-ecg-small", samples=1000, pieces=2, sizes=sizes).eval()
    x = torch.randn(2, 12, 1000)
    with torch.inference_mode():
        both = layer_features(two, x)
        torch.testing.assert_close(both[-1], two.forward_tokens(x).mean(dim=1), rtol=1e-4, atol=1e-5)
        assert torch.equal(layer_features(two, x)[-1], both[-1])  # nothing of the first look is left behind


def test_an_encoder_that_does_not_say_where_its_channels_are_is_refused() -> None:
    class Silent(nn.Module):
        input_spec = OWN[0].input_spec
        feature_dim, num_layers = 4, 1

        def forward_tokens(self, x: Tensor) -> Tensor:
            return x.transpose(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=2)

        def no_weight_decay(self) -> set[str]:
            return set()

        def layer_of(self, name: str) -> int:
            return 0

    with pytest.raises(UserError, match="channel_axis"):
        layer_features(Silent(), torch.randn(1, 12, 8))
