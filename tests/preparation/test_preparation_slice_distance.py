"""Slices of a volume at a fixed distance: where they lie, what stands beyond the stack, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cine_zip_writer import write_cine_zip
from raw_file_writers import beating_disc, write_cine_folder

from ecgcmr.errors import UserError
from ecgcmr.formats.record import ShortAxis
from ecgcmr.formats.short_axis_file import read_cmr
from ecgcmr.preparation import CineOptions, finish_frames
from ecgcmr.preparation.cine import frames_and_masks
from ecgcmr.preparation.cine_frames import choose_frames
from ecgcmr.preparation.cohort_layout import cohort_layout
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.stack_slices import slice_positions
from ecgcmr.shards.layout import MASK_UNKNOWN
from ecgcmr.shards.recipe import compare_recipes


def options(slices: int = 6, distance: float | None = 10.0, **more: Any) -> CineOptions:
    return CineOptions(content="volumes", slices=slices, slice_distance_mm=distance, **more)


@pytest.mark.parametrize(
    ("count", "slice_mm", "expected"),
    [
        (4, 10.0, [0, 1, 2, 3, np.nan, np.nan]),  # taken as they are
        (8, 5.0, [0.5, 2.5, 4.5, 6.5, np.nan, np.nan]),  # each between two
        (3, 20.0, [0, 0.25, 0.75, 1.25, 1.75, 2.0]),  # the outer ones at the edge
    ],
)
def test_slices_lie_where_a_resampled_stack_has_them(count: int, slice_mm: float, expected: list[float]) -> None:
    np.testing.assert_allclose(slice_positions(count, slice_mm, options()), expected)


def test_beyond_the_stack_is_black_and_counts_in_no_percentile() -> None:
    cine, labels = beating_disc(slices=4)
    stack: dict[str, Any] = {"load_cine": lambda: cine, "load_cine_segmentation": lambda: labels}
    images = ShortAxis(spacing_mm=(1.8, 1.8), slice_mm=10.0, **stack)
    chosen = choose_frames(images, options())
    of_phases = chosen.frames.reshape(2, 6, *chosen.frames.shape[1:])
    np.testing.assert_array_equal(of_phases[0, :4], np.moveaxis(cine[..., 0], 2, 0))
    assert (of_phases[:, 4:] == 0).all()
    made = frames_and_masks(images, options())
    whole = finish_frames(of_phases[:, :4].reshape(8, *cine.shape[:2]), 1.8, chosen.centre, options())
    np.testing.assert_array_equal(made.frames.reshape(2, 6, 96, 96)[:, :4].reshape(whole.shape), whole)
    assert made.masks is not None
    masks = made.masks.reshape(2, 6, 96, 96)
    assert (masks[:, 4:] == MASK_UNKNOWN).all()
    assert (masks[:, :4] != MASK_UNKNOWN).all()


def test_the_distance_is_read_from_either_kind_of_file(tmp_path: Path) -> None:
    write_cine_folder(tmp_path / "folder")
    folder = read_cmr(tmp_path / "folder")
    assert folder.load_cine is not None
    zipped = read_cmr(write_cine_zip(tmp_path / "1_20209_2_0.zip", folder.load_cine()))
    assert (folder.slice_mm, zipped.slice_mm) == (8.0, 10.0)


@pytest.mark.parametrize(
    ("slice_mm", "slices", "message"),
    [
        (None, 6, "does not say how far its slices lie apart"),
        (10.0, 3, "its stack has room for 4 slices 10 mm apart, more than the 3 that are stored"),
    ],
)
def test_a_stack_that_cannot_be_cut_so_is_refused(slice_mm: float | None, slices: int, message: str) -> None:
    cine, _ = beating_disc(slices=4)
    images = ShortAxis(spacing_mm=(1.8, 1.8), slice_mm=slice_mm, load_cine=lambda: cine)
    with pytest.raises(UserError, match=message):
        choose_frames(images, options(slices))


def test_options_that_do_not_go_together_are_named() -> None:
    with pytest.raises(UserError, match="content 'three' has one slice; choose volumes"):
        CineOptions(slice_distance_mm=10.0)
    with pytest.raises(UserError, match="slice distance 0.5 mm: choose 1 to 50"):
        options(distance=0.5)


def test_a_cohort_says_its_distance_and_one_from_before_stays_as_it_was(tmp_path: Path) -> None:
    recipes = []
    for distance in (None, 10.0):
        cine = options(distance=distance)
        layout = cohort_layout(PrepareOptions(out=tmp_path, cine=cine), cine, (), {})
        recipes.append(dict(layout.preparation["cmr"]))
    assert "slice_distance_mm" not in recipes[0]
    assert recipes[1]["slice_distance_mm"] == 10.0
    assert compare_recipes(recipes[0], recipes[0], "cmr").differences == ()
    [difference] = compare_recipes(recipes[0], recipes[1], "cmr").differences
    assert difference == "distance of slices (mm) spread over the stack -> 10.0"
