"""From a recording in whatever leads, rate and length to the cleaned (12, T) array that models see.

``standard_windows`` brings a recording to the twelve standard leads in order, at one rate and length. What cleanings
are made of is here; the cleanings themselves are in ``cleaning``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.amplitude import UNIT_DOUBT, refusal
from ecgcmr.formats.lead_names import listed
from ecgcmr.formats.record import MILLIVOLTS
from ecgcmr.preparation.gaps import lead_ranges
from ecgcmr.preparation.resampling import resample, resampling_ratio, source_margin
from ecgcmr.shards.layout import LEADS

if TYPE_CHECKING:
    from ecgcmr.formats.record import ECGRecord

LEAD_GROUPS = (slice(0, 3), slice(3, 6), slice(6, 12))
"""Leads that share one z-score: bipolar limb, augmented limb, chest."""

CLIP_DEVIATIONS = 4.0
VARIANCE_FLOOR = 1e-12

SHORT_CHOICES = ("reject", "pad")
WINDOW_CHOICES = ("first", "middle", "all")
LEAST_SHARE = 0.25
"""Of a window must be recorded for it to be padded."""
TOLERANCE = 0.005
"""Of a window may lack at its end, 25 samples of ten seconds at 500 Hz: recorders round. The last sample is held."""
AVERAGED_BEAT_SECONDS = 2.0
"""An averaged (median) beat is shorter."""
LARGEST_MV = 1000.0
"""A recorder bears electrode offsets of 300 mV (IEC 60601-2-25); what exceeds this has another unit."""

# Einthoven's and Goldberger's relations, each as lead -> ways to write it by two other limb leads (a, b, c): a X + b Y.
_DERIVATIONS: dict[str, tuple[tuple[tuple[str, float], tuple[str, float]], ...]] = {
    "I": ((("II", 1.0), ("III", -1.0)),),
    "II": ((("I", 1.0), ("III", 1.0)),),
    "III": ((("II", 1.0), ("I", -1.0)),),
    "aVR": ((("I", -0.5), ("II", -0.5)),),
    "aVL": ((("I", 0.5), ("III", -0.5)),),
    "aVF": ((("II", 0.5), ("III", 0.5)),),
}


def fill_with_zero(values: npt.NDArray[np.float64]) -> None:
    """Put 0 where a sample is missing, in place.

    Raises:
        ValueError: A value is infinite.
    """
    values[np.isnan(values)] = 0.0
    if np.isinf(values).any():
        raise ValueError("signal holds infinite values")


def clip_to_deviations(values: npt.NDArray[np.float64], scratch: npt.NDArray[np.float64], deviations: float) -> None:
    """Clip to so many standard deviations of all values together about 0, in place; ``scratch`` is overwritten."""
    np.subtract(values, values.mean(), out=scratch)
    limit = deviations * math.sqrt(np.vdot(scratch, scratch) / scratch.size)
    np.clip(values, -limit, limit, out=values)


def z_score(values: npt.NDArray[np.float64], groups: tuple[slice, ...]) -> None:
    """Bring each group of leads to mean 0 and deviation 1 over lead and time, in place; flat groups become 0."""
    for group in groups:
        part = values[group]
        part -= part.mean()
        part /= math.sqrt(np.vdot(part, part) / part.size + VARIANCE_FLOOR)


def _derive(known: dict[str, npt.NDArray[np.float64]]) -> tuple[str, ...]:
    """Add the limb leads that follow from those known (names in capitals); return the names of the added ones."""
    added = []
    # I, II, III stand first among the derivations, so that the augmented leads may rest on derived ones.
    for name, ways in _DERIVATIONS.items():
        for (a, weight_a), (b, weight_b) in ways:
            if name.upper() not in known and a.upper() in known and b.upper() in known:
                known[name.upper()] = weight_a * known[a.upper()] + weight_b * known[b.upper()]
                added.append(name)
    return tuple(added)


def _stack(known: dict[str, npt.NDArray[np.float64]], found: tuple[str, ...]) -> npt.NDArray[np.float64]:
    missing = [name for name in LEADS if name.upper() not in known]
    if missing:
        raise UserError(
            f"leads {', '.join(missing)} are missing and cannot be derived from those present; found {listed(found)}"
        )
    return np.stack([known[name.upper()] for name in LEADS])


@dataclass(frozen=True)
class StandardOptions:
    """What a recording is brought to.

    Attributes:
        samples: Samples per lead of a window.
        sampling_rate: Hz.
        short: A recording shorter than a window by more than 0.5 % is refused (``reject``), or continued to the
            window's length by missing samples, which every cleaning turns into zeros (``pad``; a quarter must be
            there). The recording starts at the window's first sample either way, where evaluation crops.
        window: Of a longer recording the ``first`` window, the one in the ``middle``, or ``all``: one after the other
            without overlap, less an incomplete last one (one that lacks 0.5 % is whole) and those without any signal.
    """

    samples: int = 5000
    sampling_rate: float = 500.0
    short: str = "reject"
    window: str = "first"

    def __post_init__(self) -> None:
        if self.samples < 1 or not self.sampling_rate > 0:
            raise ValueError(f"need samples and a rate above 0, got {self.samples} and {self.sampling_rate}")
        for name, choices in (("short", SHORT_CHOICES), ("window", WINDOW_CHOICES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r}: choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class StandardECG:
    """One window of a recording in the standard leads.

    Attributes:
        signal: (12, samples) float64 in ``unit``, NaN where nothing was recorded.
        derived: Leads computed from others, since they were not recorded.
        missing: Leads without a single sample; their signal is NaN throughout.
        held: Samples at the end that were not recorded; the last one stands for them.
        sampling_rate: In Hz.
        unit: ``mV``, or ``z-score`` where the recording came so.
    """

    signal: npt.NDArray[np.float64] = field(repr=False)
    derived: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    held: int = 0
    sampling_rate: float = 500.0
    unit: str = MILLIVOLTS

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on what was done to the recording."""
        if not self.held:
            return ()
        seconds = self.signal.shape[1] / self.sampling_rate
        samples = f"{self.held} sample{'s' if self.held > 1 else ''}"
        return (f"is {samples} short of {seconds:g} s at {self.sampling_rate:g} Hz; its last one is held",)


