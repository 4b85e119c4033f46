"""The encoder of measurements: a missing number has no influence, and the scale of the training rows travels along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ecgcmr.encoders import (
    ECGCNN,
    MeasurementEncoder,
    MeasurementInput,
    StandardisingEncoder,
    export_encoder,
    load_encoder,
    require_encoder,
)
from ecgcmr.encoders.own_class import check_own_class
from ecgcmr.errors import UserError

NAMES = ["lvef", "ivs", "age", "sex"]
KINDS = ["tokens", "mlp"]
NAN = float("nan")


def build(kind: str, names: list[str] = NAMES, seed: int = 0) -> MeasurementEncoder:
    torch.manual_seed(seed)
    return MeasurementEncoder(names, kind, width=16, depth=2, heads=2).eval()  # type: ignore[arg-type]


def measured(rows: int = 6) -> Tensor:
    x = torch.randn(rows, len(NAMES), generator=torch.Generator().manual_seed(3))
    x[1, 0] = x[2, 1] = x[2, 3] = NAN
    x[3] = NAN
    return x


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_the_place_of_a_missing_number_has_no_influence(kind: str) -> None:
    encoder, x = build(kind), measured()
    other = x.clone()
    other[1, 0], other[2, 1], other[2, 3] = float("inf"), float("-inf"), float("inf")
    assert torch.equal(encoder(x), encoder(other))
    assert torch.isfinite(encoder(x)).all()
    encoder(x).square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_number_is_not_the_mean_of_the_others(kind: str) -> None:
    encoder, x = build(kind), measured()
    filled = x.nan_to_num(0.0)  # the mean of the training rows, by default 0
    difference = (encoder(x) - encoder(filled)).abs().amax(dim=1)
    assert (difference[[1, 2, 3]] > 1e-4).all()
    assert torch.equal(difference[[0, 4, 5]], torch.zeros(3))


def test_tokens_of_missing_numbers_are_attended_to_by_nobody() -> None:
    encoder, x = build("tokens"), measured()
    few = build("tokens", ["ivs", "age", "sex"])
    with torch.no_grad():
        few.load_state_dict(
            {
                name: value[1:] if name in ("mean", "deviation", "network.weight", "network.bias") else value
                for name, value in encoder.state_dict().items()
            }
        )
    torch.testing.assert_close(encoder(x)[1], few(x[:, 1:])[1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_of_the_training_rows_travels_with_the_weights(kind: str, tmp_path: Path) -> None:
    encoder, x = build(kind), measured()
    mean, deviation = torch.tensor([50.0, 1.1, 60.0, 0.5]), torch.tensor([10.0, 0.2, 15.0, 0.5])
    expected = encoder(x)
    encoder.standardise_by(mean, deviation)
    in_units = x * deviation + mean
    torch.testing.assert_close(encoder(in_units), expected, rtol=1e-4, atol=1e-4)
    arguments: dict[str, Any] = {"names": NAMES, "kind": kind, "width": 16, "depth": 2, "heads": 2}
    export_encoder(encoder, tmp_path, class_path="ecgcmr.encoders.MeasurementEncoder", init_args=arguments)
    loaded: Any = load_encoder(tmp_path)
    assert torch.equal(loaded.eval()(in_units), encoder(in_units))
    assert torch.equal(loaded.deviation, deviation)
    assert require_encoder(loaded, StandardisingEncoder).input_spec.names == tuple(NAMES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"names": []}, "names: is empty"),
        ({"names": ["age", "age"]}, r"names \[age, age\]: name each measurement once"),
        ({"names": ["age"], "kind": "forest"}, "kind 'forest': choose one of tokens, mlp"),
        ({"names": ["age"], "width": 10, "heads": 4}, "heads 4: must divide the width 10"),
        ({"names": ["age"], "depth": 0}, "depth 0: must be at least 1"),
        ({"names": ["age"], "drop_path": 1.0}, "drop_path 1.0"),
    ],
)
def test_what_it_cannot_be_made_of_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        MeasurementEncoder(**arguments)


def test_a_network_without_its_member_is_no_encoder_of_measurements() -> None:
    with pytest.raises(UserError, match="ECGCNN is not an encoder of measurements.*lacks standardise_by"):
        require_encoder(ECGCNN(samples=200, widths=[4]), StandardisingEncoder)


class OwnMeasured(nn.Module):
    """As a user would write one: a linear layer over standardised numbers and which are known."""

    def __init__(self, names: list[str], width: int = 4, says: int = 4) -> None:
        super().__init__()
        self.input_spec = MeasurementInput(tuple(names))
        self.feature_dim, self.num_layers = says, 1
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("deviation", torch.ones(len(names)))
        self.linear = nn.Linear(2 * len(names), width)

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward_tokens(self, x: Tensor) -> Tensor:
        known = torch.isfinite(x)
        values = torch.where(known, (x - self.mean) / self.deviation, 0.0)
        return self.linear(torch.cat([values, known.float()], dim=1))[:, None]

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_tokens(x)[:, 0]

    def no_weight_decay(self) -> set[str]:
        return set()

    def layer_of(self, name: str) -> int:
        return 0


def test_one_of_somebody_elses_class_is_tried_on_measurements() -> None:
    assert require_encoder(OwnMeasured(NAMES), StandardisingEncoder).feature_dim == 4
    check_own_class(OwnMeasured(NAMES), "model.measurement_encoder")
    with pytest.raises(
        UserError, match=r"OwnMeasured.forward gives \(2, 4\) for 2 recordings, not \(B, feature_dim 5\)"
    ):
        check_own_class(OwnMeasured(NAMES, says=5), "model.measurement_encoder")
