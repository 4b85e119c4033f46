"""Which sampling rates augmentations were made for: seconds and Hz mean other samples in a cohort of another rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ecgcmr.augmentations.composition import parts_of
from ecgcmr.errors import UserError


@runtime_checkable
class MadeForRate(Protocol):
    """An augmentation that counts in seconds or Hz.

    Attributes:
        sampling_rate: Hz of the recordings that it expects.
    """

    sampling_rate: float


def check_rates(augmentation: Callable | None, sampling_rate: float) -> None:
    """Check that an augmentation, and all that it is made of, expects the cohort's sampling rate.

    Args:
        augmentation: Of the ECG; None is none.
        sampling_rate: Of the cohort, Hz.

    Raises:
        UserError: One expects another rate.
    """
    for part in parts_of(augmentation):
        if isinstance(part, MadeForRate) and part.sampling_rate != sampling_rate:
            name = type(part).__name__
            raise UserError(
                f"augmentation: {name} is made for {part.sampling_rate:g} Hz, the cohort's ECGs have "
                f"{sampling_rate:g} Hz; set its sampling_rate to {sampling_rate:g}"
            )
