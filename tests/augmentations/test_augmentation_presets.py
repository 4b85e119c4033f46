"""Presets, numbers beside them, compositions, and all of it from YAML as data modules take it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from ecgcmr.augmentations import (
    CMR_STRENGTHS,
    ECG_STRENGTHS,
    CMRAugmentation,
    Compose,
    CropResize,
    ECGAugmentation,
    FourierSurrogate,
    Gamma,
    GaussianBlur,
    ImageNoise,
    Jitter,
    OneOf,
    Rescaling,
    SignFlip,
    Sometimes,
    TimeFlip,
)
from ecgcmr.errors import UserError
from ecgcmr.row_random import RowGenerator

CHOICES = "one of light, medium, default, heavy"
DRAWN_ECG, DRAWN_CMR = [-0.33337298, 0.94613361], [0.20606631, 0.49618611]
"""One sample, one pixel, of two rows."""


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _from_yaml(text: str) -> Any:
    """Build what stands under `augmentation:` as the command line does."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--augmentation", type=Callable | None)
    return parser.instantiate(parser.parse_object(yaml.safe_load(text))).augmentation


def test_the_default_is_the_published_recipe_in_its_order() -> None:
    x = torch.rand(6, 12, 40, generator=_generator())
    one, two = RowGenerator(torch.arange(6), 1), RowGenerator(torch.arange(6), 1)
    expected = Rescaling(0.5)(Jitter(0.25)(FourierSurrogate(0.1, 0.5)(x, one), one), one)
    assert torch.equal(ECGAugmentation()(x, two), expected)
    assert ECGAugmentation(strength="default").strength == ECGAugmentation(0.1, 0.5, 0.25, 0.5, 0.0).strength
    published = {"rotation_degrees": 45.0, "crop_scale": (0.6, 1.0), "brightness": 0.5, "contrast": 0.5}
    assert CMRAugmentation(0.95, 0.5, **published).strength == CMR_STRENGTHS["default"]
    assert CMR_STRENGTHS["default"].saturation == 0.0


def test_draws_of_the_default_recipes_are_those_of_finished_runs() -> None:
    """Numbers written down when the presets came; the recipes before them gave the same."""
    x = torch.linspace(-1.0, 1.0, 2 * 3 * 8).view(2, 3, 8)
    ecg = ECGAugmentation(lead_dropout=0.2)(x, RowGenerator(torch.tensor([5, 70]), 1, 2))
    np.testing.assert_allclose(ecg[:, 1, 3].numpy(), DRAWN_ECG, rtol=0, atol=1e-6)
    image = torch.linspace(0.0, 1.0, 2 * 3 * 6 * 7).view(2, 3, 6, 7)
    cmr = CMRAugmentation(saturation=0.5)(image, RowGenerator(torch.tensor([5, 70]), 1, 2))
    np.testing.assert_allclose(cmr[:, 1, 3, 3].numpy(), DRAWN_CMR, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["ecg", "cmr"])
def test_strengths_grow(kind: str) -> None:
    shape, make = ((40, 12, 500), ECGAugmentation) if kind == "ecg" else ((40, 3, 24, 24), CMRAugmentation)
    x = torch.randn(shape, generator=_generator()).cumsum(-1) / 10 if kind == "ecg" else torch.rand(shape)
    change = {
        name: (make(strength=name)(x, RowGenerator(torch.arange(40), 1)) - x).square().mean().item()
        for name in ("light", "medium", "heavy")
    }
    assert 0 < change["light"] < change["medium"] < change["heavy"]
    presets: dict[str, Any] = ECG_STRENGTHS if kind == "ecg" else CMR_STRENGTHS
    assert set(presets) == {"light", "medium", "default", "heavy"}


@pytest.mark.parametrize("make", [ECGAugmentation, CMRAugmentation])
def test_unknown_strength_names_the_choices(make: Callable) -> None:
    with pytest.raises(UserError, match=f"{CHOICES}, got 'huge'"):
        make(strength="huge")


def test_numbers_take_the_place_of_the_presets() -> None:
    heavy = ECGAugmentation(strength="heavy", lead_dropout=0.0, jitter_sigma=0.1)
    expected = dataclasses.replace(ECG_STRENGTHS["heavy"], lead_dropout=0.0, jitter_sigma=0.1)
    assert heavy.strength == expected
    names = [type(part).__name__ for part in heavy.augmentations]
    assert names == [
        "CropResize",
        "FourierSurrogate",
        "SpecAugment",
        "Jitter",
        "Rescaling",
        "BaselineWander",
        "Powerline",
    ]
    light = CMRAugmentation(strength="light", noise=0.1, crop_scale=(0.5, 0.9))
    assert light.strength == dataclasses.replace(CMR_STRENGTHS["light"], noise=0.1, crop_scale=(0.5, 0.9))
    assert [type(part).__name__ for part in light.further] == ["ImageNoise"]
    for wrong in ({"crop": 1.5}, {"spectrum_mask": 2.0}, {"wander": -1.0}, {"powerline": float("nan")}):
        with pytest.raises(UserError, match="must"):
            ECGAugmentation(**wrong)


