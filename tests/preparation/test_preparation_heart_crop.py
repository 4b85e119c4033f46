from __future__ import annotations

import nibabel
import numpy as np
import pytest

from ecgcmr.preparation.heart_crop import (
    centre_from_motion,
    heart_centre,
    image_centre,
    motion_amplitude,
    published_centre,
)


def beating(centre, frames=20, shape=(150, 120), spacing=(1.5, 2.0), noise=8.0, seed=0):
    """A ring that beats at a place in mm, on a still and textured ground."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    radius = np.hypot((x - centre[0]) * spacing[0], (y - centre[1]) * spacing[1])
    ground = rng.integers(20, 250, shape).astype(float)
    cine = np.repeat(ground[None], frames, axis=0)
    for t in range(frames):
        cavity = 28 - 9 * np.sin(np.pi * t / frames) ** 2
        cine[t][radius < 40] = 80
        cine[t][radius < cavity] = 300
    return cine + rng.normal(0, noise, cine.shape)


@pytest.mark.parametrize("frames", [2, 3, 20, 50])
@pytest.mark.parametrize("centre", [(75.0, 60.0), (48.3, 70.2), (100.0, 44.0)])
def test_a_beating_ring_is_found_wherever_it_is(centre, frames):
    cine = beating(centre, 40 if frames == 2 else frames)
    cine = cine[[0, 20]] if frames == 2 else cine
    found = centre_from_motion(cine, (1.5, 2.0))
    assert found is not None
    assert np.hypot((found[0] - centre[0]) * 1.5, (found[1] - centre[1]) * 2.0) < 4


def test_one_flickering_vessel_does_not_decide():
    cine = beating((70.0, 60.0))
    cine[:, 10:14, 100:104] += 2000 * np.sin(2 * np.pi * np.arange(20) / 20)[:, None, None] ** 2
    found = centre_from_motion(cine, (1.5, 2.0))
    assert found == pytest.approx((70, 60), abs=3)


@pytest.mark.parametrize("frames", [2, 3, 8, 50])
def test_noise_alone_is_no_heart(frames):
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 300, (90, 100)).astype(float)
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(0, 10, (frames, 90, 100))
        assert centre_from_motion(picture + noise, (1.8, 1.8)) is None
    assert centre_from_motion(np.repeat(picture[None], frames, axis=0), (1.8, 1.8)) is None


def test_amplitude_is_that_of_the_first_harmonic():
    time = np.arange(24) / 24
    frames = 100 + 7 * np.cos(2 * np.pi * (time - 0.3)) + 3 * np.cos(4 * np.pi * time)
    np.testing.assert_allclose(motion_amplitude(frames[:, None, None] * np.ones((1, 2, 3))), 7, rtol=1e-4)
    np.testing.assert_allclose(motion_amplitude(np.stack([np.full((2, 2), 9), np.full((2, 2), 4)])), 5)
    with pytest.raises(ValueError, match="two frames"):
        motion_amplitude(np.ones((1, 2, 2)))


def test_fixed_places():
    # On 210 x 210 the published square covers rows 44 to 121 and columns 68 to 145.
    assert published_centre((210, 210)) == pytest.approx((106.5, 82.5))
    assert published_centre((420, 105)) == pytest.approx((213.5, 41.0))
    assert image_centre((5, 8)) == (2.0, 3.5)
    labels = np.zeros((6, 7), dtype=np.uint8)
    assert heart_centre(labels) is None
    labels[2:5, 4] = [1, 2, 3]
    assert heart_centre(labels) == (3.0, 4.0)


def test_real_hearts_are_found_from_two_phases(real_data_dir):
    away = []
    for folder in sorted((real_data_dir / "acdc").glob("patient*")):
        ed, es, labels = (nibabel.load(folder / f"{name}.nii.gz") for name in ("sa_ED", "sa_ES", "seg_sa_ED"))
        z = ed.shape[2] // 2
        spacing = tuple(float(mm) for mm in ed.header.get_zooms()[:2])
        truth = heart_centre(np.asarray(labels.dataobj)[:, :, z])
        found = centre_from_motion(np.stack([np.asarray(image.dataobj)[:, :, z] for image in (ed, es)]), spacing)
        assert found is not None
        away.append(np.hypot(*np.subtract(found, truth) * spacing))
    median, high = np.percentile(away, (50, 90))
    assert median < 12
    assert high < 25
