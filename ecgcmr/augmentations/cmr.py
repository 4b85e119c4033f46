"""Augmentation of CMR batches: one affine resampling and two intensity changes for the whole batch.

All frames of a subject take the same change, so that motion between them stays what it was.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ecgcmr.augmentations.augmentation import (
    Augmentation,
    check_not_negative,
    check_probability,
    checked_range,
    full_precision,
    in_type_of,
    per_row,
)
from ecgcmr.augmentations.cmr_intensity import Gamma, GaussianBlur, ImageNoise
from ecgcmr.augmentations.presets import CMR_STRENGTHS, chosen_strength
from ecgcmr.errors import UserError
from ecgcmr.row_random import uniform


class CMRAugmentation:
    """Flip, rotation, random resized crop, brightness, contrast and saturation (Turgut et al., arXiv 2308.05764).

    A preset says how strong each is (`strength`); a number given here takes the preset's place, and 0 switches a part
    off. The preset `default` is the published recipe but for saturation. The published recipe treats the three frames
    as colours of a picture. Its saturation jitter of 0.5 therefore changes how much the frames differ, which is what
    ejection fraction is read from; it is off here unless asked for. Gamma, blur and noise befall half of the changed
    subjects each. All work in float32 (float64 images: in float64), also under autocast.

    Args:
        probability: Share of subjects changed at all.
        flip_probability: Share of those flipped left to right.
        rotation_degrees: Angles are drawn from +- this.
        crop_scale: Range of the area kept, as shares of the image.
        crop_ratio: Range of the crop's width over height, relative to the image's own.
        brightness: Factors are drawn from 1 +- this.
        contrast: Factors on the distance to the mean are drawn from 1 +- this.
        saturation: Factors on the distance of each frame to the mean over frames are drawn from 1 +- this.
        strength: Preset: light, medium, default or heavy.
        gamma: Exponents are drawn from 1 / (1 + gamma) to 1 + gamma.
        blur: Largest standard deviation of the blur in pixels.
        noise: Largest standard deviation of white noise.

    Raises:
        UserError: A number lies outside its range, or there is no preset of that name.
    """

    def __init__(
        self,
        probability: float | None = None,
        flip_probability: float | None = None,
        rotation_degrees: float | None = None,
        crop_scale: tuple[float, float] | None = None,
        crop_ratio: tuple[float, float] | None = None,
        brightness: float | None = None,
        contrast: float | None = None,
        saturation: float | None = None,
        *,
        strength: str = "default",
        gamma: float | None = None,
        blur: float | None = None,
        noise: float | None = None,
    ) -> None:
        explicit = {
            "probability": probability,
            "flip_probability": flip_probability,
            "rotation_degrees": rotation_degrees,
            "crop_scale": crop_scale,
            "crop_ratio": crop_ratio,
            "brightness": brightness,
            "contrast": contrast,
            "saturation": saturation,
            "gamma": gamma,
            "blur": blur,
            "noise": noise,
        }
        self.strength = chosen = chosen_strength(CMR_STRENGTHS, strength, explicit)
        for name in ("probability", "flip_probability", "brightness", "contrast", "saturation"):
            check_probability(f"{name} of the CMR augmentation", getattr(chosen, name))
        check_not_negative("rotation_degrees of the CMR augmentation", chosen.rotation_degrees)
        self.crop_scale = checked_range("crop_scale", chosen.crop_scale, 0.0, 1.0)
        self.crop_ratio = checked_range("crop_ratio", chosen.crop_ratio)
        if self.crop_scale[0] == 0.0 or self.crop_ratio[0] == 0.0:
            raise UserError("crop_scale and crop_ratio must start above 0")
        further: list[tuple[Augmentation, float]] = [
            (Gamma(chosen.gamma), chosen.gamma),
            (GaussianBlur((0.0, chosen.blur)), chosen.blur),
            (ImageNoise(chosen.noise), chosen.noise),
        ]
        self.further = [part for part, strength_of_part in further if strength_of_part > 0.0]

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Augment a batch.

        Args:
            x: (B, frames, height, width) float, intensities in [0, 1]; left as it is.
            generator: On the device of `x`; a `RowGenerator` draws for each subject by itself.

        Returns:
            The same shape, in [0, 1]; what lies outside the image is 0.
        """
        if len(x) == 0:  # an empty grid is refused
            return x
        # Autocast would round the grid to bfloat16: off by tenths of a pixel at 210 x 210.
        with torch.autocast(x.device.type, enabled=False):
            full = full_precision(x)
            draws = uniform(generator, full, 10).T
            theta = self._affine(draws[1:7], full.shape[2], full.shape[3])
            grid = F.affine_grid(theta, list(full.shape), align_corners=False)
            changed = F.grid_sample(full, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            changed = self._intensity(changed, draws[7:10])
            for part in self.further:
                changed = part(changed, generator)
            return torch.where(per_row(draws[0] < self.strength.probability, x), in_type_of(changed, x), x)

    def _affine(self, draws: Tensor, height: int, width: int) -> Tensor:
        """Matrices (B, 2, 3) from output to input, in coordinates from -1 to 1."""
        flip, turn, area, ratio, shift_x, shift_y = draws
        mirror = torch.where(flip < self.strength.flip_probability, -1.0, 1.0).to(draws.dtype)
        angle = (2.0 * turn - 1.0) * math.radians(self.strength.rotation_degrees)
        low, high = self.crop_scale
        side = (low + (high - low) * area).sqrt()
        low, high = math.log(self.crop_ratio[0]), math.log(self.crop_ratio[1])
        stretch = (low + (high - low) * ratio).exp().sqrt()
        scale_x, scale_y = (side * stretch).clamp(max=1.0), (side / stretch).clamp(max=1.0)
        # Up to the outermost pixel centres: beyond them an edge would fade into the padding.
        shift_x = (2.0 * shift_x - 1.0) * (1.0 - scale_x) * (1.0 - 1.0 / width)
        shift_y = (2.0 * shift_y - 1.0) * (1.0 - scale_y) * (1.0 - 1.0 / height)
        cosine, sine = angle.cos(), angle.sin()
        # Input point = R (S p + t): the crop is taken from the rotated image. Turning is rigid in pixels, so the two
        # off-diagonal terms carry the aspect of the image.
        crop_x = torch.stack([mirror * scale_x, torch.zeros_like(shift_x), shift_x], dim=-1)
        crop_y = torch.stack([torch.zeros_like(shift_y), scale_y, shift_y], dim=-1)
        aspect = height / width
        row_x = cosine[:, None] * crop_x - aspect * sine[:, None] * crop_y
        row_y = sine[:, None] / aspect * crop_x + cosine[:, None] * crop_y
        return torch.stack([row_x, row_y], dim=1)

    def _intensity(self, x: Tensor, draws: Tensor) -> Tensor:
        """Brightness, then contrast about the mean intensity, then saturation about the mean frame; clipped."""
        shape, chosen = (-1, 1, 1, 1), self.strength
        brightness, contrast, saturation = (
            (1.0 + size * (2.0 * draw - 1.0)).view(shape)
            for size, draw in zip((chosen.brightness, chosen.contrast, chosen.saturation), draws, strict=True)
        )
        x = (x * brightness).clamp_(0.0, 1.0)
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = torch.lerp(mean, x, contrast).clamp_(0.0, 1.0)
        if chosen.saturation > 0.0:
            x = torch.lerp(x.mean(dim=1, keepdim=True), x, saturation).clamp_(0.0, 1.0)
        return x
