"""Named strengths of the two recipes, and how they are combined with numbers given one by one."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from ecgcmr.errors import UserError

Strength = TypeVar("Strength", bound="ECGStrength | CMRStrength")


@dataclasses.dataclass(frozen=True)
class ECGStrength:
    """Numbers of the ECG recipe; 0 switches a part off. What each means: `ECGAugmentation`."""

    phase_noise: float = 0.1
    phase_noise_probability: float = 0.5
    jitter_sigma: float = 0.25
    rescaling_sigma: float = 0.5
    lead_dropout: float = 0.0
    crop: float = 0.0
    spectrum_mask: float = 0.0
    wander: float = 0.0
    powerline: float = 0.0


@dataclasses.dataclass(frozen=True)
class CMRStrength:
    """Numbers of the CMR recipe; 0 switches a part off. What each means: `CMRAugmentation`."""

    probability: float = 0.95
    flip_probability: float = 0.5
    rotation_degrees: float = 45.0
    crop_scale: tuple[float, float] = (0.6, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.0
    gamma: float = 0.0
    blur: float = 0.0
    noise: float = 0.0


ECG_STRENGTHS = {
    "light": ECGStrength(phase_noise=0.05, jitter_sigma=0.1, rescaling_sigma=0.1),
    "medium": ECGStrength(phase_noise=0.075, jitter_sigma=0.2, rescaling_sigma=0.25, wander=0.1, powerline=0.05),
    "default": ECGStrength(),  # Turgut et al., arXiv 2308.05764, masked pre-training and alignment
    "heavy": ECGStrength(
        phase_noise=0.2,
        phase_noise_probability=0.8,
        jitter_sigma=0.4,
        lead_dropout=0.1,
        crop=0.25,
        spectrum_mask=0.25,
        wander=0.3,
        powerline=0.2,
    ),
}
"""None flips the sign or time, permutes segments or leads: what these leave is no heart's ECG."""

CMR_STRENGTHS = {
    "light": CMRStrength(rotation_degrees=20.0, crop_scale=(0.8, 1.0), brightness=0.25, contrast=0.25),  # as published
    "medium": CMRStrength(rotation_degrees=30.0, crop_scale=(0.7, 1.0), brightness=0.35, contrast=0.35, gamma=0.2),
    "default": CMRStrength(),  # Turgut et al., arXiv 2308.05764, but for saturation: see CMRAugmentation
    "heavy": CMRStrength(
        probability=1.0,
        rotation_degrees=90.0,
        crop_scale=(0.4, 1.0),
        brightness=0.7,
        contrast=0.7,
        gamma=0.5,
        blur=1.5,
        noise=0.05,
    ),
}


def chosen_strength(strengths: dict[str, Strength], name: str, explicit: dict[str, Any]) -> Strength:
    """Take a preset and put the numbers given one by one in its place.

    Args:
        strengths: Presets by name.
        name: Which one.
        explicit: Numbers by field; None = as in the preset.

    Returns:
        The strength to use.

    Raises:
        UserError: There is no preset of that name.
    """
    if name not in strengths:
        raise UserError(f"strength of an augmentation must be one of {', '.join(strengths)}, got {name!r}")
    given = {field: value for field, value in explicit.items() if value is not None}
    return dataclasses.replace(strengths[name], **given)
