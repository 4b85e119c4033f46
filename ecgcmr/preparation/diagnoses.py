"""Dated diagnoses to labels: prevalent, incident or ever, and the time to the event or to the end of follow-up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

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
    """What the tables say about one subject.

    Attributes:
        complete: Whether the list of all hospital diagnoses is there, so that a code's absence means something.
        codes: Array index -> ICD-10 code.
        dates: Array index -> date of its first diagnosis, None if it is unknown.
        first: Code and date from first-occurrence fields.
        imaging: Day of the visit.
        death: Day of death.
        lost: Day on which the subject was lost to follow-up.
    """

    complete: bool = False
    codes: dict[int, str] = field(default_factory=dict)
    dates: dict[int, date | None] = field(default_factory=dict)
    first: list[tuple[str, date | None]] = field(default_factory=list)
    imaging: date | None = None
    death: date | None = None
    lost: date | None = None

    def add(self, number: int, text: str, unreadable: Counter[str], newest: date | None = None) -> int:
        """Add one value of a table; of several, the first code, date or visit and the earliest death or loss stand.

        Args:
            number: One of ``HISTORY_FIELDS``.
            text: Its text; values of ``JOINED_FIELDS`` joined by ``|``.
            unreadable: Texts that are no date are counted here, by field.
            newest: The newest day that a date can be; a later one is unknown.

        Returns:
            How many values differ from one that stands: of a code, its date or the day of imaging.
        """
        differing = 0
        if number == CODES:
            for i, code in enumerate(split_joined(text)):
                if code:
                    differing += self.codes.setdefault(i, clean_code(code)) != clean_code(code)
            return differing
        if number == CODE_DATES:
            for i, part in enumerate(split_joined(text)):
                if part:
                    when = _known_date(part, number, unreadable, newest)
                    standing = self.dates.setdefault(i, when)
                    differing += None not in (when, standing) and when != standing
            return differing
        when = _known_date(text, number, unreadable, newest)
        if number == VISIT_DATE:
            differing += bool(when and self.imaging and when != self.imaging)
            self.imaging = self.imaging or when
        elif number == DEATH:
            self.death = _earlier(self.death, when)
        elif number == LOST:
            self.lost = _earlier(self.lost, when)
        else:
            self.first.append((FIRST_OCCURRENCE[number], when))
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
        early = [i for i, when in self.dates.items() if when is not None and when < born]
        self.dates.update(dict.fromkeys(early))
        count = sum(when is not None and when < born for _, when in self.first)
        self.first = [(code, None if when is not None and when < born else when) for code, when in self.first]
        return len(early) + count

    @property
    def ends_before_imaging(self) -> list[int]:
        """Fields of an end of follow-up (death, loss) that lies before imaging, and so does not count."""
        ends = ((DEATH, self.death), (LOST, self.lost))
        return [number for number, day in ends if day is not None and self.imaging is not None and day < self.imaging]

    @property
    def diagnoses(self) -> Iterator[tuple[str, date | None]]:
        """All codes with their dates, None where a date is unknown."""
        yield from ((code, self.dates.get(i)) for i, code in self.codes.items())
        yield from self.first

    def end_of_follow_up(self, censoring: date | None) -> date | None:
        """Return the earliest of death, loss and censoring, None if none is known.

        Death or loss before the day of imaging contradicts the visit and does not count.

        Args:
            censoring: Last day up to which diagnoses of any subject are known.
        """
        ends = [day for day in (self.death, self.lost) if day and not (self.imaging and day < self.imaging)]
        return min([*ends, *([censoring] if censoring else [])], default=None)


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
