"""Everything the published implementation computes, against its golden vectors, gradients included (make parity)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_vectors import (
    FLOAT64_TOLERANCE,
    READ,
    RESULTS,
    TOLERANCE,
    GoldenFile,
    Result,
    all_arrays,
    deviations,
    golden_files,
    golden_folder,
    is_input,
    report,
)
from torch import nn

from ecgcmr.augmentations import fourier_surrogate
from ecgcmr.encoders import (
    ECGVisionTransformer,
    MAEDecoder,
    MaskedAutoencoder,
    interpolate_position,
    random_masking,
    sincos_position,
)
from ecgcmr.objectives import CLIPLoss, MaskedReconstruction, NTXentLoss, SimilarityGuidedCLIPLoss, unpatchify
from ecgcmr.objectives.rows import unit_rows
from ecgcmr.preparation import clean_ecg
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.preparation.cleaning_steps import ALS, Clip
from ecgcmr.stages.optimisation import layer_decayed_groups, learning_rate_at, plain_groups

HEADS = 4


def each(pattern: str) -> pytest.MarkDecorator:
    """Run a test for every archive of a name pattern."""
    return pytest.mark.parametrize("path", golden_files(pattern), ids=lambda path: path.stem)


def test_the_folder_is_there() -> None:
    if golden_folder() is None:
        pytest.skip("ECGCMR_PARITY_DIR is not set and shared/parity/ is not beside the checkout")
    assert all_arrays()


def depth_of(weights: dict[str, torch.Tensor], prefix: str) -> int:
    return 1 + max(int(match[1]) for name in weights if (match := re.match(rf"{prefix}\.(\d+)\.", name)))


def make_encoder(weights: dict[str, torch.Tensor], x: torch.Tensor, pooling: str) -> ECGVisionTransformer:
    width, _, *patch = weights["patch_embed.proj.weight"].shape
    return ECGVisionTransformer(
        leads=x.shape[1],
        samples=x.shape[2],
        patch_size=tuple(patch),
        width=width,
        depth=depth_of(weights, "blocks"),
        heads=HEADS,
        pooling=pooling,
    )


def our_name(name: str) -> str:
    if name == "mask_token" or name.startswith("decoder_"):
        return "decoder." + name.removeprefix("decoder_")
    return "encoder." + name


def make_autoencoder(golden: GoldenFile, mask_ratio: float) -> MaskedAutoencoder:
    weights = golden.weights()
    # The published pre-training model names its final norm as the class-token encoder does.
    encoder = make_encoder(weights, golden.tensor("x")[:, 0], "cls")
    decoder = MAEDecoder.for_encoder(
        encoder, weights["mask_token"].shape[-1], depth_of(weights, "decoder_blocks"), HEADS
    )
    model = MaskedAutoencoder(encoder, decoder, mask_ratio)
    # Position tables are ours before they are overwritten.
    golden.compare("w/pos_embed", model.encoder.pos_embed)
    golden.compare("w/decoder_pos_embed", model.decoder.pos_embed)
    model.load_state_dict({our_name(name): value for name, value in weights.items()}, strict=True)
    return model


@each("mae_*.npz")
def test_masked_autoencoder(path: Path) -> None:
    numbers = re.search(r"ncc([\d.]+)_m([\d.]+)$", path.stem)
    assert numbers, "the name tells the weight of the NCC and the mask ratio"
    ncc_weight, mask_ratio = map(float, numbers.groups())
    with GoldenFile(path) as golden:
        model = make_autoencoder(golden, mask_ratio)
        x = golden.tensor("x")[:, 0]
        output = model(x, golden.tensor("noise"))
        golden.compare("latent", output.latent)
        golden.compare("mask", output.mask, tolerance=0.0)
        golden.compare("ids_restore", output.masking.restore)
        golden.compare("pred", output.pred)
        golden.compare("reconstruction", unpatchify(output.pred, model.patch_size, x.shape[1])[:, None])

        def terms(weight: float, scope: str, normalise: bool = False) -> dict[str, torch.Tensor]:
            return MaskedReconstruction(weight, scope, normalise)(output.pred, x, output.mask, model.patch_size)

        # Both errors are given against the plain signal, whatever the loss was trained on.
        golden.compare("mse_all_patches", terms(0.0, "all")["mse"])
        golden.compare("mse_masked_patches_only", terms(0.0, "masked")["mse"])
        loss = terms(ncc_weight, "all", "normpix" in path.stem)["loss"]
        golden.compare("loss", loss)
        loss.backward()
        parameters = dict(model.named_parameters())
        for name in golden.arrays:
            if name.startswith("grad/"):
                golden.compare(name, parameters[our_name(name[5:])].grad)

        encoder = model.encoder
        everything = torch.arange(encoder.num_patches).expand(x.shape[0], -1)
        golden.compare("latent_all_patches", encoder.forward_visible(x, everything))
        shuffled = torch.randperm(encoder.num_patches, generator=torch.Generator().manual_seed(0))
        latent = encoder.forward_visible(x, shuffled.expand(x.shape[0], -1))
        in_order = torch.cat([latent[:, :1], latent[:, 1:][:, shuffled.argsort()]], dim=1)
        golden.compare("latent_all_patches", in_order)


@pytest.mark.parametrize(("ratio", "kept"), [(0.8, 23), (0.75, 30), (0.5, 60)])
def test_number_of_kept_patches(ratio: float, kept: int) -> None:
    noise = torch.rand(2, 120, generator=torch.Generator().manual_seed(0))
    masking = random_masking(noise, ratio)
    assert masking.keep.shape == (2, kept)
    assert masking.mask.sum(dim=1).tolist() == [120 - kept] * 2
    assert (masking.mask.gather(1, masking.keep) == 0).all()
    assert (noise.gather(1, masking.keep).diff(dim=1) > 0).all()


@each("encoder_*.npz")
def test_encoder(path: Path) -> None:
    pooling = path.stem.split("_")[1]  # encoder_mean_pool, encoder_cls_token, encoder_attention_pool
    with GoldenFile(path) as golden:
        weights, x = golden.weights(), golden.tensor("x")[:, 0]
        encoder = make_encoder(weights, x, pooling)
        elsewhere = {"head.weight", "head.bias"} | (set() if pooling == "cls" else {"norm.weight", "norm.bias"})
        encoder.load_state_dict({name: w for name, w in weights.items() if name not in elsewhere}, strict=True)
        golden.compare("features", encoder(x))
        golden.compare("tokens", encoder.forward_tokens(x))


@each("pos_embed*.npz")
def test_position_table_and_its_interpolation(path: Path) -> None:
    with GoldenFile(path) as golden:
        grid = (int(golden["grid_h"]), int(golden["grid_w"]))
        table = sincos_position(grid, int(golden["embed_dim"]))
        golden.compare("sincos", table[0])
        golden.compare("interpolated", interpolate_position(table, grid, (grid[0], int(golden["interpolated_grid_w"]))))


def compare_losses(golden: GoldenFile, loss: torch.Tensor, **embeddings: torch.Tensor) -> None:
    loss.backward()
    golden.compare("loss", loss)
    for name, embedding in embeddings.items():
        golden.compare(name, embedding.grad)


@each("clip_*.npz")
def test_clip(path: Path) -> None:
    with GoldenFile(path) as golden:
        ecg, cmr = golden.tensor("z_ecg").requires_grad_(), golden.tensor("z_image").requires_grad_()
        objective = CLIPLoss(float(golden["temperature"]), float(golden["lambda_image"]))
        compare_losses(golden, objective(ecg, cmr), grad_ecg=ecg, grad_image=cmr)
        golden.compare("logits", objective.logit_scale() * unit_rows(cmr) @ unit_rows(ecg).T)


@each("ntxent_*.npz")
def test_ntxent(path: Path) -> None:
    with GoldenFile(path) as golden:
        a, b = golden.tensor("z_a").requires_grad_(), golden.tensor("z_b").requires_grad_()
        compare_losses(golden, NTXentLoss(float(golden["temperature"]))(a, b), grad_a=a, grad_b=b)


@pytest.mark.parametrize(
    ("path", "use"),
    [(path, "positives") for path in golden_files("supcon_*.npz")]
    + [(path, "exclude") for path in golden_files("remove_fn*.npz")],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
)
def test_similarity_guided(path: Path, use: str) -> None:
    with GoldenFile(path) as golden:
        if use == "positives":
            assert str(golden["contrast_mode"]) == "all"  # both directions, as ours
        ecg, cmr = golden.tensor("z_ecg").requires_grad_(), golden.tensor("z_image").requires_grad_()
        chosen = golden["indices"]
        similarity = torch.from_numpy(golden["similarity"][chosen][:, chosen])
        objective = SimilarityGuidedCLIPLoss(float(golden["temperature"]), float(golden["threshold"]), use)
        compare_losses(golden, objective(ecg, cmr, similarity), grad_ecg=ecg, grad_image=cmr)


@each("schedule*.npz")
def test_schedule(path: Path) -> None:
    with GoldenFile(path) as golden:
        lengths = {"warmup_epochs": float(golden["warmup_epochs"]), "epochs": float(golden["epochs"])}
        peak, minimum = float(golden["base_lr"]), float(golden["min_lr"])
        rates = [learning_rate_at(float(at), peak=peak, minimum=minimum, **lengths) for at in golden["epoch"]]
        golden.compare("lr", np.array(rates)[:, None] * golden["lr_scale"])


@each("layer_decay_*.json")
def test_layer_decay(path: Path) -> None:
    numbers = re.search(r"depth(\d+)_decay([\d.]+)_wd([\d.]+)$", path.stem)
    assert numbers, "the name tells depth, layer decay and weight decay"
    depth, layer_decay, weight_decay = int(numbers[1]), float(numbers[2]), float(numbers[3])
    ours: dict[str, tuple[float, float]] = {}
    with GoldenFile(path) as golden:
        for pooling in ("mean", "cls"):  # between them they have both names of the final norm
            # A learned table counts as a parameter; the fixed one is in no group.
            encoder = ECGVisionTransformer(
                samples=200, patch_size=(1, 50), width=16, depth=depth, heads=2, pooling=pooling, positions="learned"
            )
            names = {id(parameter): name for name, parameter in encoder.named_parameters()}
            groups = layer_decayed_groups(encoder, layer_decay=layer_decay, weight_decay=weight_decay)
            ours |= {names[id(p)]: (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}
        weight, bias = plain_groups([nn.Linear(16, 2)], weight_decay=weight_decay)
        ours |= {f"head.{n}": (g["lr_scale"], g["weight_decay"]) for n, g in (("weight", weight), ("bias", bias))}
        assert sorted(ours) == golden.rows
        for column, name in enumerate(("lr_scale", "weight_decay")):
            golden.compare(name, np.array([ours[row][column] for row in golden.rows]), tolerance=1e-12)


@each("ft_surrogate*.npz")
def test_fourier_surrogate(path: Path) -> None:
    with GoldenFile(path) as golden:
        magnitude = float(golden["phase_noise_magnitude"])
        golden.compare("y", fourier_surrogate(golden.tensor("x")[None], golden.tensor("uniform"), magnitude)[0])


@each("preprocess_*.npz")
def test_preparation(path: Path) -> None:
    with GoldenFile(path) as golden:
        for clean in (clean_ecg, Cleaning.from_name("published")):
            golden.compare("processed", np.stack([clean(raw) for raw in golden["raw"]]), FLOAT64_TOLERANCE)
        for array, ours in {
            "als_lambda": ALS().lambda_,
            "als_p": ALS().p,
            "als_solves": ALS().solves,
            "clip_sd": Clip().deviations,
        }.items():
            golden.compare(array, ours, tolerance=0.0)


def test_every_array_is_read_or_compared(request: pytest.FixtureRequest) -> None:
    """The last test of this file: nothing in the folder is passed over."""
    if golden_folder() is None:
        pytest.skip("there are no golden vectors")
    asked = {item.originalname for item in request.session.items if isinstance(item, pytest.Function)}
    if missing := {name for name in globals() if name.startswith("test_")} - asked:
        pytest.skip(f"only a part of the golden-vector tests was asked for, not {min(missing)}")
    everything = all_arrays()
    compared = {(result.file, result.array) for result in RESULTS}
    results = {pair for pair in everything if not is_input(*pair)}
    assert sorted(results - compared) == []
    assert sorted(everything - results - READ) == []


def test_report_and_deviations() -> None:
    """What the comparison itself is worth: it sees values, shapes and NaN."""
    golden = np.array([2.0, -4.0])
    assert deviations(np.array([2.0, -4.0]), golden) == (0.0, 0.0)
    assert deviations(np.array([2.0, -4.2]), golden) == pytest.approx((0.2, 0.05))
    assert deviations(np.array([2.0]), golden) == (np.inf, np.inf)
    lines = report([Result("f", "good", 1e-9, 1e-9, TOLERANCE), Result("f", "off", 1.0, np.nan, TOLERANCE)])
    assert lines[1].endswith("ok")
    assert lines[2].endswith("FAIL")
    assert lines[-1] == "2 arrays compared, 1 beyond their tolerance"
