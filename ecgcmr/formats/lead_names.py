"""Names of leads as devices and tables spell them, all turned into the standard spelling.

A name that could mean something else stays as it is: ``-aVR`` is the negative of aVR, ``MLII`` has other electrodes,
``Lead 1`` of twelve is a number and not lead I.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ecgcmr.leads import LEADS

_STANDARD = {name.upper(): name for name in LEADS}
_LONGEST_NAME = 24
_MOST_LISTED = 16
_WORDS = "MDC|ECG|EKG|LEAD|ABLEITUNG|ABL|DERIVATION|DÉRIVATION|DERIVACIÓN|DERIVACION|DERIVAÇÃO|DERIV|DÉR|DER"
# A hyphen straight after the word parts it from the lead; after a space it is the minus sign of a negated lead.
_PREFIX = re.compile(rf"^(?:(?:{_WORDS})(?:[.:] ?|[_-]| )?)+")
_UNIT = r"(?:milli|micro|nano)?volts?|[muµμn]?v"
_SUFFIXES = (
    re.compile(rf"^(?P<name>.+?)[ _]?[(\[] ?(?P<unit>{_UNIT}) ?[)\]]$", re.IGNORECASE),
    re.compile(r"^(?P<name>.+?)(?:[ _]|, ?| ?/ ?)(?P<unit>[muµμn]v|(?:milli|micro|nano)volts?)$", re.IGNORECASE),
)
_SPELLINGS = (
    (re.compile(r"^(?:D[ _.-]?)?(I{1,3})$"), ""),
    (re.compile(r"^(?:A[ _.-]?)?V[ _.-]?([RLF])$"), "AV"),
    (re.compile(r"^V[ _.-]?([1-6])(?:[ _-](?:REF|WCT))?$"), "V"),
)
_NUMBERED = re.compile(r"^D[ _.-]?([123])$")


def standard_lead(name: str) -> str:
    """Return the standard spelling of a lead: ``AVR`` and ``Lead avr`` are ``aVR``, ``-aVR`` is another lead.

    An unknown name comes back on one line, shortened and without characters that a terminal would obey.
    """
    return lead_and_unit(name)[0]


def lead_and_unit(name: str) -> tuple[str, str | None]:
    """Return the standard spelling of a lead and the unit that its name states, as in ``I (mV)``.

    Args:
        name: As written.

    Returns:
        The lead; if it is none of the twelve, the name as ``standard_lead`` returns it. The unit as written, or None.
    """
    bare = shown(name)
    text, unit = bare, None
    for suffix in _SUFFIXES:
        found = suffix.match(text)
        if found:
            text, unit = found["name"], found["unit"]
            break
    lead = _known(_PREFIX.sub("", text.upper()))
    return (lead, unit) if lead else (bare[:_LONGEST_NAME], unit)


def listed(names: Sequence[str]) -> str:
    """Return what was found for a message: at most sixteen names, each shortened."""
    some = ", ".join(standard_lead(name) or "one without a name" for name in names[:_MOST_LISTED])
    return f"{some} and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else some


def shown(name: str) -> str:
    """Return a name on one line, without quotes about it and without characters that a terminal would obey."""
    line = "".join(mark if mark.isprintable() else "?" for mark in " ".join(name.split()))
    return line.strip("\"'").strip()


def _known(text: str) -> str | None:
    """Return the lead of a name in capitals without prefix and unit."""
    number = _NUMBERED.match(text)
    if number:
        return "I" * int(number[1])
    for spelling, stem in _SPELLINGS:
        found = spelling.match(text)
        if found:
            return _STANDARD[stem + found[1]]
    return None
