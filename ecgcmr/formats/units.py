"""Units of voltage as ECG files spell them, all turned into millivolts."""

from __future__ import annotations

from ecgcmr.errors import UserError

_MILLIVOLTS = {
    "v": 1e3,
    "volt": 1e3,
    "volts": 1e3,
    "mv": 1.0,
    "millivolt": 1.0,
    "millivolts": 1.0,
    "uv": 1e-3,
    "\N{MICRO SIGN}v": 1e-3,
    "\N{GREEK SMALL LETTER MU}v": 1e-3,
    "microvolt": 1e-3,
    "microvolts": 1e-3,
    "nv": 1e-6,
    "nanovolt": 1e-6,
    "nanovolts": 1e-6,
}


def millivolts_per(unit: str) -> float:
    """Return how many millivolts one of a unit is; V, mV, uV and nV are known, also in words, in any case.

    Raises:
        UserError: The unit is none of these.
    """
    try:
        return _MILLIVOLTS[unit.strip().lower()]
    except KeyError:
        stated = " ".join(unit.split())[:20]
        raise UserError(f"unit {stated!r} is not a voltage; expected V, mV, uV or nV") from None
