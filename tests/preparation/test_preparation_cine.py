from __future__ import annotations

import numpy as np
import pytest
from raw_file_writers import beating_disc, write_cine_folder
from scipy.ndimage import map_coordinates

from ecgcmr.errors import UserError
from ecgcmr.formats import read_short_axis
from ecgcmr.formats.record import ShortAxis
from ecgcmr.preparation import CineOptions, finish_frames, finish_frames_batch, frames_from_short_axis
from ecgcmr.preparation.cine import TWO_PHASE_FRAMES, heart_centre

OPTIONS = CineOptions(size=64, field_of_view_mm=96.0)


def disc_frame(spacing, centre, radius_mm=20.0, shape=(120, 140)):
    x, y = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return (np.hypot(x - centre[0], y - centre[1]) * spacing < radius_mm).astype(float)[None] * 500


def test_linear_interpolation_on_the_wanted_grid():
    frames = np.random.default_rng(0).random((2, 90, 80)).astype(np.float32)
    options = CineOptions(size=32, field_of_view_mm=40.0, percentiles=(0, 100))  # finer than the image
    result = finish_frames(frames, 1.9, (41.3, 37.8), options).astype(float)
    offsets = (np.arange(32) - 15.5) * 1.25 / 1.9
    x, y = np.meshgrid(41.3 + offsets, 37.8 + offsets, indexing="xy")  # rows along Y, columns along X
    expected = np.stack([map_coordinates(frame, [x, y], order=1) for frame in frames])
    expected = 255 * (expected - expected.min()) / (expected.max() - expected.min())
    assert np.abs(result - expected).max() < 0.51


def test_rows_run_along_y_and_columns_along_x():
    frame = np.zeros((1, 60, 60))
    frame[0, 42:49, 27:34] = 1  # X beyond the centre, Y at the centre
    rows, columns = np.nonzero(finish_frames(frame, 1.5, (30.0, 30.0), OPTIONS)[0] > 127)
    assert rows.mean() == pytest.approx(31.5, abs=0.6)
    assert columns.mean() == pytest.approx(31.5 + 15, abs=0.6)


@pytest.mark.parametrize("spacing", [0.9, 1.8, 3.0])
def test_size_in_millimetres_does_not_depend_on_the_scanner(spacing):
    centre = (60.2, 70.7)
    result = finish_frames(disc_frame(spacing, centre), spacing, centre, OPTIONS)[0] / 255
    area = result.sum() * OPTIONS.spacing_mm**2
    assert area == pytest.approx(np.pi * 20**2, rel=0.06)
    rows, columns = np.nonzero(result > 0.5)
    assert (rows.mean(), columns.mean()) == (pytest.approx(31.5, abs=0.6), pytest.approx(31.5, abs=0.6))


def test_unequal_spacing_in_x_and_y():
    x, y = np.meshgrid(np.arange(120), np.arange(120), indexing="ij")
    frame = (np.hypot((x - 60) * 1.0, (y - 60) * 2.0) < 20).astype(float)[None]
    rows, columns = np.nonzero(finish_frames(frame, (1.0, 2.0), (60.0, 60.0), OPTIONS)[0] > 127)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)


def test_coarser_grid_averages_instead_of_skipping():
    stripes = np.tile(np.arange(200) % 2, (200, 1)).astype(float)[None] * 100
    stripes[0, :4, :] = 0
    options = CineOptions(size=16, field_of_view_mm=160.0, percentiles=(0, 100))
    inside = finish_frames(stripes, 1.0, (100.0, 100.0), options)[0][3:13, 3:13]
    assert np.ptp(inside.astype(int)) <= 12


def test_outside_the_image_is_black_and_far_outside_refused():
    result = finish_frames(np.full((1, 40, 40), 9.0), 1.5, (0.0, 0.0), OPTIONS)[0]
    assert not result[:30, :30].any()
    assert result[40:50, 40:50].min() == 255
    with pytest.raises(UserError, match="outside the image"):
        finish_frames(np.ones((1, 40, 40)), 1.5, (400.0, 0.0), OPTIONS)


def test_brightness_compares_between_frames_of_a_subject():
    frames = np.stack([np.full((50, 50), 10.0), np.full((50, 50), 30.0), np.full((50, 50), 20.0)])
    frames[0, 20:30, 20:30] = 0
    result = finish_frames(frames, 3.0, (25.0, 25.0), OPTIONS)
    assert result[1, 30, 20] > result[2, 30, 20] > result[0, 30, 20]


def test_uniform_image_gives_zeros():
    assert not finish_frames(np.full((2, 90, 90), 7.0), 1.8, (45.0, 45.0), OPTIONS).any()


