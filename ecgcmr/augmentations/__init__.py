"""Augmentations: batched, on the device, `(x, generator) -> x` with every draw from the given generator."""

from ecgcmr.augmentations.cmr import CMRAugmentation
from ecgcmr.augmentations.ecg import (
    ECGAugmentation,
    FourierSurrogate,
    Jitter,
    LeadDropout,
    Rescaling,
    fourier_surrogate,
)

__all__ = [
    "CMRAugmentation",
    "ECGAugmentation",
    "FourierSurrogate",
    "Jitter",
    "LeadDropout",
    "Rescaling",
    "fourier_surrogate",
]
