"""Augmentations: batched, on the device, `(x, generator) -> x` with every draw from the given generator.

`ECGAugmentation` and `CMRAugmentation` are the recipes, with presets; `Compose`, `Sometimes` and `OneOf` make others.
"""

from ecgcmr.augmentations.cmr import CMRAugmentation
from ecgcmr.augmentations.cmr_intensity import Gamma, GaussianBlur, ImageNoise
from ecgcmr.augmentations.composition import Compose, OneOf, Sometimes
from ecgcmr.augmentations.ecg import ECGAugmentation
from ecgcmr.augmentations.ecg_amplitude import Jitter, Rescaling, SignFlip
from ecgcmr.augmentations.ecg_leads import LeadDropout, LeadPermutation
from ecgcmr.augmentations.ecg_noise import BaselineWander, GaussianNoise, Powerline
from ecgcmr.augmentations.ecg_spectrum import FourierSurrogate, FrequencyShift, SpecAugment, fourier_surrogate
from ecgcmr.augmentations.ecg_time import (
    CropResize,
    SegmentPermutation,
    TimeFlip,
    TimeMasking,
    TimeShift,
    Undersampling,
)
from ecgcmr.augmentations.measurements import HideMeasurements
from ecgcmr.augmentations.presets import CMR_STRENGTHS, ECG_STRENGTHS, CMRStrength, ECGStrength
