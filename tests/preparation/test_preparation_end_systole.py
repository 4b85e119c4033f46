from __future__ import annotations

import numpy as np
import pytest
from raw_file_writers import beating_disc

from ecgcmr.preparation.end_systole import find_end_systole
from ecgcmr.preparation.heart_crop import centre_from_motion, heart_centre
from ecgcmr.synthesis.phantom import render_cine
from ecgcmr.synthesis.state import sample_states

SPACING = (1.8, 1.8)


def disc_cine(frames=30, systole=11, seed=0, noise=15.0, aorta=True):
    """A cavity that shrinks until ``systole``, and a bright vessel that does not."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(80), np.arange(70), indexing="ij")
    cine = np.full((frames, 80, 70), 30.0)
    cine[:, np.hypot(x - 45, y - 60) < 6] = 400.0 if aorta else 30.0
    for t in range(frames):
        inner = 14 - 6 * np.sin(np.pi * min(t / systole, 1 + (t - systole) / (frames - systole)) / 2) ** 2
        radius = np.hypot(x - 38, y - 33)
        cine[t][radius < 20] = 90
        cine[t][radius < inner] = 400
    return cine + rng.normal(0, noise, cine.shape)


@pytest.mark.parametrize(("frames", "systole"), [(50, 18), (30, 11), (25, 10), (12, 5), (80, 38)])
def test_smallest_pool_is_found_whatever_the_sampling(frames, systole):
    found = find_end_systole(disc_cine(frames, systole), SPACING, (38, 33))
    assert abs(found.frame - systole) <= max(1, frames // 40)
    assert found.area_mm2.shape == (frames,)
    assert found.area_mm2[0] == pytest.approx(np.pi * 14**2 * 1.8**2, rel=0.06)
    assert found.area_mm2[found.frame] == pytest.approx(np.pi * 8**2 * 1.8**2, rel=0.12)


def test_pool_is_the_beating_one_and_not_the_brighter_still_one():
    cine = disc_cine()
    cine[:, 50:56, 20:50] = 900.0
    found = find_end_systole(cine, SPACING, (44, 33))
    assert found.pool[38, 33]
    assert abs(found.frame - 11) <= 1


def test_a_segmented_cavity_is_used_as_it_is():
    cine, labels = beating_disc(frames=16)
    frames = np.moveaxis(cine[:, :, 2], 2, 0)
    found = find_end_systole(frames, SPACING, (20, 28), labels[:, :, 2, 0] == 1)
    assert found.frame == 3
    assert found.pool[labels[:, :, 2, 0] == 1].all()
    assert found.pool.sum() < 1.8 * (labels[:, :, 2, 0] == 1).sum()


def test_nothing_bright_still_gives_a_frame_within_the_cycle():
    frames = np.random.default_rng(0).normal(100, 1, (20, 30, 30))
    found = find_end_systole(frames, SPACING, (200.0, 200.0))
    assert 0 < found.frame < 20
    assert not find_end_systole(np.full((20, 30, 30), 7), SPACING, (15, 15)).area_mm2.any()
    with pytest.raises(ValueError, match="three frames"):
        find_end_systole(frames[:2], SPACING, (15, 15))


def test_agrees_with_the_truth_of_synthetic_hearts():
    state = sample_states(12, seed=5)
    differences = []
    for row in range(12):
        cine = render_cine(state, row, np.random.default_rng(1), slices=1)
        frames = np.moveaxis(cine.volume[:, :, 0], 2, 0)
        centre = centre_from_motion(frames, SPACING)
        assert centre is not None
        truth = heart_centre(cine.ed_labels[..., 0])
        assert np.hypot(*np.subtract(centre, truth)) * 1.8 < 12
        differences.append(abs(find_end_systole(frames, SPACING, centre).frame - cine.es_frame))
    assert max(differences) <= 1
