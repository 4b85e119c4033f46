"""An encoder of somebody else's class: what it gives is looked at before it is trained, and its weights are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ecgcmr.encoders import ECGCNN, ECGInput, export_encoder
from ecgcmr.encoders.own_class import check_own_class
from ecgcmr.errors import UserError


class Small(nn.Module):
    """As docs/encoders.md shows it, smaller."""

    def __init__(self, width: int = 8, says: int = 8, top: int = 1) -> None:
        super().__init__()
        self.input_spec = ECGInput(leads=12, sampling_rate=500.0, samples=100)
        self.feature_dim = says
        self.num_layers = top
        self.stem = nn.Conv1d(12, width, kernel_size=10, stride=10)
        self.norm = nn.BatchNorm1d(width)

    def forward_tokens(self, x: Tensor) -> Tensor:
        return self.norm(self.stem(x)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_tokens(x).mean(dim=1) + torch.rand(1)

    def no_weight_decay(self) -> set[str]:
        return set()

    def layer_of(self, name: str) -> int:
        return 0 if name.startswith("stem.") else 1


class PerToken(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.forward_tokens(x)


class Mistaken(Small):
    def forward_tokens(self, x: Tensor) -> Tensor:
        return {"tokens": x}["no"]


class Tied(Small):
    def __init__(self) -> None:
        super().__init__()
        self.twin = self.stem


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        (Small(says=6), r"Small.forward gives \(2, 8\) for 2 recordings, not \(B, feature_dim 6\)"),
        (PerToken(), r"PerToken.forward gives \(2, 10, 8\)"),
        (Mistaken(), r"Mistaken fails on 2 recordings of its input_spec \(KeyError: 'no'\)"),
        (Small(top=0), r"Small.layer_of\('norm.weight'\) is 1; give a whole number from 0 to num_layers \(0\)"),
    ],
)
def test_what_an_own_encoder_gives_is_looked_at(encoder: nn.Module, words: str) -> None:
    with pytest.raises(UserError, match=f"^model.encoder: {words}"):
        check_own_class(encoder, "model.encoder")


def test_looking_leaves_the_encoder_and_the_random_numbers_as_they_were() -> None:
    encoder = Small()
    encoder.norm.eval()
    before, state = {name: value.clone() for name, value in encoder.state_dict().items()}, torch.get_rng_state()
    check_own_class(encoder, "model.encoder")
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert encoder.training
    assert not encoder.norm.training


def test_an_encoder_of_this_package_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = ECGCNN(samples=100)
    monkeypatch.setattr(encoder, "forward", None)
    check_own_class(encoder, "model.encoder")


def test_a_weight_that_is_used_twice_is_exported(tmp_path: Path) -> None:
    """It was a traceback of the file format, after the whole fit."""
    encoder = Tied()
    export_encoder(encoder, tmp_path, class_path="mine.Tied", init_args={})
    kept = load_file(tmp_path / "encoder.safetensors")
    assert set(kept) == set(encoder.state_dict())
    assert torch.equal(kept["twin.weight"], encoder.stem.weight.detach())
