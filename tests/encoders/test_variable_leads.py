"""Missing leads are left out, not read as zeros; lead subsets and other lengths take over trained weights."""

from __future__ import annotations

import pytest
import torch

from ecgcmr.encoders import (
    AdaptableEncoder,
    CMRResNet,
    CMRResNet3d,
    CMRVisionTransformer,
    ECGResNet,
    ECGVisionTransformer,
    LocalFeatureEncoder,
    VariableLeadEncoder,
    export_encoder,
    interpolate_position,
    load_encoder_weights,
    require_encoder,
    sincos_position,
)
from ecgcmr.errors import UserError

SMALL = {"samples": 200, "patch_size": (1, 50), "width": 32, "depth": 2, "heads": 4}
POOLINGS = ("mean", "cls", "attention")
LEADS = [0, 1, 6, 11]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _encoder(**changed) -> ECGVisionTransformer:
    torch.manual_seed(0)
    return ECGVisionTransformer(**{**SMALL, **changed})


def _mask(rows: list[int], batch: int = 2) -> torch.Tensor:
    mask = torch.zeros(batch, 12, dtype=torch.bool)
    mask[:, rows] = True
    return mask


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("filling", [0.0, 1e4, float("nan"), float("inf")])
def test_what_stands_in_a_missing_lead_changes_nothing(pooling, filling):
    encoder = _encoder(pooling=pooling)
    x, mask = torch.randn(2, 12, 200, generator=_generator()), _mask(LEADS)
    mask[1, 3] = True  # recordings of one batch may miss different leads
    filled = torch.where(mask[:, :, None], x, torch.full_like(x, filling)).requires_grad_()
    results = []
    for signal in (x.clone().requires_grad_(), filled):
        encoder.zero_grad()
        feature = encoder(signal, mask)
        feature.square().sum().backward()
        gradients = [parameter.grad.clone() for parameter in encoder.parameters()]
        results.append([feature, encoder.forward_tokens(signal, mask), signal.grad, *gradients])
        assert (signal.grad[~mask] == 0).all()
        assert (signal.grad[mask] != 0).any()
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)
        assert torch.isfinite(second).all()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_masked_leads_equal_an_encoder_of_the_other_leads(pooling, tmp_path):
    """The strongest form of "left out": the same weights, built for the recorded leads alone."""
    whole = _encoder(pooling=pooling).eval()
    export_encoder(whole, tmp_path, class_path="ecgcmr.encoders.ECGVisionTransformer", init_args={**SMALL})
    subset = _encoder(pooling=pooling, leads=len(LEADS), lead_rows=LEADS).eval()
    assert torch.equal(subset.pos_embed, whole.pos_embed[:, _tokens_of(LEADS)])
    load_encoder_weights(subset, tmp_path, adapt_input=True)
    x = torch.randn(2, 12, 200, generator=_generator())
    torch.testing.assert_close(subset(x[:, LEADS]), whole(x, _mask(LEADS)), rtol=1e-5, atol=1e-5)
    assert (subset(x[:, LEADS]) - whole(torch.where(_mask(LEADS)[:, :, None], x, 0.0))).abs().max() > 1e-2
    tokens = whole.forward_tokens(x, _mask(LEADS))
    recorded = whole.token_mask(_mask(LEADS))
    torch.testing.assert_close(subset.forward_tokens(x[:, LEADS]).flatten(0, 1), tokens[recorded], rtol=1e-5, atol=1e-5)
    assert (tokens[~recorded] == 0).all()


def _tokens_of(leads: list[int]) -> list[int]:
    return [0] + [1 + 4 * lead + column for lead in leads for column in range(4)]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_full_mask_is_no_mask(pooling):
    encoder = _encoder(pooling=pooling).eval()
    x = torch.randn(2, 12, 200, generator=_generator())
    torch.testing.assert_close(encoder(x, _mask(list(range(12)))), encoder(x), rtol=1e-5, atol=1e-6)