def standard_windows(record: ECGRecord, options: StandardOptions | None = None) -> list[StandardECG]:
    """Bring a recording to the twelve standard leads at one sampling rate and length.

    Limb leads that are absent or empty are derived where the others determine them; another sampling rate is resampled.
    A recording in z-scores has no amplitude to be judged, and none of its leads follows from others.

    Args:
        record: The recording as read.
        options: What to bring it to; None for 10 s at 500 Hz.

    Returns:
        One window, or several if all were asked for; at least one.

    Raises:
        UserError: The recording is too short, without signal, of an amplitude that only another unit explains, at an
            absurd rate, or lacks leads that cannot be derived.
    """
    options = options or StandardOptions()
    ratio = resampling_ratio(record.sampling_rate, options.sampling_rate)
    needed = math.ceil(options.samples / ratio)
    margin = source_margin(ratio) if ratio != 1 else 0
    source = record.signal
    if options.window == "first":
        source = source[:, : needed + margin]
    elif options.window == "middle" and source.shape[1] > needed + 2 * margin:
        start = (source.shape[1] - needed) // 2 - margin
        source = source[:, start : start + needed + 2 * margin]
    signal, derived = _standard_leads(source, record)
    signal, held = _fit_length(resample(signal, ratio), options)
    last = signal.shape[1] // options.samples - 1
    windows = [
        StandardECG(
            signal=part,
            derived=tuple(name for name in derived if np.isfinite(part[LEADS.index(name)]).any()),
            missing=tuple(name for name, lead in zip(LEADS, part, strict=True) if not np.isfinite(lead).any()),
            held=held if number == last else 0,
            sampling_rate=options.sampling_rate,
            unit=record.unit,
        )
        for number, part in enumerate(np.split(signal, last + 1, axis=1))
        if lead_ranges(part).any()
    ]
    if not windows:
        raise UserError("recording is empty or flat in every lead")
    return windows


def standardise_record(record: ECGRecord, samples: int = 5000, sampling_rate: float = 500.0) -> npt.NDArray[np.float64]:
    """Return the first window of a recording, (12, samples) float64 in mV, NaN where the device recorded nothing.

    See ``standard_windows``, whose errors it raises; a recording shorter than the window is refused.
    """
    return standard_windows(record, StandardOptions(samples, sampling_rate))[0].signal


def _standard_leads(
    source: npt.NDArray[np.floating], record: ECGRecord
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """Return the standard leads (12, T), NaN where nothing was recorded, and the names of those that were derived."""
    values = np.asarray(source, dtype=np.float64)
    finite = np.isfinite(values)
    if record.unit == MILLIVOLTS:
        largest = float(np.max(np.abs(values), where=finite, initial=0.0))
        if largest > LARGEST_MV:
            raise UserError(f"signal reaches {largest:.3g} mV, more than {LARGEST_MV:g} mV; its {UNIT_DOUBT}")
        implausible = refusal(values)
        if implausible is not None:
            raise UserError(implausible)
    if not finite.all():
        values = np.where(finite, values, np.nan)
    leads = {name.upper(): lead for name, lead in zip(record.leads, values, strict=True)}
    if record.unit != MILLIVOLTS:  # each lead may have been shifted and scaled for itself
        return _stack(leads, (*record.leads, *record.others)), ()
    known = {name: lead for name, lead in leads.items() if np.isfinite(lead).any()}
    derived = _derive(known)
    known = {**leads, **known}
    _derive(known)  # from leads without a sample, so without one itself
    return _stack(known, (*record.leads, *record.others)), derived


def _fit_length(signal: npt.NDArray[np.float64], options: StandardOptions) -> tuple[npt.NDArray[np.float64], int]:
    """Cut to whole windows, one window unless all are wanted, or continue a short recording.

    What lacks of a window within the tolerance is filled by holding each lead's last sample, which adds neither a step
    nor a wave; what lacks beyond, if it may, is missing samples.

    Returns:
        (12, whole windows) and the number of samples held.
    """
    length, samples = signal.shape[1], options.samples
    lacking = -length % samples
    last_is_wanted = length < samples or options.window == "all"
    if length and last_is_wanted and 0 < lacking <= math.floor(TOLERANCE * samples):
        return np.pad(signal, ((0, 0), (0, lacking)), mode="edge"), lacking
    if length < samples:
        needed = samples if options.short == "reject" else math.ceil(LEAST_SHARE * samples)
        if length < needed:
            seconds, wanted = length / options.sampling_rate, needed / options.sampling_rate
            beat = ", as an averaged (median) beat does" if seconds < AVERAGED_BEAT_SECONDS else ""
            raise UserError(f"recording lasts {seconds:.2f} s{beat}, needed are {wanted:g} s")
        return np.pad(signal, ((0, 0), (0, samples - length)), constant_values=np.nan), 0
    if options.window == "all":
        return signal[:, : length - length % samples], 0
    start = (length - samples) // 2 if options.window == "middle" else 0
    return signal[:, start : start + samples], 0
