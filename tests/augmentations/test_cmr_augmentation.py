"""CMR augmentation: geometry checked on shapes whose answer is known, intensities, shares, refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from jsonargparse import ArgumentParser

from ecgcmr.augmentations import CMRAugmentation
from ecgcmr.errors import UserError

STILL = {
    "probability": 1.0,
    "flip_probability": 0.0,
    "rotation_degrees": 0.0,
    "crop_scale": (1.0, 1.0),
    "crop_ratio": (1.0, 1.0),
    "brightness": 0.0,
    "contrast": 0.0,
}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _augment(x: torch.Tensor, seed: int = 0, **changed) -> torch.Tensor:
    return CMRAugmentation(**{**STILL, **changed})(x, _generator(seed))


def _images(batch: int = 4, height: int = 24, width: int = 36) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=_generator(3))


def _disc(x0: float, y0: float, radius: float, height: int = 60, width: int = 90) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (((x - x0) ** 2 + (y - y0) ** 2).sqrt() < radius).float()[None, None]


def _moments(image: torch.Tensor) -> tuple[float, float, float, float]:
    """Area, centre (x, y) from the image's middle in pixels, and ratio of the spreads along x and y."""
    image = image[0, 0]
    y, x = torch.meshgrid(torch.arange(image.shape[0]), torch.arange(image.shape[1]), indexing="ij")
    area = image.sum()
    x0, y0 = (image * x).sum() / area, (image * y).sum() / area
    spread = ((image * (x - x0) ** 2).sum() / (image * (y - y0) ** 2).sum()).sqrt()
    middle_x, middle_y = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    return area.item(), (x0 - middle_x).item(), (y0 - middle_y).item(), spread.item()


def test_nothing_to_do_keeps_the_image():
    x = _images()
    torch.testing.assert_close(_augment(x), x, rtol=0, atol=1e-5)


def test_probability_zero_is_exact():
    x = _images()
    assert torch.equal(CMRAugmentation(probability=0.0)(x, _generator()), x)


def test_shares_of_subjects_changed_and_flipped():
    x = _images(1, 8, 8).expand(2000, -1, -1, -1)
    changed = (CMRAugmentation(probability=0.8)(x, _generator()) != x).flatten(1).any(dim=1)
    assert changed.float().mean().item() == pytest.approx(0.8, abs=0.03)
    out = _augment(x, flip_probability=0.5)
    flipped = (out - x.flip(3)).abs().flatten(1).amax(dim=1) < 1e-4
    still = (out - x).abs().flatten(1).amax(dim=1) < 1e-4
    assert (flipped ^ still).all()
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_rotation_is_rigid_in_pixels_of_an_oblong_image():
    """A disc stays a disc, as far from the middle as before; angles fill the range and no more."""
    disc = _disc(44.5 + 15, 29.5, 6)
    out = _augment(disc.expand(200, -1, -1, -1), rotation_degrees=45.0)
    area, x0, _, _ = _moments(disc)
    angles = []
    for image in out:
        turned_area, x1, y1, spread = _moments(image[None])
        assert turned_area == pytest.approx(area, rel=0.03)
        assert (x1**2 + y1**2) ** 0.5 == pytest.approx(x0, abs=0.3)
        assert spread == pytest.approx(1.0, abs=0.05)
        angles.append(torch.atan2(torch.tensor(y1), torch.tensor(x1)).rad2deg().item())
    assert -46 < min(angles) < -40
    assert 40 < max(angles) < 46


def test_crop_enlarges_by_the_area_it_leaves_and_stays_inside():
    disc = _disc(44.5, 29.5, 5)
    out = _augment(disc.expand(100, -1, -1, -1), crop_scale=(0.6, 0.6))
    for image in out:
        area, _, _, spread = _moments(image[None])
        assert area == pytest.approx(disc.sum().item() / 0.6, rel=0.05)
        assert spread == pytest.approx(1.0, abs=0.05)
    bright = _augment(torch.ones(100, 1, 30, 40), crop_scale=(0.6, 0.9), crop_ratio=(0.75, 1.33))
    assert bright.min() > 0.99  # no border ever comes into a crop that is not turned
    stretched = _augment(disc.expand(100, -1, -1, -1), crop_scale=(0.5, 0.5), crop_ratio=(0.5, 0.5))
    spreads = torch.tensor([_moments(image[None])[3] for image in stretched])  # some discs are cut by the border
    assert spreads.median().item() == pytest.approx(2.0, rel=0.05)


def test_frames_of_a_subject_move_together():
    x = _images(6)[:, :1].expand(-1, 3, -1, -1).contiguous()
    out = CMRAugmentation(probability=1.0)(x, _generator())
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out[:, 0], out[:, 2])


def test_intensities():
    x = 0.2 + 0.2 * _images(300)
    bright = (_augment(x, brightness=0.5) / x)[:, 0, 10, 10]
    assert 0.49 < bright.min() < 0.55
    assert 1.45 < bright.max() < 1.51
    contrast = _augment(x, contrast=0.5)
    torch.testing.assert_close(contrast.mean(dim=(1, 2, 3)), x.mean(dim=(1, 2, 3)), rtol=0, atol=1e-3)
    ratio = contrast.flatten(1).std(dim=1) / x.flatten(1).std(dim=1)
    assert 0.49 < ratio.min() < 0.55
    assert 1.45 < ratio.max() < 1.51
    saturated = _augment(x, saturation=0.5)
    torch.testing.assert_close(saturated.mean(dim=1), x.mean(dim=1), rtol=0, atol=1e-3)
    assert (saturated - x).abs().max() > 0.02


def test_stays_in_range():
    out = CMRAugmentation(probability=1.0, brightness=1.0, contrast=1.0, saturation=1.0)(_images(200), _generator())
    assert out.min() >= 0.0
    assert out.max() <= 1.0


@pytest.mark.parametrize(
    "arguments",
    [{"probability": 1.1}, {"brightness": -0.1}, {"crop_scale": (0.9, 0.6)}, {"crop_scale": (0.0, 1.0)},
     {"crop_ratio": (0.0, 1.0)}],
)  # fmt: skip
def test_refusals(arguments):
    with pytest.raises(UserError, match="must"):
        CMRAugmentation(**arguments)


@pytest.mark.parametrize("name", ["ECGAugmentation", "CMRAugmentation"])
def test_usable_by_class_path_alone(name):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--augmentation", type=Callable | None)
    config = parser.parse_object({"augmentation": {"class_path": f"ecgcmr.augmentations.{name}"}})
    built = parser.instantiate(config).augmentation
    assert type(built).__name__ == name
