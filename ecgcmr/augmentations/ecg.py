"""The ECG recipe: the published augmentations in their order, further ones on request, strengths by name."""

from __future__ import annotations

from ecgcmr.augmentations.augmentation import Augmentation, check_probability
from ecgcmr.augmentations.composition import Compose
from ecgcmr.augmentations.ecg_amplitude import Jitter, Rescaling
from ecgcmr.augmentations.ecg_leads import LeadDropout
from ecgcmr.augmentations.ecg_noise import BaselineWander, Powerline
from ecgcmr.augmentations.ecg_spectrum import FourierSurrogate, SpecAugment
from ecgcmr.augmentations.ecg_time import CropResize
from ecgcmr.augmentations.presets import ECG_STRENGTHS, chosen_strength


class ECGAugmentation(Compose):
    """Crop, Fourier surrogate, SpecAugment, jitter, rescaling, wander, power line and lead dropout, in this order.

    A preset says how strong each is (`strength`); a number given here takes the preset's place, and 0 switches a part
    off. The preset `default` is the published recipe: Fourier surrogate, jitter, rescaling and nothing else. Crop,
    SpecAugment, wander and power line befall half of the recordings each. `Compose` makes other recipes.

    Args:
        phase_noise: Magnitude of the Fourier surrogate, a share of a full turn.
        phase_noise_probability: Share of recordings that get it.
        jitter_sigma: Multiplicative noise per sample.
        rescaling_sigma: Spread of the factor per recording.
        lead_dropout: Chance of each lead to be set to zero.
        strength: Preset: light, medium, default or heavy.
        crop: Largest share that is cropped away; what is left is stretched to the whole length.
        spectrum_mask: Share of times or frequencies that SpecAugment blanks.
        wander: Largest baseline wander, root mean square, in the unit of the signal.
        powerline: Largest amplitude of the power line, in the unit of the signal.
        sampling_rate: In Hz.

    Raises:
        UserError: A number lies outside its range, or there is no preset of that name.
    """

    def __init__(
        self,
        phase_noise: float | None = None,
        phase_noise_probability: float | None = None,
        jitter_sigma: float | None = None,
        rescaling_sigma: float | None = None,
        lead_dropout: float | None = None,
        *,
        strength: str = "default",
        crop: float | None = None,
        spectrum_mask: float | None = None,
        wander: float | None = None,
        powerline: float | None = None,
        sampling_rate: float = 500.0,
    ) -> None:
        explicit = {
            "phase_noise": phase_noise,
            "phase_noise_probability": phase_noise_probability,
            "jitter_sigma": jitter_sigma,
            "rescaling_sigma": rescaling_sigma,
            "lead_dropout": lead_dropout,
            "crop": crop,
            "spectrum_mask": spectrum_mask,
            "wander": wander,
            "powerline": powerline,
        }
        self.strength = chosen = chosen_strength(ECG_STRENGTHS, strength, explicit)
        check_probability("crop of the ECG augmentation", chosen.crop)
        parts: list[tuple[Augmentation, float]] = [
            (CropResize((max(1.0 - chosen.crop, 1e-3), 1.0)), chosen.crop),
            (
                FourierSurrogate(chosen.phase_noise, chosen.phase_noise_probability),
                chosen.phase_noise * chosen.phase_noise_probability,
            ),
            (SpecAugment(chosen.spectrum_mask), chosen.spectrum_mask),
            (Jitter(chosen.jitter_sigma), chosen.jitter_sigma),
            (Rescaling(chosen.rescaling_sigma), chosen.rescaling_sigma),
            (BaselineWander((0.0, chosen.wander), sampling_rate=sampling_rate), chosen.wander),
            (Powerline((0.0, chosen.powerline), sampling_rate=sampling_rate), chosen.powerline),
            (LeadDropout(chosen.lead_dropout), chosen.lead_dropout),
        ]
        super().__init__([part for part, strength_of_part in parts if strength_of_part > 0.0])
