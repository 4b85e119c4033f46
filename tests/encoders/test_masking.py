"""Masking of a masked autoencoder: how many patches stay, whole leads, contiguous times, missing leads, refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcmr.encoders import (
    ECGVisionTransformer,
    LeadPatchMasking,
    MAEDecoder,
    MaskedAutoencoder,
    PatchMasking,
    RandomPatchMasking,
    TimePatchMasking,
    random_masking,
)
from ecgcmr.errors import UserError

BATCH = 5
SMALL = {"samples": 200, "patch_size": (1, 50), "width": 32, "depth": 2, "heads": 4}
properties = settings(max_examples=60, deadline=None)
grids = st.tuples(st.integers(1, 12), st.integers(1, 25))
ratios = st.floats(0.05, 0.95)


def _noise(masking: PatchMasking, grid: tuple[int, int], seed: int = 0, batch: int = BATCH) -> torch.Tensor:
    return torch.rand(batch, masking.draws(grid), generator=torch.Generator().manual_seed(seed))


def _visible(masking: PatchMasking, grid: tuple[int, int], ratio: float, seed: int = 0) -> torch.Tensor:
    """(B, rows, columns) bool, after checking what holds for every way of masking."""
    noise = _noise(masking, grid, seed)
    found = masking(noise, grid, ratio)
    patches, kept = grid[0] * grid[1], masking.kept(grid, ratio)
    assert 0 < kept < patches
    assert found.keep.shape == (BATCH, kept)
    assert all(len(set(row.tolist())) == kept for row in found.keep)
    assert found.mask.sum(dim=1).tolist() == [patches - kept] * BATCH
    assert (found.mask.gather(1, found.keep) == 0).all()
    assert torch.equal(found.restore.gather(1, found.keep), torch.arange(kept).expand(BATCH, -1))
    assert torch.equal(found.restore.sort(dim=1).values, torch.arange(patches).expand(BATCH, -1))
    alone = masking(noise[2:3], grid, ratio)  # a row's mask is its own
    assert torch.equal(alone.keep, found.keep[2:3])
    return ~found.mask.bool().view(BATCH, *grid)


def _usable(masking: PatchMasking, grid: tuple[int, int], ratio: float) -> bool:
    try:
        masking.kept(grid, ratio)
    except UserError:
        return False
    return True


@properties
@given(grids, ratios, st.integers(0, 99))
def test_random_patches_are_kept_by_the_published_rule(grid, ratio, seed):
    masking = RandomPatchMasking()
    if _usable(masking, grid, ratio):
        visible = _visible(masking, grid, ratio, seed)
        assert visible[0].sum() == int(grid[0] * grid[1] * (1 - ratio))
        noise = _noise(masking, grid, seed)
        assert torch.equal(masking(noise, grid, ratio).keep, random_masking(noise, ratio).keep)


@properties
@given(grids, ratios, st.integers(0, 99))
def test_leads_are_removed_whole(grid, ratio, seed):
    if _usable(LeadPatchMasking(), grid, ratio):
        visible = _visible(LeadPatchMasking(), grid, ratio, seed)
        assert (visible == visible[:, :, :1]).all()
        kept = int(visible[0, :, 0].sum())
        assert abs(kept - grid[0] * (1 - ratio)) <= 0.5 + 1e-6


@properties
@given(grids, ratios, st.integers(1, 5), st.integers(0, 99))
def test_times_are_removed_in_spans_over_all_leads(grid, ratio, spans, seed):
    masking = TimePatchMasking(spans)
    if not _usable(masking, grid, ratio):
        return
    visible = _visible(masking, grid, ratio, seed)
    assert (visible == visible[:, :1]).all()
    columns = visible[:, 0]
    assert abs(int(columns[0].sum()) - grid[1] * (1 - ratio)) <= 0.5 + 1e-6
    shortest = (grid[1] - int(columns[0].sum())) // spans
    for row in columns.tolist():
        start = row.index(True)
        runs = "".join(" " if seen else "x" for seen in row[start:] + row[:start]).split()  # around the circle
        assert 1 <= len(runs) <= spans
        assert min(map(len, runs)) >= shortest
    if spans == 1:
        assert len(runs[0]) == grid[1] - int(columns[0].sum())


@pytest.mark.parametrize(
    ("masking", "grid", "ratio", "kept"),
    [
        (RandomPatchMasking(), (12, 10), 0.8, 23),  # as published: int(120 * 0.2 less a rounding error)
        (LeadPatchMasking(), (12, 25), 0.8, 2 * 25),
        (LeadPatchMasking(), (12, 25), 0.75, 3 * 25),
        (LeadPatchMasking(), (10, 25), 0.75, 3 * 25),
        (TimePatchMasking(), (12, 25), 0.8, 5 * 12),
        (TimePatchMasking(4), (1, 50), 0.6, 20),
    ],
)
def test_counts(masking, grid, ratio, kept):
    assert masking.kept(grid, ratio) == kept


@pytest.mark.parametrize("masking", [RandomPatchMasking(), LeadPatchMasking(), TimePatchMasking(), TimePatchMasking(3)])
def test_every_place_is_seen_as_often_as_any_other(masking):
    grid, ratio, rows = (12, 10), 0.7, 4000
    found = masking(_noise(masking, grid, batch=rows), grid, ratio)
    seen = 1 - found.mask.mean(dim=0)
    assert (seen - masking.kept(grid, ratio) / 120).abs().max() < 0.04  # five standard errors
    assert len({tuple(row) for row in found.mask[:50].tolist()}) > 8


def test_leads_that_were_not_recorded_are_removed_first():
    recorded = torch.zeros(4, 12, dtype=torch.bool)
    recorded[:, [0, 1, 6, 7]] = True
    noise = torch.rand(4, 12, generator=torch.Generator().manual_seed(0))
    visible = ~LeadPatchMasking()(noise, (12, 4), 0.75, recorded).mask.bool().view(4, 12, 4)[:, :, 0]
    assert (visible & ~recorded).sum() == 0
    assert visible.sum(dim=1).tolist() == [3] * 4


def _autoencoder(masking="random", ratio=0.5, **changed) -> MaskedAutoencoder:
    torch.manual_seed(0)
    encoder = ECGVisionTransformer(**{**SMALL, **changed})
    return MaskedAutoencoder(encoder, MAEDecoder.for_encoder(encoder, 16, 1, 2), ratio, masking)


@pytest.mark.parametrize("masking", ["random", "lead", "time", TimePatchMasking(2)])
def test_the_encoder_does_not_see_what_is_removed(masking):
    model = _autoencoder(masking)
    x = torch.randn(2, 12, 200, generator=torch.Generator().manual_seed(1))
    noise = _noise(model.masking, model.grid, batch=2)
    first = model(x, noise)
    hidden = first.mask.view(2, 12, 4).repeat_interleave(50, dim=2).bool()
    assert torch.equal(model(torch.where(hidden, 7.0, x), noise).pred, first.pred)
    assert not torch.equal(model(torch.where(hidden, x, x + 1), noise).pred, first.pred)


@pytest.mark.parametrize("masking", ["random", "lead", "time"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_missing_leads_reach_neither_prediction_nor_feature(masking, pooling):
    model = _autoencoder(masking, pooling=pooling).eval()
    x = torch.randn(2, 12, 200, generator=torch.Generator().manual_seed(1))
    recorded = torch.ones(2, 12, dtype=torch.bool)
    recorded[0, 3:] = False
    recorded[1, 5] = False
    noise = _noise(model.masking, model.grid, batch=2)
    first = model(x, noise, recorded)
    second = model(torch.where(recorded[:, :, None], x, torch.nan), noise, recorded)
    there = model.encoder.token_mask(recorded)
    assert torch.equal(first.pred[there], second.pred[there])
    assert torch.isfinite(first.pred[there]).all()
    features = [model.pooled(output.latent, output.masking, recorded) for output in (first, second)]
    assert torch.equal(*features)
    all_there = torch.ones_like(recorded)
    torch.testing.assert_close(model(x, noise, all_there).pred, model(x, noise).pred, rtol=1e-4, atol=1e-5)
    latent, kept = model.encode(x, noise)
    torch.testing.assert_close(model.pooled(latent, kept, all_there), model.pooled(latent, kept))


def test_refusals():
    for make, message in [
        (lambda: _autoencoder("leads"), "unknown masking 'leads': choose one of random, lead, time"),
        (lambda: _autoencoder("lead", patch_size=(12, 50)), r"one patch spans all leads; .* \[1, SAMPLES\]"),
        (lambda: _autoencoder("lead", 0.97), "mask_ratio 0.97 keeps 0 of 12 rows of leads"),
        (lambda: _autoencoder("time", 0.1), "mask_ratio 0.1 keeps 4 of 4 columns in time"),
        (lambda: _autoencoder(TimePatchMasking(3)), "spans 3: mask_ratio 0.5 removes only 2 columns"),
        (lambda: TimePatchMasking(0), "spans 0: at least one"),
    ]:
        with pytest.raises(UserError, match=message):
            make()
    model = _autoencoder("time")
    with pytest.raises(ValueError, match=r"expected noise of shape \(2, 5\), got \(2, 48\)"):
        model(torch.zeros(2, 12, 200), torch.rand(2, 48))


def test_decoder_computes_hidden_patches_once_and_changes_nothing():
    torch.manual_seed(0)
    decoder = MAEDecoder(8, (2, 5), (1, 4), width=16, depth=2, heads=2).double()
    latent = torch.randn(3, 5, 8, dtype=torch.float64, requires_grad=True)
    keep = torch.stack([torch.randperm(10)[:4] for _ in range(3)])
    tokens = decoder.mask_token.expand(3, 10, 16).scatter(
        1, keep[:, :, None].expand(-1, -1, 16), decoder.embed(latent)[:, 1:]
    )
    tokens = torch.cat([decoder.embed(latent)[:, :1], tokens], dim=1) + decoder.pos_embed
    plain = decoder.pred(decoder.norm(decoder.blocks(tokens))[:, 1:])
    ours = decoder(latent, keep)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    weights = [latent, *decoder.parameters()]
    outward = torch.randn_like(plain)
    for got, wanted in zip(
        torch.autograd.grad(ours, weights, outward), torch.autograd.grad(plain, weights, outward), strict=False
    ):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
