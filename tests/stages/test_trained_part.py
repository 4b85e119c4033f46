"""Fine-tuning a part of an encoder, over every encoder of the package: what is trained, what stays, what is left."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from encoder_cases import CASES, batch_for, build
from torch import Tensor, nn

from ecgcmr.encoders import export_encoder, load_encoder
from ecgcmr.encoders.kernels import Kernels, use_kernels
from ecgcmr.encoders.low_rank import LowRank, has_low_rank, merge_low_rank, plain_name, plain_state
from ecgcmr.errors import UserError
from ecgcmr.stages import PhenotypeRegression
from ecgcmr.stages.optimisation import layer_decayed_groups
from ecgcmr.stages.trained_part import TrainedPart

PARTS = ("all", "last:1", "low_rank:2", "norms")
# resnet18 is resnet-basic, only larger; a published encoder behind its input is one of them without it
ENCODERS = [case for case in CASES if case != "resnet18" and not case.startswith("prepared-")]
ENCODERS += ["prepared-ecg-cpc", "prepared-st-mem"]


def prepared(case: str, part: str) -> tuple[Any, TrainedPart]:
    """Return an encoder with its part chosen; norms are drawn, for residual branches begin behind weights of zero."""
    encoder, chosen = build(case), TrainedPart.from_text(part)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.rand(parameter.shape, generator=generator), alpha=0.5)
    chosen.choose(encoder)
    chosen.begin(encoder, seed=0)
    return encoder, chosen


def expected_names(case: str, part: str) -> set[str]:
    """Return which parameters are to change, by their ordinary names."""
    encoder = build(case)
    named = dict(encoder.named_parameters())
    if part == "all":
        return set(named)
    if part == "norms":
        return {name for name, parameter in named.items() if parameter.ndim == 1}
    if part == "last:1":
        return {name for name in named if encoder.layer_of(name) >= encoder.num_layers - 1}
    tables = ("cls_token", "pos_embed", "space.log_decay", "space.frequency", "space.readout")
    tables += ("pos_embedding", "positions.weight_g", "positions.weight_v", "space.C", "space.D", "mix.bias")
    tables += ("network.weight", "network.bias")  # of measurements, a row each
    return {name for name, parameter in named.items() if parameter.ndim > 1 and not name.endswith(tables)}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("case", ENCODERS)
def test_a_step_reaches_the_part_and_nothing_else(case: str, part: str) -> None:
    encoder, chosen = prepared(case, part)
    before = plain_state({name: value.clone() for name, value in encoder.state_dict().items()})
    parameters = set(dict(build(case).named_parameters()))
    groups = layer_decayed_groups(encoder, layer_decay=0.5, weight_decay=0.1)
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    chosen.set_modes(encoder, training=True)
    optimiser = torch.optim.AdamW(groups, lr=1e-2)
    x = batch_for(encoder, 4)
    for _ in range(2):  # the first moves ``up`` alone, for ``down`` has no gradient while it is zero
        torch.manual_seed(1)
        encoder(x).square().sum().backward()
        trained = {name: value for name, value in encoder.named_parameters() if value.requires_grad}
        assert all(value.grad is not None and value.grad.isfinite().all() for value in trained.values())
        assert all(value.grad is None for value in encoder.parameters() if not value.requires_grad)
        assert {id(value) for value in trained.values()} == grouped
        optimiser.step()
        optimiser.zero_grad()
    after = plain_state(encoder.state_dict())
    assert after.keys() == before.keys()
    wanted = expected_names(case, part)
    assert {name for name in parameters if not torch.equal(after[name], before[name])} == wanted
    if part != "all":
        names = ("running_mean", "running_var", "num_batches_tracked")
        frozen_norms = [name for name in before if name.endswith(names) and not part_of_norm(name, wanted)]
        assert all(torch.equal(after[name], before[name]) for name in frozen_norms)


def part_of_norm(statistic: str, wanted: set[str]) -> bool:
    return f"{statistic.rpartition('.')[0]}.weight" in wanted


@pytest.mark.parametrize("case", ENCODERS)
def test_merged_updates_compute_what_they_did(case: str, tmp_path: Any) -> None:
    encoder, _ = prepared(case, "low_rank:2")
    plain, _ = prepared(case, "all")
    x = batch_for(encoder, 2)
    with torch.no_grad():
        start = plain_state(encoder.state_dict())
        assert all(torch.equal(start[name], value) for name, value in plain.state_dict().items())
        torch.testing.assert_close(encoder(x), plain(x), rtol=1e-5, atol=1e-5)  # another order in memory may round
        for module in encoder.modules():
            if isinstance(module, LowRank):
                module.up.normal_(std=0.05)
        features, tokens = encoder(x), encoder.forward_tokens(x)
        assert not torch.allclose(features, plain(x), atol=1e-4)
        plain.load_state_dict(plain_state(encoder.state_dict()))
        torch.testing.assert_close(plain(x), features, rtol=1e-5, atol=1e-6)
        merge_low_rank(encoder)
        assert not has_low_rank(encoder)
        assert {name for name, _ in encoder.named_parameters()} == {name for name, _ in plain.named_parameters()}
        torch.testing.assert_close(encoder(x), features, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(encoder.forward_tokens(x), tokens, rtol=1e-5, atol=1e-6)
    class_path, init_args = CASES[case]
    export_encoder(encoder, tmp_path, class_path=class_path, init_args=init_args)
    with torch.no_grad():
        loaded = load_encoder(tmp_path, trusted=["small_encoder"]).eval()
        merged = encoder.state_dict()
        assert all(torch.equal(merged[name], value) for name, value in loaded.state_dict().items())
        torch.testing.assert_close(loaded(x), features, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_every_way_to_compute_reads_the_updated_weights() -> None:
    encoder, _ = prepared("vit-mean", "low_rank:2")
    for module in encoder.modules():
        if isinstance(module, LowRank):
            nn.init.normal_(module.up, std=0.05)
    x = batch_for(encoder, 64)  # 64 x 49 tokens run as a convolution
    with torch.no_grad():
        linear = encoder(x)
        use_kernels(encoder, Kernels(convolution=True, attention="written"))
        torch.testing.assert_close(encoder(x), linear, rtol=1e-4, atol=1e-5)
        use_kernels(encoder, Kernels())
        for block in encoder.blocks:
            block.compile(backend="eager")
        torch.testing.assert_close(encoder(x), linear, rtol=1e-5, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = encoder(x)
            merge_low_rank(encoder)
            assert torch.equal(encoder(x), mixed)  # no update is rounded that is merged


def test_updates_have_a_rank_that_fits_and_are_the_same_on_every_rank() -> None:
    encoder, again = (prepared("ecg-resnet-basic", "low_rank:64")[0] for _ in range(2))
    shapes = {}
    for name, layer in encoder.named_modules():
        if isinstance(layer, LowRank):
            rows, columns = layer.up.shape[0], layer.down.shape[1]
            assert layer.up.shape[1] == layer.down.shape[0] == min(64, rows, columns)
            shapes[name] = (rows, columns)
    assert len(shapes) == len(expected_names("ecg-resnet-basic", "low_rank:64"))
    for first, second in zip(encoder.parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second)


def test_interpolation_is_that_of_the_weights_computed_with() -> None:
    encoder, _ = prepared("ecg-cnn", "low_rank:2")
    start = plain_state({name: value.clone() for name, value in encoder.state_dict().items()})
    for module in encoder.modules():
        if isinstance(module, LowRank):
            nn.init.normal_(module.up)
    end = plain_state(encoder.state_dict())
    half: dict[str, Tensor] = {name: torch.lerp(start[name], value, 0.5) for name, value in end.items()}
    stage = PhenotypeRegression(encoder, trained="low_rank:2")
    stage.load_state_dict({f"encoder.{name}": value for name, value in half.items()})  # into weights with updates
    assert has_low_rank(encoder)
    now = plain_state(encoder.state_dict())
    assert all(torch.equal(now[name], half[name]) for name in half)
    assert plain_name("encoder.stages.0.0.parametrizations.weight.0.up") == "encoder.stages.0.0.weight"
    assert plain_name("encoder.stages.0.0.weight") == "encoder.stages.0.0.weight"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trained": "last"}, "model.trained is 'last'; choose all, last:K .*, low_rank:R .* or norms"),
        ({"trained": "lora:4"}, "model.trained is 'lora:4'; choose"),
        ({"trained": "all:1"}, "model.trained is 'all:1'; choose"),
        ({"trained": "low_rank:0"}, "model.trained is 'low_rank:0'; the number must be at least 1"),
        ({"trained": "last:-1"}, "model.trained is 'last:-1'; the number must be at least 1"),
        ({"trained": "last:3"}, "last:3, but ECGVisionTransformer has 2 blocks .*: take last:1 to last:2, or all"),
        ({"trained": "norms", "protocol": "linear_probe"}, "norms, but model.protocol linear_probe trains none"),
        ({"trained": "last:1", "protocol": "attention_probe"}, "last:1, but model.protocol attention_probe"),
        ({"window_pooling": "max"}, "model.window_pooling is 'max'; choose one of mean, attention"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(options: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        PhenotypeRegression(build("vit-mean"), **options)
    assert "\n" not in str(refused.value)


def test_layers_that_cannot_be_updated_are_refused() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(2, 2))

    with pytest.raises(UserError, match="Bare has no linear layer and no convolution"):
        TrainedPart.from_text("low_rank:1").begin(Bare(), seed=0)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(UserError, match="share a weight"):
        TrainedPart.from_text("low_rank:1").begin(tied, seed=0)
    with pytest.raises(UserError, match="norms, of which Bare has nothing"):
        TrainedPart.from_text("norms").choose(Bare())


def test_a_layer_of_which_nothing_is_trained_drops_nothing_and_keeps_its_statistics() -> None:
    encoder, part = prepared("cmr-vit-learned-positions", "last:1")
    part.set_modes(encoder, training=True)
    assert [block.drop_path.training for block in encoder.blocks] == [False, True]
    part.set_modes(encoder, training=False)
    assert not any(module.training for module in encoder.modules())
    for name, trains in (("last:1", [False, True]), ("low_rank:1", [False, False]), ("norms", [True, True])):
        encoder, part = prepared("resnet-basic", name)
        part.set_modes(encoder, training=True)
        assert [encoder.bn1.training, encoder.layer4[0].bn1.training] == trains
