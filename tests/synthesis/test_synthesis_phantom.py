"""The phantom must show what the state says: volumes, mass, motion, scar and overload."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecgcmr.synthesis.phantom import LV, MYOCARDIUM, RV, PhantomOptions, render_cine, render_frames
from ecgcmr.synthesis.phantom_geometry import ANGLES, Heart, contours, ejected, segments_to_angles
from ecgcmr.synthesis.state import sample_states

SEED = 11


@pytest.fixture(scope="module")
def state():
    return sample_states(60, SEED)


def generator():
    return np.random.default_rng([SEED, 1])


def test_frames_come_with_their_own_masks(state):
    rows = [2, 9]
    frames = render_frames(state, rows, generator())
    swapped = render_frames(state, rows, generator(), phases=("ED", "ES"))
    np.testing.assert_array_equal(frames.masks[:, [2, 0]], swapped.masks)
    for row, masks in zip(rows, swapped.masks, strict=True):
        options = PhantomOptions()  # the stack's middle slice is the one of the frames
        cine = render_cine(state, row, generator(), slices=3, options=options)
        np.testing.assert_array_equal(masks[0], cine.ed_labels[:, :, 1])
        np.testing.assert_array_equal(masks[1], cine.es_labels[:, :, 1])


def _heart(**changes):
    normal = Heart(
        lv=(150.0, 60.0),
        rv=(158.0, 68.0),
        wall_volume=90.0,
        length=90.0,
        shortening=0.18,
        thickness=np.full(16, 6.0),
        circumferential=np.full(16, -0.22),
        radial=np.full(16, 0.45),
        flattening=0.0,
        ellipticity=(0.02, 0.3),
        rotation=0.0,
        crescent=(1.35, 0.17),
        papillary=(0.7, -1.1),
        papillary_radius=(4.2, 4.6),
    )
    return replace(normal, **changes)


def _disc_volumes(heart, contraction, step=0.5):
    """Cavity, wall and RV volume in mL by summing thin discs over the polar area of the contours."""
    z = np.arange(-20.0, heart.length, step) + step / 2
    cuts = contours(heart, z, np.full(len(z), contraction))
    keep = cuts.ventricular
    endo, epi, rv = (np.maximum(r[keep], 0).astype(np.float64) for r in (cuts.endo, cuts.epi, cuts.rv))
    area = [np.pi * (r**2).mean(axis=1) for r in (endo, epi, np.maximum(rv, epi))]
    cavity, whole, right = (a.sum() * step / 1000 for a in area)
    return cavity, whole - cavity, right - whole


@pytest.mark.parametrize("contraction", [0.0, 0.5, 1.0])
def test_contours_enclose_the_volumes_asked_for(contraction):
    heart = _heart()
    cavity, wall, right = _disc_volumes(heart, contraction)
    assert cavity == pytest.approx(150 - 90 * contraction, rel=0.02)
    assert wall == pytest.approx(90, rel=0.03)
    assert right == pytest.approx(158 - 90 * contraction, rel=0.05)


def test_a_scarred_segment_is_thin_and_barely_thickens():
    thickness, radial, strain = np.full(16, 6.0), np.full(16, 0.45), np.full(16, -0.22)
    scar = [0, 1, 6, 7]  # anterior and anteroseptal, basal and mid: in systole the base comes down into the slice
    thickness[scar], radial[scar], strain[scar] = 3.6, 0.05, -0.03
    cuts = contours(
        _heart(thickness=thickness, radial=radial, circumferential=strain), np.full(2, 45.0), np.array([0.0, 1.0])
    )
    wall = cuts.epi - cuts.endo
    anterior, inferior = ANGLES // 3, ANGLES * 5 // 6  # 120 degrees, within the scar, and 300, opposite
    assert wall[0, anterior] < 0.75 * wall[0, inferior]
    gain = wall[1] / wall[0]
    assert gain[anterior] < gain[inferior] - 0.2
    shortening = 1 - cuts.endo[1] / cuts.endo[0]
    assert shortening[anterior] < shortening[inferior] - 0.1


def test_an_overloaded_right_ventricle_flattens_the_septum():
    septum, free = ANGLES // 2, 0
    usual = contours(_heart(), np.array([45.0]), np.array([1.0]))
    loaded = contours(_heart(flattening=0.25), np.array([45.0]), np.array([1.0]))
    assert loaded.epi[0, septum] / loaded.epi[0, free] < 0.9 * usual.epi[0, septum] / usual.epi[0, free]


def test_segments_are_spread_to_their_own_angles():
    for segment, degrees in ((6, 90), (8, 210), (11, 30)):
        values = np.zeros(16)
        values[segment] = 1.0
        spread = segments_to_angles(values, np.array([0.5]))[0]
        assert spread.argmax() == degrees * ANGLES // 360
        assert spread.max() > 0.8
    np.testing.assert_allclose(segments_to_angles(np.ones(16), np.array([0.0, 0.4, 1.0])), 1.0)


def test_the_volume_curve_has_ejection_diastasis_and_atrial_kick():
    time = np.linspace(0, 1, 501)
    sinus, fibrillation = ejected(time, 0.36, 0.2), ejected(time, 0.36, 0.0)
    assert sinus[0] == 0
    assert time[sinus.argmax()] == pytest.approx(0.36, abs=0.003)
    assert sinus.max() == pytest.approx(1.0, abs=1e-4)
    assert sinus[-1] == pytest.approx(0.0, abs=1e-9)
    assert np.all(np.diff(sinus[time >= 0.36]) <= 1e-9)
    late = (time > 0.8) & (time < 0.98)
    assert -np.diff(sinus[late]).sum() > 3 * -np.diff(fibrillation[late]).sum()


def test_the_segmentation_measures_the_state(state):
    ratios = []
    for row in range(8):
        cine = render_cine(state, row, generator(), frames=12, options=PhantomOptions(size=96, spacing_mm=2.0))
        voxel = np.prod(cine.spacing_mm) / 1000
        true = [
            state.chambers.lv_edv[row],
            state.chambers.lv_esv[row],
            state.chambers.lv_mass[row],
            state.chambers.rv_edv[row],
            state.chambers.rv_esv[row],
        ]
        seen = [
            (cine.ed_labels == LV).sum(),
            (cine.es_labels == LV).sum(),
            (cine.ed_labels == MYOCARDIUM).sum() * 1.05,
            (cine.ed_labels == RV).sum(),
            (cine.es_labels == RV).sum(),
        ]
        ratios.append(np.array(seen) * voxel / np.array(true))
    ratios = np.array(ratios)
    np.testing.assert_allclose(ratios.mean(axis=0), 1.0, atol=0.06)
    assert np.abs(ratios - 1).max() < 0.2


def test_blood_is_bright_and_muscle_dark_in_the_middle_slice(state):
    cine = render_cine(state, 0, generator(), frames=10, options=PhantomOptions(size=96, spacing_mm=2.0))
    picture, labels = cine.volume[:, :, 5, 0].astype(float), cine.ed_labels[:, :, 5]
    assert picture[labels == LV].mean() > 1.8 * picture[labels == MYOCARDIUM].mean()
    assert picture[labels == RV].mean() > 1.8 * picture[labels == MYOCARDIUM].mean()
    assert cine.volume.shape == (96, 96, 10, 10)
    assert cine.volume.dtype == np.uint16
    assert (cine.es_labels == LV).sum() < (cine.ed_labels == LV).sum()


def test_frames_are_those_of_the_cine(state):
    options = PhantomOptions(size=64, spacing_mm=3.0)
    frames = render_frames(state, [3], generator(), options=options)
    cine = render_cine(state, 3, generator(), options=options)
    middle = cine.volume[:, :, 5].astype(float) / 160
    for picture, t in zip(frames.pictures[0], (cine.es_frame, cine.es_frame // 2, 0), strict=True):
        # The same heart and scan, other noise: a frame is closer to its own moment than noise allows elsewhere.
        assert np.abs(picture - middle[..., t]).mean() < 0.06
        assert np.corrcoef(picture.ravel(), middle[..., t].ravel())[0, 1] > 0.97
    ed, es = frames.pictures[0, 2], frames.pictures[0, 0]
    assert np.abs(ed - es).mean() > 1.2 * np.abs(ed - middle[..., 0]).mean()
    x, y = np.nonzero(cine.ed_labels[:, :, 5])
    np.testing.assert_allclose(frames.centre[0], (x.mean(), y.mean()))


def test_a_subject_does_not_depend_on_the_rows_beside_it(state):
    options = PhantomOptions(size=40, spacing_mm=4.5)
    together = render_frames(state, [4, 9, 2], generator(), options=options)
    alone = render_frames(state, [9], generator(), options=options)
    np.testing.assert_array_equal(together.pictures[1], alone.pictures[0])
    np.testing.assert_array_equal(together.centre[1], alone.centre[0])
    other = render_frames(state, [9], np.random.default_rng([SEED, 2]), options=options)
    assert not np.array_equal(other.pictures[0], alone.pictures[0])


def test_phases_choose_the_frames(state):
    options = PhantomOptions(size=40, spacing_mm=4.5)
    assert render_frames(state, [1, 2], generator(), phases=("ES", "ED"), options=options).pictures.shape == (
        2,
        2,
        40,
        40,
    )
    only = render_frames(state, [1], generator(), phases=("ED",), options=options).pictures
    assert only.dtype == np.float32
    assert only.min() >= 0


@pytest.mark.slow
def test_pictures_tell_the_phenotypes():
    """A ridge on 24 x 24 pixels must find what a reader would measure; guards against painting noise only."""
    from sklearn.linear_model import RidgeCV

    from ecgcmr.phenotypes import phenotypes
    from ecgcmr.preparation.cine import finish_frames_batch
    from ecgcmr.preparation.cine_options import CineOptions

    cohort = sample_states(500, 5)
    frames = render_frames(cohort, range(500), generator(), options=PhantomOptions(size=48, spacing_mm=4.0))
    small = finish_frames_batch(frames.pictures, frames.spacing_mm, frames.centre, CineOptions(size=24))
    x = small.reshape(500, -1) / 255.0
    names = [p.name for p in phenotypes()]
    for name in ("lv_edv", "lv_ef", "lv_mass", "rv_edv"):
        y = cohort.phenotypes[:, names.index(name)]
        fitted = RidgeCV(np.logspace(0, 4, 9)).fit(x[:400], y[:400])
        assert fitted.score(x[400:], y[400:]) > 0.6, name
