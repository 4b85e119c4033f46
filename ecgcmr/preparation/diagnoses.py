"""Dated diagnoses to labels: prevalent, incident or ever, and the time to the event or to the end of follow-up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TypeVar

from ecgcmr.formats.table_dates import SPECIAL_DATES, parse_date, split_joined
from ecgcmr.preparation.diseases import DISEASES, Disease, clean_code

CODES, CODE_DATES, VISIT_DATE, DEATH, LOST = 41270, 41280, 53, 40000, 191
FIRST_OCCURRENCE = {131306: "I259", 131350: "I489", 130708: "E119"}
"""Fields that hold the date on which I25, I48 or E11 was first recorded anywhere, and the unspecified code of each."""

JOINED_FIELDS = (CODES, CODE_DATES)
DIAGNOSIS_DATES = (CODE_DATES, *FIRST_OCCURRENCE)
DATE_FIELDS = (*DIAGNOSIS_DATES, VISIT_DATE, DEATH, LOST)
HISTORY_FIELDS = (*JOINED_FIELDS, VISIT_DATE, DEATH, LOST, *FIRST_OCCURRENCE)

DAYS_PER_YEAR = 365.25


@dataclass(slots=True)
class History:
    """What the tables say about one subject, a row of a table after the other.

    A code and its date belong together by their array index within a row: another export has another order. Only
    codes without any date, and dates without any code, are paired over rows and tables.

    Attributes:
        complete: Whether the list of all hospital diagnoses is there, so that a code's absence means something.
        dated: ICD-10 code -> date of its first diagnosis, None if it is unknown.
        first: Code and date from first-occurrence fields.
        imaging: Day of the visit.
        death: Day of death.
        lost: Day on which the subject was lost to follow-up.
    """

    complete: bool = False
    dated: dict[str, date | None] = field(default_factory=dict)
    first: list[tuple[str, date | None]] = field(default_factory=list)
    imaging: date | None = None
    death: date | None = None
    lost: date | None = None
    _codes: dict[int, str] = field(default_factory=dict)
    _dates: dict[int, date | None] = field(default_factory=dict)
    _loose_codes: dict[int, str] = field(default_factory=dict)
    _loose_dates: dict[int, date | None] = field(default_factory=dict)

    def add(self, number: int, text: str, unreadable: Counter[str], newest: date | None = None) -> int:
        """Add one value of a row; of several, the first date of a visit and the earliest death or loss stand.

        Args:
            number: One of ``HISTORY_FIELDS``.
            text: Its text; values of ``JOINED_FIELDS`` joined by ``|``.
            unreadable: Texts that are no date are counted here, by field.
            newest: The newest day that a date can be; a later one is unknown.

        Returns:
            1 if it is another day of imaging than the one that stands.
        """
        if number == CODES:
            self._codes |= {i: clean_code(code) for i, code in enumerate(split_joined(text)) if code}
            return 0
        if number == CODE_DATES:
            for i, part in enumerate(split_joined(text)):
                if part:
                    self._dates[i] = _known_date(part, number, unreadable, newest)
            return 0
        when = _known_date(text, number, unreadable, newest)
        if number == VISIT_DATE:
            differs = bool(when and self.imaging and when != self.imaging)
            self.imaging = self.imaging or when
            return int(differs)
        if number == DEATH:
            self.death = _earlier(self.death, when)
        elif number == LOST:
            self.lost = _earlier(self.lost, when)
        else:
            self.first.append((FIRST_OCCURRENCE[number], when))
        return 0

    def end_row(self) -> dict[int, int]:
        """Take over the codes and dates of a row; the first known date of a code stands.

        Returns:
            Field -> how many of its values differ from the one that stands.
        """
        codes, dates = self._codes, self._dates
        self._codes, self._dates = {}, {}
        if codes and dates:
            return {CODE_DATES: self._add_pairs(codes, dates)}
        differing = sum(self._loose_codes.setdefault(i, code) != code for i, code in codes.items())
        late = sum(not _stands(self._loose_dates, i, when) for i, when in dates.items())
        return {CODES: differing, CODE_DATES: late}

    def _add_pairs(self, codes: dict[int, str], dates: dict[int, date | None]) -> int:
        known, differing = set(self.dated), 0
        for i, code in codes.items():
            when = dates.get(i)
            if code in known:
                differing += not _stands(self.dated, code, when)
            elif code in self.dated:  # twice in a row: it began with the earlier, if both are known
                self.dated[code] = None if None in (when, self.dated[code]) else _earlier(when, self.dated[code])
            else:
                self.dated[code] = when
        return differing

    def forget_before_birth(self, age: float) -> int:
        """Take dates before birth as unknown.

        Args:
            age: In years on the day of imaging; NaN if unknown, by which nothing is forgotten.

        Returns:
            How many dates of diagnoses there were before birth.
        """
        if self.imaging is None or not age >= 0:
            return 0
        born = self.imaging - timedelta(days=math.ceil((age + 1) * DAYS_PER_YEAR))
        count = _forget_before(self.dated, born) + _forget_before(self._loose_dates, born)
        count += sum(when is not None and when < born for _, when in self.first)
        self.first = [(code, None if when is not None and when < born else when) for code, when in self.first]
        return count

    @property
    def ends_before_imaging(self) -> list[int]:
        """Fields of an end of follow-up (death, loss) that lies before imaging, and so does not count."""
        ends = ((DEATH, self.death), (LOST, self.lost))
        return [number for number, day in ends if day is not None and self.imaging is not None and day < self.imaging]

    @property
    def diagnoses(self) -> Iterator[tuple[str, date | None]]:
        """All codes with their dates, None where a date is unknown."""
        together = dict(self.dated)
        for i, code in self._loose_codes.items():
            _stands(together, code, self._loose_dates.get(i))
        yield from together.items()
        yield from self.first

    def end_of_follow_up(self, censoring: date | None) -> date | None:
        """Return the earliest of death, loss and censoring, None if none is known.

        Death or loss before the day of imaging contradicts the visit and does not count.

        Args:
            censoring: Last day up to which diagnoses of any subject are known.
        """
        ends = [day for day in (self.death, self.lost) if day and not (self.imaging and day < self.imaging)]
        return min([*ends, *([censoring] if censoring else [])], default=None)


_Key = TypeVar("_Key", int, str)


def _stands(known: dict[_Key, date | None], key: _Key, when: date | None) -> bool:
    """Add a date where none is known yet; return False if another one stands."""
    if known.get(key) is None:
        known[key] = when
    return when is None or known[key] == when


def _forget_before(known: dict[_Key, date | None], born: date) -> int:
    early = [key for key, when in known.items() if when is not None and when < born]
    known.update(dict.fromkeys(early))
    return len(early)


def _known_date(text: str, number: int, unreadable: Counter[str], newest: date | None = None) -> date | None:
    when = parse_date(text)
    if when is None:
        unreadable[str(number)] += 1
        return None
    return None if when in SPECIAL_DATES or (newest is not None and when > newest) else when


def _earlier(one: date | None, other: date | None) -> date | None:
    return min((day for day in (one, other) if day is not None), default=None)


def disease_labels(
    diagnoses: Iterable[tuple[str, date | None]],
    imaging: date | None,
    *,
    diseases: Sequence[Disease] = DISEASES,
    end: date | None = None,
) -> dict[str, float]:
    """Label each disease as prevalent, incident and ever from dated diagnoses, and tell the time at risk.

    - Prevalent: the first date is on or before the day of imaging.
    - Incident: it is after, among those without the disease at imaging (prevalent cases are missing, not negative:
      they are not at risk).
    - Ever: any diagnosis up to the end of follow-up.
    - Years: from imaging to the first diagnosis of an incident case, to the end of follow-up of those without one,
      missing for all others.

    What was recorded after the end of follow-up is not counted. A disease known only by undated codes is present at
    an unknown time: ever is 1, the rest is missing. Without an imaging date, a person with the disease has prevalent
    and incident missing too. Where follow-up ends before imaging, nothing is known of what came after it.

    Args:
        diagnoses: ICD-10 code and date of first diagnosis; None or a special date where it is unknown.
        imaging: Day of the imaging visit.
        diseases: What to label.
        end: Last day of follow-up; None if it is unknown.

    Returns:
        Label name -> 1, 0, years or NaN, four labels a disease.
    """
    known = [(clean_code(code), None if when in SPECIAL_DATES else when) for code, when in diagnoses]
    horizon = None if end is None else max(end, imaging or end)
    labels: dict[str, float] = {}
    for disease in diseases:
        dates = [
            when
            for code, when in known
            if code.startswith(disease.prefixes) and (when is None or horizon is None or when <= horizon)
        ]
        prevalent, incident, years = _at_imaging(dates, imaging, end)
        labels[f"{disease.name}_prevalent"] = prevalent
        labels[f"{disease.name}_incident"] = incident
        labels[f"{disease.name}_ever"] = 1.0 if dates else 0.0
        labels[f"{disease.name}_years"] = years
    return labels


def _at_imaging(dates: Sequence[date | None], imaging: date | None, end: date | None) -> tuple[float, float, float]:
    """Return prevalent, incident and years of one disease from the dates of its codes."""
    missing = float("nan")
    dated = [when for when in dates if when is not None]
    if imaging is None:
        return (missing, missing, missing) if dates else (0.0, 0.0, missing)
    if dated and min(dated) <= imaging:
        return 1.0, missing, missing
    if len(dated) < len(dates):  # by an undated code, the disease may have begun before imaging
        return missing, missing, missing
    if end is not None and end < imaging:
        return 0.0, missing, missing
    if dated:
        return 0.0, 1.0, (min(dated) - imaging).days / DAYS_PER_YEAR
    return 0.0, 0.0, missing if end is None else (end - imaging).days / DAYS_PER_YEAR
