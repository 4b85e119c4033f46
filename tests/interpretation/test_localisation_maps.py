"""Maps and their controls, piece by piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from encoder_cases import batch_for, build
from matplotlib.backends.backend_agg import FigureCanvasAgg
from planted_pair import SAMPLES, SIDE, TOKEN, planted_pair
from torch import nn

from ecgcmr.encoders import LocalStackEncoder
from ecgcmr.inspection.png import SCREEN_DPI
from ecgcmr.interpretation.figures.image_maps import MappedImage, draw_image_maps, draw_stack
from ecgcmr.interpretation.figures.parts import new_page
from ecgcmr.interpretation.figures.style import PAGE_MM, TITLE_POINTS
from ecgcmr.interpretation.localisation import (
    edges,
    hidden_image_places,
    hidden_leads,
    hidden_times,
    over_ecg,
    over_images,
    slopes,
)
from ecgcmr.interpretation.pair import AlignedPair
from ecgcmr.interpretation.randomisation_check import randomised_pairs, rank_correlations
from ecgcmr.interpretation.region_scores import Ratio, above_controls, entries, others, ratios
from ecgcmr.interpretation.regions import Regions, Shares
from ecgcmr.metrics.bootstrap import Resamples


@pytest.mark.parametrize(
    ("case", "stack"), [("resnet-per-frame", 5), ("resnet3d-frames", 1), ("resnet3d-phases-of-slices", 1)]
)
def test_stacks_keep_their_order_and_mean(case: str, stack: int):
    encoder = build(case)
    assert isinstance(encoder, LocalStackEncoder)
    x = batch_for(encoder, 2)
    whole = encoder.local_stack(x)
    assert whole.shape[:3] == (2, stack, encoder.feature_dim)
    torch.testing.assert_close(whole.mean(dim=1), encoder.local_features(x))
    torch.testing.assert_close(whole.mean(dim=(1, 3, 4)), encoder(x))


def test_maps_of_frames_lie_on_their_frames_and_those_of_slices_repeat_over_phases():
    frames = AlignedPair(nn.Identity(), build("resnet-per-frame"), nn.Identity(), nn.Identity())
    maps = torch.arange(5.0).reshape(1, 5, 1, 1).expand(1, 5, 2, 2)
    wide = over_images(maps, frames, (5, 8, 8))
    torch.testing.assert_close(wide[0, :, 3, 3], torch.arange(5.0))
    slices = AlignedPair(nn.Identity(), build("resnet3d-phases-of-slices"), nn.Identity(), nn.Identity())
    wide = over_images(maps, slices, (10, 8, 8))
    torch.testing.assert_close(wide[0, :5], wide[0, 5:])
    torch.testing.assert_close(wide[0, :5, 0, 0], torch.arange(5.0))


def test_rows_of_an_ecg_map_lie_on_their_leads():
    wide = over_ecg(torch.tensor([[[0.0, 0.0], [1.0, 3.0]]]), leads=4, samples=8)
    assert wide.shape == (1, 4, 8)
    assert float(wide[0, :2].abs().max()) == 0.0
    torch.testing.assert_close(wide[0, 2], wide[0, 3])
    assert float(wide[0, 2, 0]) == 1.0
    assert float(wide[0, 2, -1]) == 3.0


@torch.no_grad()
def test_what_is_hidden_costs_only_where_the_pair_reads():
    pair = planted_pair()
    image = torch.ones(1, 2, SIDE, SIDE)
    loss = hidden_image_places(pair, image, torch.zeros(2, SIDE, SIDE), 4)[0, 0, ..., 0]
    assert float(loss[:2, :2].min()) > 0.0
    assert float(loss.sum() - loss[:2, :2].sum()) == pytest.approx(0.0, abs=1e-6)
    ecg = torch.zeros(1, 12, SAMPLES)
    ecg[:, :, 100:150] = 3.0
    times = hidden_times(pair, ecg, TOKEN)[0, 0, :, 0]
    # Beside the QRS a straight line adds some of it to what is hidden: the pair then reads more, not less.
    assert set(np.flatnonzero(times > 1e-6)) <= set(range(20, 30))
    assert float(times.sum()) > 0.0
    leads = hidden_leads(pair, ecg)[0, :, 0, 0]
    assert np.flatnonzero(leads.abs() > 1e-6).tolist() == [1]


def test_a_hidden_stretch_is_a_straight_line():
    seen: list[torch.Tensor] = []

    class Watching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x[:, 0, :3]

    pair = AlignedPair(Watching(), nn.Identity(), nn.Identity(), nn.Identity())
    hidden_times(pair, torch.tensor([[[1.0, 7.0, -7.0, 4.0, 4.0, 9.0]]]), 2)
    assert [x[0, 0].tolist() for x in seen[1:]] == [
        [pytest.approx(value, abs=1e-6) for value in row]
        for row in ([-1.666667, -4.333333, -7, 4, 4, 9], [1, 7, 6, 5, 4, 9], [1, 7, -7, 4, 5.666667, 7.333333])
    ]


@pytest.mark.parametrize(("samples", "width"), [(2500, 12), (1000, 50), (103, 25), (20, 25)])
def test_hidden_stretches_lie_where_the_map_is_laid(samples: int, width: int):
    """A pair that reads one sample has the largest place of its map over that sample, however the length divides."""

    class Reads(nn.Module):
        at = 0

        def forward(self, ecg: torch.Tensor) -> torch.Tensor:
            return torch.stack([ecg[:, 0, self.at], torch.ones(len(ecg))], dim=1)

    reads, ecg = Reads(), torch.zeros(1, 12, samples)
    pair = AlignedPair(reads, nn.Identity(), nn.Identity(), nn.Identity())
    for at in {1, samples // 2, samples - samples // 3, samples - 2}:
        reads.at, spiked = at, ecg.clone()
        spiked[:, :, at] = 3.0
        losses = hidden_times(pair, spiked, width)
        assert losses.shape[2] == -(-samples // width)
        laid = over_ecg(losses.norm(dim=-1), 12, samples, smooth=False)
        assert float(laid[0, 0, at]) == float(laid.max()) > 0.0


def test_steepness_by_hand():
    image = torch.zeros(1, 1, 8, 8)
    image[..., 4:] = 1.0
    found = edges(image, (1, 4))[0, 0, 0]
    assert found.tolist() == [0.0, 2.0, 2.0, 0.0]
    ecg = torch.tensor([[[0.0, 0.0, 2.0, 2.0]]])
    assert slopes(ecg, (1, 2))[0, 0].tolist() == [1.0, 0.0]


def test_ratios_have_intervals_by_subject():
    random = np.random.default_rng(0)
    area = np.tile([0.25, 0.75], (40, 1))
    mass = np.column_stack([first := random.uniform(0.4, 0.6, 40), 1 - first])
    few = Resamples.draw(np.repeat([f"{k:03d}" for k in range(4)], 10), 300, 0)
    many = Resamples.draw([f"{k:03d}" for k in range(40)], 300, 0)
    by_four, by_forty = (Ratio.of(mass, area, resamples) for resamples in (few, many))
    np.testing.assert_allclose(by_four.value, mass.mean(axis=0) / area.mean(axis=0))
    assert (by_four.subjects, by_forty.subjects) == (4, 40)
    mass[:5] = area[:5] = np.nan
    assert Ratio.of(mass, area, many).subjects == 35


def test_differences_from_controls_are_paired():
    resamples = Resamples.draw([f"{k:03d}" for k in range(30)], 200, 0)
    shift = np.random.default_rng(1).uniform(-0.2, 0.2, (30, 1)) * [1, -1]
    area = np.full((30, 2), 0.5)
    measured = {
        ("ecg_to_image", control): Shares(0.5 + shift + [gain, -gain], area, area)
        for control, gain in ((None, 0.1), ("shuffled", 0.0))
    }
    found = ratios(measured, resamples)
    regions = {"ecg_to_image": Regions.single(("a", "b"))}
    row = next(row for row in above_controls(found, regions) if row["kind"] == "ecg_to_image" and row["region"] == "a")
    assert row["difference"] == pytest.approx(0.2)
    assert row["ci_high"] - row["ci_low"] < 1e-6  # what both share drops out
    assert len(entries(found, regions)) == 8


@pytest.mark.parametrize("counts", [[1] * 9, [3, 1, 2], [5, 1, 1], [2, 2]])
def test_everyone_is_compared_with_another_subject(counts: list[int]):
    subjects = np.repeat([f"s{k}" for k in range(len(counts))], counts)
    partner = others(subjects, np.random.default_rng(0))
    assert (subjects[partner] != subjects).all()
    if max(counts) <= len(subjects) / 2:
        assert sorted(partner) == list(range(len(subjects)))


def test_rank_correlation_by_hand():
    found = rank_correlations(
        np.array([[1, 2, 3.0], [1, 2, 3], [1, 1, 1]]), np.array([[2, 4, 9.0], [3, 2, 1], [1, 2, 3]])
    )
    np.testing.assert_allclose(found[:2], [1.0, -1.0])
    assert np.isnan(found[2])


def test_the_other_tower_stays_as_it_is_when_one_is_randomised():
    pair = AlignedPair(build("vit-mean"), build("resnet-basic"), nn.Linear(32, 4), nn.Linear(16, 4))
    parts = list(randomised_pairs(pair, "cmr", np.random.default_rng(0)))
    assert [name for name, _ in parts] == ["projection", "layer 4", "layer 3", "layer 2", "layer 1", "layer 0"]
    for _, randomised in parts:
        assert randomised.ecg_encoder is pair.ecg_encoder
        assert not torch.equal(randomised.cmr_projection.weight, pair.cmr_projection.weight)


@pytest.mark.parametrize(
    "name", ["Short", "The ECG on the image, by occlusion, 8 x 8 places, example 1", "A name " * 30]
)
def test_a_heading_fits_on_its_page(name: str):
    figure = new_page(PAGE_MM, 60.0, name)
    figure.set_dpi(SCREEN_DPI)  # as it is saved: type is wider in whole dots
    (heading,) = figure.texts
    extent = heading.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert extent.x1 <= figure.bbox.width
    assert heading.get_fontsize() <= TITLE_POINTS


def test_contours_are_promised_only_where_one_is_drawn():
    maps, images = {"published": np.ones((1, 8, 8))}, np.zeros((1, 8, 8))
    known = np.zeros((1, 8, 8), dtype=np.uint8)
    known[:, 2:5, 2:5] = 1
    for mask, drawn in ((known, True), (np.full_like(known, 255), False), (np.zeros_like(known), False), (None, False)):
        example = MappedImage(images, maps, mask, "example 1")
        for figure in (
            draw_image_maps([example], 0, "frame ED", {"published": "cosine"}),
            draw_stack(example, "published", "cosine", ["ED"]),
        ):
            assert any("true contours" in text.get_text() for text in figure.texts) == drawn
