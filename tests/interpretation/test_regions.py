"""Shares of a map in regions: by hand, with unknown places, ties and nothing to share."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcmr.interpretation.regions import (
    BEAT_LABELS,
    BEAT_REGIONS,
    IMAGE_REGIONS,
    UNKNOWN,
    Regions,
    label_beats,
    shares,
)


def test_shares_by_hand():
    maps = np.array([[[1.0, 3.0], [-5.0, 0.0]]])
    labels = np.array([[[0, 1], [2, 3]]], dtype=np.uint8)
    found = shares(maps, labels, IMAGE_REGIONS)
    np.testing.assert_allclose(found.mass[0], [0.25, 0.75, 0, 0, 0.75])
    np.testing.assert_allclose(found.area[0], [0.25, 0.25, 0.25, 0.25, 0.75])
    np.testing.assert_allclose(found.hits[0], [0, 1, 0, 0, 1])


def test_an_even_map_has_the_shares_of_the_area_in_every_measure():
    labels = np.random.default_rng(0).integers(0, 4, (3, 2, 8, 8)).astype(np.uint8)
    found = shares(np.full(labels.shape, 0.3), labels, IMAGE_REGIONS)
    np.testing.assert_allclose(found.mass, found.area)
    np.testing.assert_allclose(found.hits, found.area)


def test_what_is_unknown_counts_neither_as_mass_nor_as_area():
    maps, labels = np.array([[9.0, 1.0, 1.0]]), np.array([[UNKNOWN, 0, 1]], dtype=np.uint8)
    found = shares(maps, labels, Regions.single(("a", "b")))
    np.testing.assert_allclose(found.mass, [[0.5, 0.5]])
    np.testing.assert_allclose(found.area, [[0.5, 0.5]])


def test_a_map_without_positive_mass_and_a_recording_without_labels_are_undefined():
    maps = np.array([[-1.0, -2.0], [1.0, 1.0], [1.0, 3.0]])
    labels = np.array([[0, 1], [UNKNOWN, UNKNOWN], [0, 1]], dtype=np.uint8)
    found = shares(maps, labels, Regions.single(("a", "b")))
    assert np.isnan(found.mass[:2]).all()
    assert np.isnan(found.area[:2]).all()
    np.testing.assert_allclose(found.mass[2], [0.25, 0.75])


def test_pointing_takes_whole_places_where_they_are_given():
    smooth, square = np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[1.0, 1.0, 4.0, 4.0]])
    found = shares(smooth, np.array([[0, 0, 0, 1]], dtype=np.uint8), Regions.single(("a", "b")), square)
    np.testing.assert_allclose(found.hits, [[0.5, 0.5]])


def test_many_values_are_measured_part_by_part(monkeypatch: pytest.MonkeyPatch):
    random = np.random.default_rng(0)
    maps, labels = random.standard_normal((5, 6, 6)), random.integers(0, 4, (5, 6, 6)).astype(np.uint8)
    whole = shares(maps, labels, IMAGE_REGIONS, maps)
    monkeypatch.setattr("ecgcmr.interpretation.regions._MOST_VALUES", 40)
    parts = shares(maps, labels, IMAGE_REGIONS, maps)
    np.testing.assert_allclose(parts.mass, whole.mass)
    np.testing.assert_allclose(parts.hits, whole.hits)


@pytest.mark.parametrize("bad", [np.full((1, 2), np.nan), np.zeros((1, 3))])
def test_maps_that_are_not_finite_or_of_another_shape_are_refused(bad: np.ndarray):
    with pytest.raises(ValueError, match="not finite|labels of shape"):
        shares(bad, np.zeros((1, 2), dtype=np.uint8), Regions.single(("a",)))


def test_parts_of_the_beat_by_hand():
    first = [10, 15, 20, 25, 30, 40, 45, 50]
    without_p = [-1, -1, -1, 75, 80, 90, 95, 99]
    labels = label_beats(np.array([[first, without_p, [-1] * 8]]), 120)[0]
    named = ["" if label == UNKNOWN else BEAT_LABELS[label] for label in labels]
    expected = [""] * 10 + ["P"] * 10 + ["PR"] * 5 + ["QRS"] * 5 + ["ST"] * 10 + ["T"] * 10 + ["TP"] * 25
    expected += ["QRS"] * 5 + ["ST"] * 10 + ["T"] * 9 + [""] * 21
    assert named == expected
    assert BEAT_REGIONS.names == BEAT_LABELS


def test_beats_beyond_the_window_are_cut_off():
    labels = label_beats(np.array([[[10, 15, 20, 25, 30, 40, 45, 50]]]), 28)[0]
    assert (labels[25:28] == BEAT_LABELS.index("QRS")).all()


@pytest.mark.parametrize("beats", [0, 3])
def test_a_recording_without_marked_beats_is_unknown_and_stops_no_other(beats: int):
    one = np.full((1, beats, 8), -1, dtype=np.int64)
    assert (label_beats(one, 30) == UNKNOWN).all()
    if beats:
        marked = one.copy()
        marked[0, 0] = [2, 3, 5, 8, 11, 15, 18, 20]
        both = label_beats(np.concatenate([one, marked]), 30)
        assert (both[0] == UNKNOWN).all()
        assert (both[1] != UNKNOWN).any()
