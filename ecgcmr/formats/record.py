"""Typed records that the readers of this room return, whatever the file format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.amplitude import UNIT_DOUBT, remark
from ecgcmr.formats.limits import check_rate, check_size

_USUAL_SECONDS = 10.0
_SUSPICIOUS_MV = 1e3  # a converter of 16 bits and 5 uV a step reaches 164 mV
_IMPOSSIBLE_MV = 1e6
MILLIVOLTS, Z_SCORE = UNITS = ("mV", "z-score")
"""What the numbers of a recording may be."""
UNNAMED = "unnamed"
"""What a lead without a name is called, with its number."""


def quality_notes(signal: npt.NDArray[np.float64], leads: tuple[str, ...]) -> tuple[str, ...]:
    """Remark on leads that are flat or partly missing.

    Args:
        signal: (leads, T), NaN where nothing was recorded.
        leads: Names of the leads.
    """
    notes = []
    for name, values in zip(leads, signal, strict=True):
        missing = int(np.count_nonzero(np.isnan(values)))
        if missing:
            notes.append(f"lead {name} lacks {missing} of {values.size} samples")
        if missing < values.size and np.nanmax(values) == np.nanmin(values):
            notes.append(f"lead {name} is flat")
    return tuple(notes)


@dataclass(frozen=True)
class ECGRecord:
    """One ECG recording as read, without anything about the person.

    Attributes:
        signal: (leads, T) float64 in ``unit``; NaN where the device recorded nothing.
        leads: Lead names in the order of ``signal``, standard spelling where known (``aVR``, ``V1``).
        sampling_rate: In Hz.
        notes: Remarks on the recording's quality, such as ``lead V3 is flat``; nothing about the person.
        others: Names of what else the file holds and was not read, such as signals that are no voltages.
        unit: ``mV``, or ``z-score`` of a recording whose millivolts its publisher has taken away; thresholds in mV mean
            nothing there.
        format: Of the file, such as ``GE MUSE XML``, or the reader's name; empty where it was read from none.
    """

    signal: npt.NDArray[np.float64]
    leads: tuple[str, ...]
    sampling_rate: float
    notes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    unit: str = MILLIVOLTS
    format: str = ""


def ecg_record(
    signal: npt.NDArray[np.float64],
    leads: tuple[str, ...],
    sampling_rate: float,
    notes: tuple[str, ...] = (),
    others: tuple[str, ...] = (),
    unit: str = MILLIVOLTS,
) -> ECGRecord:
    """Build a record that keeps what ``ECGRecord`` promises, and remark on its quality.

    Args:
        signal: (leads, T) in the unit, NaN where nothing was recorded.
        leads: Names, standard spelling where known; empty where the file has none.
        sampling_rate: In Hz.
        notes: Remarks of the reader.
        others: Names of what was not read.
        unit: ``mV`` or ``z-score``; of the latter no amplitude is checked.

    Raises:
        UserError: Empty or too large, no lead with a name, a lead twice, an infinite or impossible value, no value at
            all, or a rate out of bounds.
    """
    check_size(*signal.shape)
    check_rate(sampling_rate)
    leads = _named(leads)
    for position, name in enumerate(leads):
        if name in leads[:position]:
            raise UserError(f"holds lead {name} twice")
    if np.isinf(signal).any():
        raise UserError("holds an infinite value")
    largest = np.nanmax(np.abs(signal), initial=0.0)
    is_voltage = unit == MILLIVOLTS
    if is_voltage and largest > _IMPOSSIBLE_MV:
        raise UserError(f"reaches {largest:.3g} mV: the unit or the gain is wrong")
    if np.isnan(signal).all():
        raise UserError("holds no samples")
    seconds = signal.shape[1] / sampling_rate
    remarks = list(notes)
    if abs(seconds - _USUAL_SECONDS) > 0.5 / sampling_rate:
        remarks.append(f"lasts {seconds:.4g} s, not {_USUAL_SECONDS:g} s")
    if is_voltage and largest > _SUSPICIOUS_MV:
        remarks.append(f"reaches {largest:.3g} mV, so the {UNIT_DOUBT}")
    unusual = remark(signal) if is_voltage else None
    if unusual is not None:
        remarks.append(unusual)
    return ECGRecord(signal, leads, float(sampling_rate), (*remarks, *quality_notes(signal, leads)), others, unit)


def _named(leads: tuple[str, ...]) -> tuple[str, ...]:
    """Number the leads without a name; such a recording is of use only if others have one."""
    if not any(leads):
        raise UserError(f"does not name its {len(leads)} signals, so that nobody knows which leads they are")
    return tuple(name or f"{UNNAMED} {number}" for number, name in enumerate(leads, 1))


@dataclass(frozen=True)
class ShortAxis:
    """The short-axis images of one subject, axes in the order of the file: X (columns), Y (rows), Z (slices), T.

    Attributes:
        spacing_mm: Pixel size in X and Y.
        ed: (X, Y, Z) float32, the end-diastolic volume; None if there is only a cine.
        es: (X, Y, Z) float32, the end-systolic volume, if there is a file of its own.
        ed_segmentation: (X, Y, Z) uint8, 1 LV cavity, 2 LV myocardium, 3 RV cavity; None if there is none.
        es_segmentation: As ``ed_segmentation`` for end-systole.
        load_cine: Reads the (X, Y, Z, T) cine in its stored type (tens of megabytes), frame 0 at the R wave unless
            ``ed_frame`` or ``starts_at_ed`` says otherwise; None if there is no cine.
        load_cine_segmentation: Reads the (X, Y, Z, T) uint8 segmentation of the cine; None if there is none.
        ed_frame: Frame of the cine at end-diastole where somebody states it, from 0; it need not be the first.
        es_frame: The same of end-systole.
        starts_at_ed: Whether the cine begins at end-diastole where no frame is stated; else end-diastole is the frame
            that ``ed`` is a copy of.
        slice_mm: Distance of neighbouring slices; None where the files do not say it.
    """

    spacing_mm: tuple[float, float]
    ed: npt.NDArray[np.float32] | None = None
    es: npt.NDArray[np.float32] | None = None
    ed_segmentation: npt.NDArray[np.uint8] | None = None
    es_segmentation: npt.NDArray[np.uint8] | None = None
    load_cine: Callable[[], npt.NDArray] | None = field(default=None, repr=False)
    load_cine_segmentation: Callable[[], npt.NDArray[np.uint8]] | None = field(default=None, repr=False)
    ed_frame: int | None = None
    es_frame: int | None = None
    starts_at_ed: bool = True
    slice_mm: float | None = None
