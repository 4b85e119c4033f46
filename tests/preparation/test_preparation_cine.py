from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from cine_agreement import agreement_with_segmentation
from cine_zip_writer import write_cine_zip
from raw_file_writers import beating_disc, write_cine_folder
from scipy.ndimage import map_coordinates

from ecgcmr.errors import UserError
from ecgcmr.formats import read_short_axis
from ecgcmr.formats.record import ShortAxis
from ecgcmr.formats.short_axis_file import read_cmr
from ecgcmr.preparation import CineOptions, finish_frames, finish_frames_batch, frames_from_short_axis
from ecgcmr.preparation.cine_frames import choose_frames
from ecgcmr.preparation.cine_options import CINE_FRAMES, TWO_PHASE_FRAMES
from ecgcmr.preparation.heart_crop import centre_from_motion, heart_centre, published_centre
from ecgcmr.shards.layout import CMRLayout

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
    middle = np.moveaxis(cine[:, :, 2], 2, 0)
    centre = heart_centre(labels[:, :, 2, 0]) if hint != "nothing" else centre_from_motion(middle, (1.8, 1.8))
    assert centre == pytest.approx((20, 28), abs=0.5)
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
        ({"load_cine": None}, "has no cine"),
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


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"frames": ("ED",)}, "frames"),
        ({"size": 4}, "size"),
        ({"content": "some"}, "choose one of three, all, volumes"),
        ({"crop": "heart"}, "choose one of auto"),
        ({"field_of_view_mm": float("nan")}, "field of view"),
        ({"percentiles": (90.0, 10.0)}, "percentiles"),
        ({"content": "all", "phases": 1}, "1 phases"),
        ({"content": "volumes", "slices": 1}, "1 slices"),
        ({"content": "volumes", "frames": CINE_FRAMES}, "frames"),
    ],
)
def test_impossible_options_are_refused(options, reason):
    with pytest.raises(UserError, match=reason):
        CineOptions(**options)


def test_frame_names_and_slices_fit_the_layout():
    assert CineOptions().frames == CINE_FRAMES
    assert CineOptions().stored_slices == 1
    cycle = CineOptions(content="all", phases=12)
    assert (cycle.frames[0], cycle.frames[11], len(cycle.frames)) == ("t00", "t11", 12)
    volumes = CineOptions(content="volumes", slices=3)
    assert volumes.frames == ("ED-1", "ED-2", "ED-3", "ES-1", "ES-2", "ES-3")
    assert volumes.stored_slices == 3
    for options in (CineOptions(), cycle, volumes):
        layout = CMRLayout(options.frames, 96, 96, options.spacing_mm, slices=options.stored_slices)
        assert CineOptions(**{**asdict(options), "frames": layout.frames}) == options
    assert CineOptions().for_two_phases().frames == TWO_PHASE_FRAMES
    assert volumes.for_two_phases() == volumes
    assert not CineOptions().for_two_phases().needs_cine
    assert cycle.needs_cine


def test_whole_cycle_is_resampled_round_the_clock():
    cine, labels = beating_disc()
    images = ShortAxis(spacing_mm=(1.8, 1.8), ed_segmentation=labels[..., 0], load_cine=lambda: cine.astype(np.float32))
    middle = np.moveaxis(cine[:, :, 2], 2, 0).astype(float)
    same = choose_frames(images, CineOptions(content="all", phases=8)).frames
    np.testing.assert_array_equal(same, middle)
    finer = choose_frames(images, CineOptions(content="all", phases=16)).frames
    np.testing.assert_array_equal(finer[::2], middle)
    np.testing.assert_allclose(finer[1], (middle[0] + middle[1]) / 2)
    np.testing.assert_allclose(finer[15], (middle[7] + middle[0]) / 2)
    assert frames_from_short_axis(images, CineOptions(content="all", phases=5, size=32)).shape == (5, 32, 32)


def ramp_volume(offset):
    """A volume whose intensity tells slice and phase."""
    cine, labels = beating_disc(slices=5)
    return (cine[..., 0] * 0 + offset + 10 * np.arange(5)).astype(np.float32), labels[..., 0]


def test_volumes_are_spread_over_the_stack():
    (ed, labels), (es, _) = ramp_volume(100), ramp_volume(300)
    images = ShortAxis(spacing_mm=(1.8, 1.8), ed=ed, es=es, ed_segmentation=labels)
    chosen = choose_frames(images, CineOptions(content="volumes", slices=3))
    np.testing.assert_allclose(chosen.frames[:, 0, 0], [100, 120, 140, 300, 320, 340])
    between = choose_frames(images, CineOptions(content="volumes", slices=9)).frames[:9, 0, 0]
    np.testing.assert_allclose(between, 100 + 5 * np.arange(9))
    thin = ShortAxis(spacing_mm=(1.8, 1.8), ed=ed[..., :1], es=es[..., :1])
    with pytest.raises(UserError, match="1 slices, at least 2"):
        choose_frames(thin, CineOptions(content="volumes"))