def test_recipes_from_yaml() -> None:
    ecg = _from_yaml("""
        augmentation:
          class_path: ecgcmr.augmentations.ECGAugmentation
          init_args: {strength: heavy, lead_dropout: 0.0}
        """)
    assert ecg.strength == dataclasses.replace(ECG_STRENGTHS["heavy"], lead_dropout=0.0)
    cmr = _from_yaml("""
        augmentation:
          class_path: ecgcmr.augmentations.CMRAugmentation
          init_args: {strength: light, crop_scale: [0.7, 1.0]}
        """)
    assert cmr.strength == dataclasses.replace(CMR_STRENGTHS["light"], crop_scale=(0.7, 1.0))
    with pytest.raises(ValueError, match=CHOICES):  # the command line takes the UserError out of it
        _from_yaml("{augmentation: {class_path: ecgcmr.augmentations.ECGAugmentation, init_args: {strength: mild}}}")


def test_composition_from_yaml() -> None:
    built = _from_yaml("""
        augmentation:
          class_path: ecgcmr.augmentations.Compose
          init_args:
            augmentations:
              - class_path: ecgcmr.augmentations.CropResize
                init_args: {scale: [0.5, 1.0], probability: 0.3}
              - class_path: ecgcmr.augmentations.Powerline
                init_args: {frequencies: [50], amplitude: [0.0, 0.1]}
              - class_path: ecgcmr.augmentations.Sometimes
                init_args:
                  probability: 0.2
                  augmentation:
                    class_path: ecgcmr.augmentations.OneOf
                    init_args:
                      weights: [2, 1]
                      augmentations:
                        - class_path: ecgcmr.augmentations.SpecAugment
                        - class_path: ecgcmr.augmentations.TimeMasking
              - class_path: ecgcmr.augmentations.ECGAugmentation
                init_args: {strength: light}
        """)
    assert isinstance(built, Compose)
    crop, line, sometimes, recipe = built.augmentations
    assert isinstance(crop, CropResize)
    assert (crop.scale, crop.probability) == ((0.5, 1.0), 0.3)
    assert line.frequencies == [50.0]
    assert isinstance(sometimes, Sometimes)
    assert sometimes.probability == 0.2
    assert isinstance(sometimes.augmentation, OneOf)
    assert sometimes.augmentation.shares == [2 / 3, 1 / 3]
    assert recipe.strength == ECG_STRENGTHS["light"]
    x = torch.rand(16, 12, 300, generator=_generator())
    assert not torch.equal(built(x, RowGenerator(torch.arange(16), 1)), x)


def test_one_of_takes_exactly_one_as_often_as_asked() -> None:
    x = torch.rand(2000, 1, 8, generator=_generator()) + 0.1
    out = OneOf([TimeFlip(1.0), SignFlip(1.0), Jitter(0.1)], [3.0, 1.0, 0.0])(x, _generator())
    flipped, negated = (out == x.flip(-1)).flatten(1).all(1), (out == -x).flatten(1).all(1)
    assert (flipped ^ negated).all()
    assert flipped.float().mean().item() == pytest.approx(0.75, abs=0.04)


def test_compose_goes_in_order_and_may_be_empty() -> None:
    x = torch.rand(3, 2, 8)
    assert Compose([])(x, _generator()) is x
    one, two = _generator(4), _generator(4)
    assert torch.equal(Compose([Jitter(), Rescaling()])(x, one), Rescaling()(Jitter()(x, two), two))


def test_image_intensities() -> None:
    x = torch.rand(300, 2, 12, 14, generator=_generator())
    exponent = (Gamma(1.0, 1.0)(x, _generator()).log() / x.log())[:, 0, 3, 4]
    assert 0.49 < exponent.min() < 0.52
    assert 1.9 < exponent.max() < 2.01
    noise = ImageNoise(0.1, 1.0)(torch.full_like(x, 0.5), _generator()) - 0.5
    level = noise.flatten(1).std(dim=1)
    assert level.min() < 0.01
    assert 0.085 < level.max() < 0.12
    noisy = ImageNoise(0.5, 1.0)(x, _generator())
    assert noisy.min() == 0.0
    assert noisy.max() == 1.0


def test_blur_is_a_gaussian() -> None:
    x = torch.zeros(2, 1, 31, 33, dtype=torch.float64)
    x[:, :, 15, 16] = 1.0
    out = GaussianBlur((1.0, 3.0)).change(x, torch.tensor([[0.0], [0.5]], dtype=torch.float64))
    for row, sigma in enumerate((1.0, 2.0)):
        distance = np.square(np.arange(31) - 15)[:, None] + np.square(np.arange(33) - 16)
        expected = np.exp(-distance / (2 * sigma**2))
        np.testing.assert_allclose(out[row, 0].numpy(), expected / expected.sum(), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        GaussianBlur((0.0, 2.0), 1.0)(torch.ones(3, 1, 5, 6), _generator()), torch.ones(3, 1, 5, 6)
    )
