"""What the published transformers do beyond the contract: missing leads, hidden patches, padding, names, refusals."""

from __future__ import annotations

import pytest
import torch

from ecgcmr.encoders import MAEDecoder, MaskableEncoder, MaskedAutoencoder, require_encoder
from ecgcmr.encoders.published.dbeta import DBETA_NAMES
from ecgcmr.encoders.published.ecg_fm import ECG_FM_NAMES, ECGFM
from ecgcmr.encoders.published.ecg_jepa import ECGJEPA
from ecgcmr.encoders.published.hubert_ecg import HUBERT_ECG_NAMES, HuBERTECG
from ecgcmr.encoders.published.merl_vit import MERL_VIT_NAMES, MERLVisionTransformer
from ecgcmr.encoders.published.st_mem import ST_MEM_NAMES, STMEM
from ecgcmr.errors import UserError
from ecgcmr.leads import LEADS

SMALL = {"width": 16, "depth": 2, "heads": 4}
WAVES = {**SMALL, "position_kernel": 8, "position_groups": 4}


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def of_patches(name: str):
    torch.manual_seed(0)
    if name == "st-mem":
        return STMEM(**SMALL, samples=100, patch=25, table_rows=6).eval()
    if name == "ecg-jepa":
        return ECGJEPA(**SMALL, samples=100, patch=25).eval()
    return MERLVisionTransformer(**SMALL, samples=100, patch=25).eval()


@pytest.mark.parametrize("name", ["st-mem", "ecg-jepa"])
def test_nothing_in_a_missing_lead_matters(name):
    encoder = of_patches(name)
    leads = encoder.input_spec.leads
    x = draw(3, leads, 100)
    mask = torch.ones(3, leads, dtype=torch.bool)
    mask[1, 2:] = False
    spoilt = torch.where(mask[:, :, None], x, torch.nan)
    torch.testing.assert_close(encoder(spoilt, mask), encoder(x, mask), rtol=0, atol=0)
    assert (encoder(x, mask)[1] - encoder(x)[1]).abs().max() > 1e-4
    torch.testing.assert_close(encoder(x, mask)[0], encoder(x)[0], rtol=1e-4, atol=1e-5)
    encoder(spoilt, mask).square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())
    assert (encoder.forward_tokens(spoilt, mask)[~encoder.token_mask(mask)] == 0).all()