def test_batch_gives_the_same_numbers():
    rng = np.random.default_rng(1)
    frames = rng.random((5, 3, 60, 50)).astype(np.float32)
    centres = rng.uniform(20, 30, (5, 2))
    spacings = rng.uniform(1.2, 2.2, 5)
    batch = finish_frames_batch(frames, spacings, centres, OPTIONS)
    for i in range(5):
        np.testing.assert_array_equal(
            batch[i], finish_frames(frames[i], float(spacings[i]), tuple(centres[i]), OPTIONS)
        )
    same = finish_frames_batch(frames, 1.8, centres, OPTIONS)
    np.testing.assert_array_equal(same, finish_frames_batch(frames, np.full((5, 2), 1.8), centres, OPTIONS))


def cavity_areas(frames):
    return [int((frame > 200).sum()) for frame in frames]


@pytest.mark.parametrize("hint", ["cine labels", "stored ES", "nothing"])
def test_end_systole_is_found_by_whatever_is_there(hint):
    cine, labels = beating_disc()
    images = ShortAxis(
        spacing_mm=(1.8, 1.8),
        es=cine[..., 3].astype(np.float32) if hint == "stored ES" else None,
        ed_segmentation=labels[..., 0] if hint != "nothing" else None,
        load_cine=lambda: cine,
        load_cine_segmentation=(lambda: labels) if hint == "cine labels" else None,
    )
    centre = heart_centre(labels[:, :, 2, 0]) if hint != "nothing" else (23.5, 23.5)
    expected = finish_frames(np.moveaxis(cine[:, :, 2, [3, 1, 0]], 2, 0), 1.8, centre, OPTIONS)
    np.testing.assert_array_equal(frames_from_short_axis(images, OPTIONS), expected)
    es, mid, ed = cavity_areas(expected)
    assert es < mid < ed


def test_crop_is_centred_on_the_segmented_heart(tmp_path):
    write_cine_folder(tmp_path)
    ed = frames_from_short_axis(read_short_axis(tmp_path), OPTIONS)[2]
    rows, columns = np.nonzero(ed > 200)
    assert (rows.mean(), columns.mean()) == (pytest.approx(31.5, abs=0.7), pytest.approx(31.5, abs=0.7))


def test_two_phases_without_a_cine(tmp_path):
    write_cine_folder(tmp_path)
    whole = frames_from_short_axis(read_short_axis(tmp_path), OPTIONS)
    two_phase = CineOptions(frames=TWO_PHASE_FRAMES, size=64, field_of_view_mm=96.0)
    (tmp_path / "sa_ED.nii.gz").rename(tmp_path / "kept")
    from_cine = frames_from_short_axis(read_short_axis(tmp_path), two_phase)
    (tmp_path / "kept").rename(tmp_path / "sa_ED.nii.gz")
    (tmp_path / "sa.nii.gz").unlink()
    result = frames_from_short_axis(read_short_axis(tmp_path), two_phase)
    assert result.shape == (2, 64, 64)
    np.testing.assert_array_equal(result, from_cine)
    assert cavity_areas(result) == [cavity_areas(whole)[0], cavity_areas(whole)[2]]
    with pytest.raises(UserError, match="no cine"):
        frames_from_short_axis(read_short_axis(tmp_path), OPTIONS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"load_cine": lambda: np.zeros((8, 8, 4))}, "needs axes"),
        ({"load_cine": lambda: np.zeros((8, 8, 4, 2))}, "at least 3 frames"),
        ({"load_cine_segmentation": lambda: np.zeros((8, 8, 4, 8), dtype=np.uint8)}, "differ in shape"),
        ({"load_cine_segmentation": lambda: np.zeros((48, 48, 4, 8), dtype=np.uint8)}, "no left ventricle"),
    ],
)
def test_unusable_cines_are_told(change, reason):
    cine, _ = beating_disc()
    images = ShortAxis(**{"spacing_mm": (1.8, 1.8), "load_cine": lambda: cine, **change})
    with pytest.raises(UserError, match=reason):
        frames_from_short_axis(images, OPTIONS)


def test_thin_stacks_can_be_refused():
    cine, _ = beating_disc(slices=7)
    images = ShortAxis(spacing_mm=(1.8, 1.8), load_cine=lambda: cine)
    assert frames_from_short_axis(images, OPTIONS).shape == (3, 64, 64)
    with pytest.raises(UserError, match="7 slices, at least 8"):
        frames_from_short_axis(images, CineOptions(min_slices=8))


def test_impossible_options_are_refused():
    with pytest.raises(UserError, match="frames"):
        CineOptions(frames=("ED",))
    with pytest.raises(UserError, match="size"):
        CineOptions(size=4)


def test_real_two_phase_images(real_data_dir):
    from ecgcmr.formats.nifti import read_short_axis as read

    folder = sorted((real_data_dir / "acdc").glob("patient*"))[0]
    frames = frames_from_short_axis(read(folder), CineOptions(frames=TWO_PHASE_FRAMES))
    assert frames.shape == (2, 96, 96)
    assert frames.max() == 255
    assert frames.std() > 20
