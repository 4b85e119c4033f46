"""The encoder and the masked autoencoder against the published implementation's golden vectors, gradients included."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from ecgcmr.encoders import (
    ECGVisionTransformer,
    MAEDecoder,
    MaskedAutoencoder,
    interpolate_position,
    random_masking,
    sincos_position,
)
from ecgcmr.objectives import MaskedReconstruction, unpatchify

HEADS = 4
TOLERANCE = 1e-5


def _error(value, golden) -> float:
    """Largest difference relative to the largest golden value."""
    return float(np.abs(value.detach().numpy() - golden).max() / np.abs(golden).max())


def _weights(archive) -> dict[str, torch.Tensor]:
    return {key[2:]: torch.from_numpy(archive[key]) for key in archive.files if key.startswith("w/")}


def _our_name(name: str) -> str:
    if name == "mask_token" or name.startswith("decoder_"):
        return "decoder." + name.removeprefix("decoder_")
    return "encoder." + name


def _depth(weights, prefix: str) -> int:
    return 1 + max(int(match[1]) for name in weights if (match := re.match(rf"{prefix}\.(\d+)\.", name)))


def _encoder(weights, x, pooling) -> ECGVisionTransformer:
    width, _, *patch = weights["patch_embed.proj.weight"].shape
    return ECGVisionTransformer(
        leads=x.shape[1],
        samples=x.shape[2],
        patch_size=tuple(patch),
        width=width,
        depth=_depth(weights, "blocks"),
        heads=HEADS,
        pooling=pooling,
    )


def _masked_autoencoder(archive, mask_ratio: float) -> MaskedAutoencoder:
    weights = _weights(archive)
    # The published pre-training model names its final norm as the class-token encoder does.
    encoder = _encoder(weights, archive["x"][:, 0], "cls")
    width = weights["mask_token"].shape[-1]
    model = MaskedAutoencoder(
        encoder, MAEDecoder.for_encoder(encoder, width, _depth(weights, "decoder_blocks"), HEADS), mask_ratio
    )
    model.load_state_dict({_our_name(name): value for name, value in weights.items()}, strict=True)
    return model


MAE_FILES = ["mae_all_ncc*_m*.npz", "mae_normpix_ncc*_m*.npz"]


@pytest.fixture(params=MAE_FILES)
def mae_case(request, parity_dir):
    path = next(iter(sorted(parity_dir.glob(request.param))), None)
    if path is None:
        pytest.skip(f"no {request.param} among the golden vectors")
    ncc_weight, mask_ratio = (float(number) for number in re.search(r"ncc([\d.]+)_m([\d.]+)\.npz", path.name).groups())
    return np.load(path), ncc_weight, mask_ratio, "normpix" in path.name


def test_masked_autoencoder(mae_case):
    golden, ncc_weight, mask_ratio, normalise = mae_case
    model = _masked_autoencoder(golden, mask_ratio)
    x = torch.from_numpy(golden["x"])[:, 0]
    output = model(x, torch.from_numpy(golden["noise"]))

    assert _error(output.latent, golden["latent"]) < TOLERANCE
    assert np.array_equal(output.mask.numpy(), golden["mask"])
    assert np.array_equal(output.masking.restore.numpy(), golden["ids_restore"])
    assert _error(output.pred, golden["pred"]) < TOLERANCE
    reconstruction = unpatchify(output.pred, model.patch_size, x.shape[1])
    assert _error(reconstruction, golden["reconstruction"][:, 0]) < TOLERANCE

    objective = MaskedReconstruction(ncc_weight, "all", normalise)
    terms = objective(output.pred, x, output.mask, model.patch_size)
    assert _error(terms["loss"], golden["loss"]) < TOLERANCE

    terms["loss"].backward()
    parameters = dict(model.named_parameters())
    gradients = [key for key in golden.files if key.startswith("grad/")]
    assert gradients
    for key in gradients:
        assert _error(parameters[_our_name(key[5:])].grad, golden[key]) < TOLERANCE, key


def test_both_scopes_of_the_error(mae_case):
    """The archives give both errors against the plain signal, whatever the loss was trained on."""
    golden, *_ = mae_case
    x, pred, mask = (torch.from_numpy(golden[key]) for key in ("x", "pred", "mask"))
    patch_size = tuple(golden["w/patch_embed.proj.weight"].shape[2:])
    for scope, key in (("all", "mse_all_patches"), ("masked", "mse_masked_patches_only")):
        terms = MaskedReconstruction(0.0, scope)(pred, x[:, 0], mask, patch_size)
        assert _error(terms["mse"], golden[key]) < TOLERANCE


def test_visible_patches_in_any_order_equal_the_whole_encoder(mae_case):
    golden, _, mask_ratio, _ = mae_case
    encoder = _masked_autoencoder(golden, mask_ratio).encoder
    x = torch.from_numpy(golden["x"])[:, 0]
    everything = torch.arange(encoder.num_patches).expand(x.shape[0], -1)
    assert _error(encoder.forward_visible(x, everything), golden["latent_all_patches"]) < TOLERANCE

    shuffled = torch.randperm(encoder.num_patches, generator=torch.Generator().manual_seed(0))
    latent = encoder.forward_visible(x, shuffled.expand(x.shape[0], -1))
    assert _error(latent[:, 1:], golden["latent_all_patches"][:, 1:][:, shuffled]) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "pooling"),
    [("encoder_mean_pool", "mean"), ("encoder_cls_token", "cls"), ("encoder_attention_pool", "attention")],
)
def test_encoder(parity_dir, name, pooling):
    golden = np.load(parity_dir / f"{name}.npz")
    x, weights = torch.from_numpy(golden["x"])[:, 0], _weights(golden)
    encoder = _encoder(weights, x, pooling)
    not_encoder = {"head.weight", "head.bias"} | (set() if pooling == "cls" else {"norm.weight", "norm.bias"})
    encoder.load_state_dict({name: value for name, value in weights.items() if name not in not_encoder}, strict=True)
    assert _error(encoder(x), golden["features"]) < TOLERANCE
    assert _error(encoder.forward_tokens(x), golden["tokens"]) < TOLERANCE


def test_position_table_and_its_interpolation(parity_dir):
    golden = np.load(parity_dir / "pos_embed.npz")
    grid = (int(golden["grid_h"]), int(golden["grid_w"]))
    table = sincos_position(grid, int(golden["embed_dim"]))
    assert _error(table[0], golden["sincos"]) < TOLERANCE
    wider = interpolate_position(table, grid, (grid[0], int(golden["interpolated_grid_w"])))
    assert _error(wider, golden["interpolated"]) < TOLERANCE


@pytest.mark.parametrize(("ratio", "kept"), [(0.8, 23), (0.75, 30), (0.5, 60)])
def test_number_of_kept_patches_as_published(ratio, kept):
    noise = torch.rand(2, 120, generator=torch.Generator().manual_seed(0))
    masking = random_masking(noise, ratio)
    assert masking.keep.shape == (2, kept)
    assert masking.mask.sum(dim=1).tolist() == [120 - kept] * 2
    assert (masking.mask.gather(1, masking.keep) == 0).all()
    assert (noise.gather(1, masking.keep).diff(dim=1) > 0).all()
