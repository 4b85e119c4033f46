"""Recordings made wrong in every way that must not become a confident number, from one good recording each.

``RIGHT``: the model must see what it sees of the good recording. ``REFUSED``: no model may answer. ``WARNED``: the
answer stands with a warning. ``UNSEEN``: known not to be recognised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly, square

from ecgcmr.formats.record import ECGRecord
from ecgcmr.leads import LEADS

RIGHT, REFUSED, WARNED, UNSEEN = "right", "refused", "warned", "unseen"
RATE = 500.0

Signal = NDArray[np.float64]


@dataclass(frozen=True)
class BadKind:
    """One way to be wrong.

    Attributes:
        name: In words.
        expected: What must become of it.
        make: (12, T) mV at 500 Hz and a generator -> the wrong recording.
        words: What the reason or warning must say.
    """

    name: str
    expected: str
    make: Callable[[Signal, np.random.Generator], ECGRecord]
    words: str = ""


def good_record(signal: Signal) -> ECGRecord:
    return ECGRecord(signal, LEADS, RATE)


def twelve(eight: Signal) -> Signal:
    """Return lawful leads from (8, T): I, II, V1 to V6."""
    one, two = eight[0], eight[1]
    return np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2, *eight[2:]])


def from_electrodes(signal: Signal, right: Signal, left: Signal, foot: Signal) -> Signal:
    """Return the leads that a recorder makes of what its three limb electrodes see; chest leads as they are."""
    return np.concatenate([twelve(np.stack([left - right, foot - right, *signal[6:]]))[:6], signal[6:]])


def _electrodes(signal: Signal) -> tuple[Signal, Signal, Signal]:
    """Return the potentials of right arm, left arm and left leg, but for their mean."""
    return np.zeros_like(signal[0]), signal[0], signal[1]


def _of(signal: Signal, leads: tuple[str, ...] = LEADS, rate: float = RATE) -> ECGRecord:
    return ECGRecord(signal, leads, rate)


def _pick(signal: Signal, *leads: str) -> ECGRecord:
    return _of(signal[[LEADS.index(name) for name in leads]], leads)


def _noise(signal: Signal, draw: np.random.Generator) -> ECGRecord:
    return _of(twelve(0.2 * draw.normal(size=(8, signal.shape[1]))))


def _muscle(signal: Signal, draw: np.random.Generator) -> ECGRecord:
    frequency = np.fft.rfftfreq(signal.shape[1], 1 / RATE)
    spectrum = np.where(frequency > 0.5, 1 / np.sqrt(np.maximum(frequency, 0.5)), 0.0)
    phase = np.exp(2j * np.pi * draw.random((8, len(frequency))))
    made = np.fft.irfft(spectrum * phase, n=signal.shape[1], axis=1)
    return _of(twelve(0.3 * made / made.std(axis=1, keepdims=True)))


def _wave(shape: Callable[[Signal], Signal]) -> Callable[[Signal, np.random.Generator], ECGRecord]:
    def make(signal: Signal, draw: np.random.Generator) -> ECGRecord:
        time = np.arange(signal.shape[1]) / RATE
        sizes = draw.uniform(0.5, 1.5, size=(8, 1)) * draw.choice([-1.0, 1.0], size=(8, 1))
        return _of(twelve(sizes * shape(time) + 0.003 * draw.normal(size=(8, len(time)))))

    return make


def _faster(signal: Signal, times: int) -> Signal:
    return resample_poly(np.concatenate([signal] * times, axis=1), 1, times, axis=1)[:, : signal.shape[1]]


def _slower(signal: Signal) -> Signal:
    return resample_poly(signal, 2, 1, axis=1)[:, : signal.shape[1]]


def _swap(order: tuple[int, int, int]) -> Callable[[Signal, np.random.Generator], ECGRecord]:
    def make(signal: Signal, draw: np.random.Generator) -> ECGRecord:
        potentials = _electrodes(signal)
        return _of(from_electrodes(signal, *(potentials[place] for place in order)))

    return make


def _arm_on_leg(signal: Signal, draw: np.random.Generator) -> ECGRecord:
    """The right arm's electrode on the right leg, where the potential is the left leg's."""
    _, left, foot = _electrodes(signal)
    return _of(from_electrodes(signal, foot + 0.003 * draw.normal(size=len(foot)), left, foot))


def _with(signal: Signal, change: Callable[[Signal], None]) -> Signal:
    changed = signal.copy()
    change(changed)
    return changed


def _duplicated(signal: Signal, draw: np.random.Generator) -> ECGRecord:
    return _of(_with(signal, lambda x: np.copyto(x[8], x[7])))


def _blocks(signal: Signal, draw: np.random.Generator) -> ECGRecord:
    def change(x: Signal) -> None:
        for start in range(0, x.shape[1], 1000):
            x[:, start : start + 400] = np.nan

    return _of(_with(signal, change))


def _clipped(signal: Signal, draw: np.random.Generator) -> ECGRecord:
    centre = np.median(signal, axis=1, keepdims=True)
    limit = np.maximum(0.55, 0.5 * np.abs(signal - centre).max(axis=1, keepdims=True))
    return _of(centre + np.clip(4.0 * (signal - centre), -limit, limit))


KINDS = (
    BadKind("flat", REFUSED, lambda x, g: _of(np.zeros_like(x)), "flat"),
    BadKind("white noise", REFUSED, _noise),
    BadKind("muscle noise without beats", REFUSED, _muscle),
    BadKind("square wave", REFUSED, _wave(lambda t: 0.5 * square(2 * np.pi * 1.2 * t))),
    BadKind("calibration pulses alone", REFUSED, _wave(lambda t: 1.0 * ((t % 1.0) < 0.2))),
    BadKind("hum of the mains alone", REFUSED, _wave(lambda t: np.sin(2 * np.pi * 50.0 * t))),
    BadKind("slow sine", REFUSED, _wave(lambda t: np.sin(2 * np.pi * 1.1 * t))),
    BadKind("8 s", REFUSED, lambda x, g: _of(x[:, :4000]), "lasts 8.00 s"),
    BadKind("one averaged beat", REFUSED, lambda x, g: _of(x[:, 1000:1400]), "averaged"),
    BadKind("one lead", REFUSED, lambda x, g: _pick(x, "II"), "missing"),
    BadKind("a chest lead left out", REFUSED, lambda x, g: _pick(x, *LEADS[:11]), "V6"),
    BadKind("8 leads", RIGHT, lambda x, g: _pick(x, "I", "II", *LEADS[6:])),
    BadKind("leads in another order", RIGHT, lambda x, g: _pick(x, *LEADS[::-1])),
    BadKind("microvolts as millivolts", REFUSED, lambda x, g: _of(1000.0 * x), "unit"),
    BadKind("gain x 10", REFUSED, lambda x, g: _of(10.0 * x), "gain"),
    BadKind("gain / 10", REFUSED, lambda x, g: _of(0.1 * x), "gain"),
    BadKind("25 mm/s scaled as 50", REFUSED, lambda x, g: _of(_faster(x, 2)), "too fast"),
    BadKind("50 mm/s scaled as 25", REFUSED, lambda x, g: _of(_slower(x)), "too slow"),
    BadKind("a rat's heart rate", REFUSED, lambda x, g: _of(_faster(x, 5))),
    BadKind("upside down", REFUSED, lambda x, g: _of(-x), "down"),
    BadKind("arms swapped", REFUSED, _swap((1, 0, 2)), "swapped"),
    BadKind("right arm and left leg swapped", REFUSED, _swap((2, 1, 0)), "swapped"),
    BadKind("right arm and right leg swapped", REFUSED, _arm_on_leg, "swapped"),
    BadKind("left arm and left leg swapped", UNSEEN, _swap((0, 2, 1))),
    BadKind("limb leads misnamed", REFUSED, lambda x, g: _of(x[[2, 0, 1, 3, 4, 5, *range(6, 12)]]), "fit"),
    BadKind("chest leads backwards", WARNED, lambda x, g: _of(x[[*range(6), *range(11, 5, -1)]]), "order"),
    BadKind("clipped", REFUSED, _clipped, "cut off"),
    BadKind("duplicated lead", REFUSED, _duplicated, "same signal"),
    BadKind("all leads equal", REFUSED, lambda x, g: _of(np.repeat(x[1:2], 12, axis=0)), "same signal"),
    BadKind("blocks without samples", REFUSED, _blocks, "% of the recording"),
    BadKind(
        "limb leads off",
        REFUSED,
        lambda x, g: _of(_with(x, lambda y: np.copyto(y[:6], 0.0))),
        "flat or missing",
    ),
    BadKind("a chest lead off", WARNED, lambda x, g: _of(_with(x, lambda y: np.copyto(y[9], 0.0))), "V4"),
)
