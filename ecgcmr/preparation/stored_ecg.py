"""The last step of an ECG's preparation, which cohorts and models share: cleaned, in the type of storage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.preparation.ecg import StandardECG


def stored_ecg(window: StandardECG, cleaning: Cleaning, dtype: str) -> npt.NDArray:
    """Clean a window and bring it to the type of storage.

    Args:
        window: In the standard leads, mV.
        cleaning: What is done to it.
        dtype: ``float16`` or ``float32``.

    Returns:
        (12, samples) in the cleaning's unit.

    Raises:
        UserError: A value is larger than the type holds.
    """
    cleaned = cleaning(window.signal, window.sampling_rate)
    largest = float(np.finfo(dtype).max)
    if not np.all(np.abs(cleaned) <= largest):
        raise UserError(f"cleaned signal exceeds {largest:g} {cleaning.unit}; the recording's unit may be wrong")
    return cleaned.astype(dtype)