def test_visible_patches_of_recorded_leads_do_not_see_the_others():
    encoder = _encoder()
    x, mask = torch.randn(2, 12, 200, generator=_generator()), _mask(LEADS)
    keep = torch.randperm(48, generator=_generator(1))[:30].expand(2, -1)
    seen = torch.cat([torch.ones(2, 1, dtype=torch.bool), encoder.token_mask(mask).gather(1, keep)], dim=1)
    first = encoder.forward_visible(x, keep, mask)
    second = encoder.forward_visible(torch.where(mask[:, :, None], x, torch.nan), keep, mask)
    assert torch.equal(first[seen], second[seen])
    alone = encoder.forward_visible(x, keep[:, seen[0, 1:]])
    torch.testing.assert_close(first[seen].view_as(alone), alone, rtol=1e-5, atol=1e-5)


def test_masks_that_are_refused():
    encoder, x = _encoder(), torch.zeros(2, 12, 200)
    for wrong in (torch.ones(2, 11, dtype=torch.bool), torch.ones(2, 12), torch.ones(12, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"expected a lead_mask of shape \(B, 12\) and type bool"):
            encoder(x, wrong)
    with pytest.raises(ValueError, match=r"expected a lead_mask of shape \(2, 12\), got \(3, 12\)"):
        encoder(x, _mask(LEADS, batch=3))
    with pytest.raises(UserError, match="missing leads need patches of one lead, this encoder's span 3"):
        _encoder(patch_size=(3, 50))(x, _mask(LEADS))
    with pytest.raises(UserError, match="ECGResNet is not an encoder for recordings with missing leads: it lacks to"):
        require_encoder(ECGResNet(samples=200), VariableLeadEncoder)
    assert require_encoder(encoder, VariableLeadEncoder) is encoder


@pytest.mark.parametrize("rows", [[0, 1], [0, 1, 1], [0, 1, -1]])
def test_lead_rows_that_make_no_subset(rows):
    with pytest.raises(UserError, match="lead_rows must name 3 different rows"):
        _encoder(leads=3, lead_rows=rows)
    with pytest.raises(UserError, match="lead_rows needs patches of one lead"):
        _encoder(leads=3, lead_rows=[0, 1, 2], patch_size=(3, 50))


@pytest.mark.parametrize("positions", ["sincos", "learned"])
def test_weights_of_another_length(positions, tmp_path):
    source = _encoder(positions=positions)
    export_encoder(source, tmp_path, class_path="ecgcmr.encoders.ECGVisionTransformer", init_args={**SMALL})
    longer = ECGVisionTransformer(**{**SMALL, "samples": 450}, positions=positions)
    with pytest.raises(UserError, match="encoder expects input"):
        load_encoder_weights(longer, tmp_path)
    load_encoder_weights(longer, tmp_path, adapt_input=True)
    assert torch.equal(longer.pos_embed, interpolate_position(source.pos_embed, (12, 4), (12, 9)))
    assert torch.equal(longer.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)
    assert longer(torch.zeros(1, 12, 450)).shape == (1, 32)


def test_weights_that_cannot_be_adapted(tmp_path):
    subset = _encoder(leads=2, lead_rows=[0, 6])
    export_encoder(subset, tmp_path, class_path="ecgcmr.encoders.ECGVisionTransformer", init_args={**SMALL, "leads": 2})
    with pytest.raises(UserError, match="encoder expects input"):  # as many leads, but others
        load_encoder_weights(_encoder(leads=2, lead_rows=[0, 1]), tmp_path)
    for changed, message in [
        ({"leads": 2, "lead_rows": [0, 1]}, r"no positions of lead rows \[1\], only of \[0, 6\]"),
        (
            {"leads": 1, "lead_rows": [6], "sampling_rate": 250.0},
            r"made for 500\.0 Hz do not fit an encoder",
        ),
        ({"leads": 1, "lead_rows": [6], "patch_size": (1, 100)}, "pos_embed is .* they have other patches"),
    ]:
        with pytest.raises(UserError, match=message):
            load_encoder_weights(_encoder(**changed), tmp_path, adapt_input=True)
    with pytest.raises(UserError, match=r"ECGVisionTransformer cannot be adapted to ECGResNet"):
        load_encoder_weights(ECGResNet(samples=200), tmp_path, adapt_input=True)
    with pytest.raises(UserError, match="encoder expects input"):
        load_encoder_weights(CMRVisionTransformer(height=16, width=16), tmp_path, adapt_input=True)


RESNET = {"variant": "custom", "block": "basic", "layers": [1] * 4, "widths": [8] * 4}
CMR_SIZES = [
    (CMRResNet, {**RESNET}),
    (CMRResNet3d, {**RESNET}),
    (CMRVisionTransformer, {"embedding": 16, "depth": 1, "heads": 2}),
]


@pytest.mark.parametrize(("encoder_class", "arguments"), CMR_SIZES)
def test_weights_of_another_image_size(encoder_class, arguments, tmp_path):
    source = encoder_class(**arguments, height=32, width=32)
    export_encoder(source, tmp_path, class_path=f"ecgcmr.encoders.{encoder_class.__name__}", init_args=arguments)
    target = encoder_class(**arguments, height=48, width=64)
    load_encoder_weights(target, tmp_path, adapt_input=True)
    state = target.state_dict()
    assert all(torch.equal(state[name], value) for name, value in source.state_dict().items() if name != "pos_embed")
    if encoder_class is CMRVisionTransformer:
        torch.testing.assert_close(target.pos_embed.mean(dim=1), source.pos_embed.mean(dim=1), rtol=0, atol=0.2)
    with pytest.raises(UserError, match="made for 3 frames do not fit an encoder for 2"):
        load_encoder_weights(encoder_class(**arguments, frames=2, height=32, width=32), tmp_path, adapt_input=True)


def test_weights_of_a_convolutional_ecg_encoder(tmp_path):
    source = ECGResNet(**RESNET, samples=200)
    export_encoder(source, tmp_path, class_path="ecgcmr.encoders.ECGResNet", init_args={**RESNET, "samples": 200})
    target = ECGResNet(**RESNET, samples=300)
    load_encoder_weights(target, tmp_path, adapt_input=True)
    assert torch.equal(target.stem[0].weight, source.stem[0].weight)
    with pytest.raises(UserError, match=r"made for sampling_rate 500\.0 do not fit .* sampling_rate 100\.0"):
        load_encoder_weights(ECGResNet(**RESNET, samples=200, sampling_rate=100.0), tmp_path, adapt_input=True)


def test_learned_positions_are_learned_and_named_like_fixed_ones():
    learned, fixed = _encoder(positions="learned"), _encoder()
    assert list(learned.state_dict()) != []
    assert set(learned.state_dict()) == set(fixed.state_dict())
    x = torch.randn(2, 12, 200, generator=_generator())
    learned(x).square().sum().backward()
    assert (learned.pos_embed.grad[:, 1:].abs().sum(dim=2) > 0).all()
    assert not fixed.pos_embed.requires_grad
    assert torch.equal(fixed.pos_embed, sincos_position((12, 4), 32))
    with pytest.raises(UserError, match="unknown positions 'rotary': choose one of sincos, learned"):
        _encoder(positions="rotary")


def test_capabilities_are_named_when_they_lack():
    class Bare(torch.nn.Module):
        input_spec = feature_dim = num_layers = None
        no_weight_decay = layer_of = forward_tokens = None

    with pytest.raises(UserError, match="Bare is not an encoder with local features: it lacks local_features"):
        require_encoder(Bare(), LocalFeatureEncoder)
    with pytest.raises(UserError, match="takes weights made for another input: it lacks adapt_weights"):
        require_encoder(Bare(), AdaptableEncoder)