def test_a_missing_lead_is_as_if_the_encoder_had_none_of_it():
    encoder = of_patches("ecg-jepa")
    other = ECGJEPA(**SMALL, leads=2, samples=100, patch=25).eval()
    rows = torch.tensor([0, 2])
    state = encoder.state_dict()
    state["pos_embed"] = state["pos_embed"].unflatten(0, encoder.grid)[rows].flatten(0, 1)
    other.load_state_dict(state)
    mask = torch.zeros(2, 8, dtype=torch.bool)
    mask[:, rows] = True
    x = draw(2, 8, 100)
    torch.testing.assert_close(encoder(x, mask), other(x[:, rows]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["st-mem", "ecg-jepa", "merl-vit"])
def test_all_patches_visible_are_the_tokens(name):
    encoder = of_patches(name)
    x = draw(2, encoder.input_spec.leads, 100)
    count = encoder.grid[0] * encoder.grid[1]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).expand(2, -1)
    seen = encoder.forward_visible(x, order)
    local = encoder.local_features(x).flatten(2).transpose(1, 2)
    torch.testing.assert_close(seen[:, 1:], local[:, order[0]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen[:, 0], local.mean(dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["st-mem", "ecg-jepa", "merl-vit"])
def test_what_is_hidden_has_no_influence_and_a_masked_autoencoder_trains(name):
    encoder = of_patches(name).train()
    model = MaskedAutoencoder(encoder, MAEDecoder.for_encoder(encoder, width=8, depth=1, heads=2), mask_ratio=0.5)
    x = draw(2, encoder.input_spec.leads, 100)
    noise = torch.rand(2, model.draws, generator=torch.Generator().manual_seed(1))
    output = model(x, noise)
    rows, columns = encoder.grid
    hidden = output.mask.bool().reshape(2, rows, 1, columns, 1).expand(-1, -1, x.shape[1] // rows, -1, 25)
    other = torch.where(hidden.reshape(x.shape), torch.tensor(9.0), x)
    torch.testing.assert_close(model(other, noise).pred, output.pred, rtol=0, atol=0)
    output.pred.square().mean().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_hidden_patches_of_missing_leads_leave_no_mean_behind():
    encoder = of_patches("st-mem")
    x, keep = draw(2, 12, 100), torch.arange(12).expand(2, -1)
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[:, 1] = False
    first, tokens = encoder.forward_visible(x, keep, mask)[:, 0], encoder.forward_visible(x, keep, mask)[:, 1:]
    of_recorded = torch.cat([tokens[:, :4], tokens[:, 8:]], dim=1)  # four patches a lead
    torch.testing.assert_close(first, of_recorded.mean(dim=1), rtol=1e-4, atol=1e-5)


def test_leads_that_patches_mix_cannot_be_missing():
    encoder = of_patches("merl-vit")
    with pytest.raises(UserError, match="MERLVisionTransformer sees all leads in each patch"):
        encoder(draw(1, 12, 100), torch.ones(1, 12, dtype=torch.bool))
    with pytest.raises(ValueError, match="lead_mask of shape"):
        of_patches("st-mem")(draw(2, 12, 100), torch.ones(1, 12, dtype=torch.bool))


@pytest.mark.parametrize(
    "encoder", [ECGFM(**WAVES, convolutions=[8] * 4), HuBERTECG(**WAVES, convolutions=[8] * 5)], ids=["fm", "hubert"]
)
def test_waves_cannot_be_hidden_patch_by_patch(encoder):
    with pytest.raises(UserError, match="not an encoder for masked autoencoding: it lacks grid, patch_size"):
        require_encoder(encoder, MaskableEncoder)


def test_padding_is_left_out_of_ecg_fm():
    torch.manual_seed(0)
    encoder = ECGFM(**WAVES, samples=200, convolutions=[8] * 4).eval()
    x = draw(2, 12, 200)
    whole, cut = encoder(x, torch.tensor([200, 200])), encoder(x, torch.tensor([200, 120]))
    torch.testing.assert_close(whole, encoder(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cut[0], whole[0], rtol=1e-4, atol=1e-5)
    assert (cut[1] - whole[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: STMEM(samples=100, patch=25, table_rows=5), "need 6 rows or more"),
        (lambda: STMEM(samples=2251), "not divisible by the patch's 75 samples"),
        (lambda: ECGJEPA(heads=7), "width 768 is not divisible by heads 7"),
        (lambda: ECGFM(samples=12), "samples 12 are too few"),
        (lambda: ECGFM(width=24, heads=4), "width 24 is not divisible by position_groups 16"),
        (lambda: HuBERTECG(kernels=[2]), "must be equally many"),
        (lambda: HuBERTECG(strides=[0] * 5), "must be positive"),
    ],
)
def test_numbers_that_do_not_fit_are_named(make, message):
    with torch.device("meta"), pytest.raises(UserError, match=message):
        make()


def test_names_of_files_in_their_forms():
    plain = {"post_extract_proj.weight": "project.weight", "layer_norm.bias": "feature_norm.bias"}
    plain |= {"encoder.layer_norm.bias": "norm.bias", "mask_emb": None, "quantizer.vars": None}
    assert ECG_FM_NAMES.ours(plain) == plain
    inside = {f"encoder.{name}": ours for name, ours in plain.items()} | {"proj.weight": None, "odd": "odd"}
    assert ECG_FM_NAMES.ours(inside) == inside
    for spelling in ("weight_g", "parametrizations.weight.original0"):
        assert ECG_FM_NAMES.ours([f"conv_pos.pos_conv.0.{spelling}"]) == {
            f"conv_pos.pos_conv.0.{spelling}": "positions.weight_g"
        }
        assert list(HUBERT_ECG_NAMES.ours([f"encoder.pos_conv_embed.conv.{spelling}"]).values()) == [
            "positions.weight_g"
        ]
        assert list(DBETA_NAMES.ours([f"ecg_encoder.conv_pos.pos_conv.0.{spelling}"]).values()) == [
            "positions.weight_g"
        ]
    whole = ST_MEM_NAMES.ours(["encoder.norm.weight", "to_patch_embedding.1.bias", "decoder_head.bias", "odd"])
    assert list(whole.values()) == ["norm.weight", None, None, "odd"]
    alone = ST_MEM_NAMES.ours(["norm.weight", "to_patch_embedding.1.bias", "block3.ff.fn.net.3.bias"])
    assert list(alone.values()) == ["norm.weight", "to_patch_embedding.1.bias", "blocks.3.mlp.fc2.bias"]
    model = MERL_VIT_NAMES.ours(["ecg_encoder.norm.weight", "proj_e.0.weight", "lm_model.embeddings.weight"])
    assert list(model.values()) == ["norm.weight", None, None]


def test_orders_of_leads_that_are_not_ours_are_said():
    expected = ["I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6"]
    rows = MERLVisionTransformer(**SMALL, samples=100, patch=25).input_spec.lead_rows
    assert [LEADS[row] for row in rows] == expected
    assert [LEADS[row] for row in ECGJEPA(**SMALL, samples=100).input_spec.lead_rows] == ["I", "II", *expected[6:]]
    assert MERLVisionTransformer(**SMALL, leads=2, samples=100).input_spec.lead_rows is None