def test_volumes_of_a_cine_are_end_diastole_and_end_systole():
    cine, labels = beating_disc()
    images = ShortAxis(spacing_mm=(1.8, 1.8), load_cine=lambda: cine, load_cine_segmentation=lambda: labels)
    chosen = choose_frames(images, CineOptions(content="volumes", slices=4))
    assert (chosen.end_systole, chosen.end_systole_by) == (3, "segmentation")
    expected = np.concatenate([np.moveaxis(cine[..., t], 2, 0) for t in (0, 3)])
    np.testing.assert_array_equal(chosen.frames, expected)


def test_zip_and_folder_give_the_same_frames(tmp_path):
    write_cine_folder(tmp_path / "folder")
    for name in ("sa_ED", "sa_ES", "seg_sa_ED", "seg_sa_ES"):
        (tmp_path / "folder" / f"{name}.nii.gz").unlink()
    folder = read_cmr(tmp_path / "folder")
    zipped = read_cmr(write_cine_zip(tmp_path / "1_20209_2_0.zip", folder.load_cine()))
    for options in (OPTIONS, CineOptions(content="all", phases=5), CineOptions(content="volumes", slices=3)):
        np.testing.assert_array_equal(frames_from_short_axis(zipped, options), frames_from_short_axis(folder, options))


@pytest.mark.parametrize("crop", ["segmentation", "motion", "published", "centre"])
def test_crop_is_where_it_is_asked_for(crop):
    cine, labels = beating_disc()
    images = ShortAxis(spacing_mm=(1.8, 1.8), ed_segmentation=labels[..., 0], load_cine=lambda: cine)
    chosen = choose_frames(images, CineOptions(crop=crop))
    assert chosen.crop == crop
    where = {"published": published_centre((48, 48)), "centre": (23.5, 23.5)}.get(crop, (20, 28))
    assert chosen.centre == pytest.approx(where, abs=0.5)


def test_automatic_crop_takes_what_there_is():
    cine, labels = beating_disc()
    still = np.repeat(cine[..., :1], 8, axis=3)

    def crop_of(load, segmentation):
        images = ShortAxis(spacing_mm=(1.8, 1.8), ed_segmentation=segmentation, load_cine=lambda: load)
        return choose_frames(images, CineOptions()).crop

    assert crop_of(cine, labels[..., 0]) == "segmentation"
    assert crop_of(cine, labels[..., 0] * 0) == "motion"
    assert crop_of(cine, None) == "motion"
    assert crop_of(still, None) == "published"
    for crop, reason in (("segmentation", "no segmentation"), ("motion", "nothing moves")):
        with pytest.raises(UserError, match=reason):
            choose_frames(ShortAxis(spacing_mm=(1.8, 1.8), load_cine=lambda: still), CineOptions(crop=crop))


def test_agreement_is_measured_against_the_segmentation():
    cine, labels = beating_disc(frames=12)
    with_cine = ShortAxis(spacing_mm=(1.8, 1.8), load_cine=lambda: cine, load_cine_segmentation=lambda: labels)
    two = ShortAxis(
        spacing_mm=(1.8, 1.8),
        ed=cine[..., 0].astype(np.float32),
        es=cine[..., 3].astype(np.float32),
        ed_segmentation=labels[..., 0],
    )
    agreement = agreement_with_segmentation([with_cine, two])
    assert agreement.frames.tolist() == [0]
    assert agreement.end_systole_by == ("segmentation",)
    summary = agreement.summary()
    assert summary["end_systole_n"] == 1
    assert summary["centre_n"] == 2
    assert summary["centre_mm_p90"] < 1.5
    shifted = ShortAxis(
        spacing_mm=(1.8, 1.8), load_cine=lambda: cine, load_cine_segmentation=lambda: np.roll(labels, (2, 5), (3, 0))
    )
    wrong = agreement_with_segmentation([shifted])
    assert wrong.frames.tolist() == [-2]
    assert wrong.summary()["centre_mm_median"] == pytest.approx(9, abs=1)


def test_real_two_phase_images(real_data_dir):
    from ecgcmr.formats.nifti import read_short_axis as read

    folder = sorted((real_data_dir / "acdc").glob("patient*"))[0]
    frames = frames_from_short_axis(read(folder), CineOptions(frames=TWO_PHASE_FRAMES))
    assert frames.shape == (2, 96, 96)
    assert frames.max() == 255
    assert frames.std() > 20
