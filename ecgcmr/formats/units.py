"""Units of voltage as ECG files spell them, all turned into millivolts."""

from __future__ import annotations

import math
import re

from ecgcmr.errors import UserError

_PREFIXES = {
    ("", ""): 1e3,
    ("m", "milli"): 1.0,
    ("u", "\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}", "micro"): 1e-3,
    ("n", "nano"): 1e-6,
}
_MILLIVOLTS = {
    unit: value
    for (*letters, word), value in _PREFIXES.items()
    for unit in (*(f"{letter}v" for letter in letters), f"{word}volt", f"{word}volts")
}
# A factor may stand before the unit, and behind it that it is per step of the converter: 4.88 uV/LSB.
_STATED = re.compile(
    r"^(?P<factor>[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[-+]?\d{1,3})?)?\s*[*x×]?\s*(?P<unit>[^\W\d_]+)"
    r"(?:\s*(?:/|per)\s*(?:lsb|bit|step|count|digit|adu))?$",
    re.IGNORECASE,
)


def millivolts_per(unit: str) -> float:
    """Return how many millivolts one of a unit is.

    V, mV, uV and nV are known, also in words, in any case; a factor may stand before them, as in ``4.88 uV`` or
    ``0.1 mV``.

    Raises:
        UserError: The unit is none of these, or its factor is not a positive number.
    """
    stated = _STATED.match(unit.strip())
    if stated is None or stated["unit"].lower() not in _MILLIVOLTS:
        raise UserError(
            f"unit {' '.join(unit.split())[:20]!r} is not a voltage; expected V, mV, uV or nV, after a factor if need "
            "be (4.88 uV)"
        )
    factor = float((stated["factor"] or "1").replace(",", "."))
    value = factor * _MILLIVOLTS[stated["unit"].lower()]
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"unit {' '.join(unit.split())[:20]!r} has a factor that is not a positive number")
    return value
