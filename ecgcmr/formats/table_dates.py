"""Dates in a biobank's tables: reading them, and telling those that cannot be.

A table cannot know of days after it was written. One mistyped year (2098 for 1998) would else be the latest diagnosis
of all, by which the end of everybody's follow-up is set.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import pandas as pd

from ecgcmr.errors import UserError

SPECIAL_DATES = frozenset(
    (
        date(1900, 1, 1),
        date(1901, 1, 1),
        date(1902, 2, 2),
        date(1903, 3, 3),
        date(1909, 9, 9),
        date(2037, 7, 7),
    )
)
"""Dates by which UK Biobank says that it does not know the date."""

_FEW = 10
"""With fewer filled cells than this, that most are too new says nothing about the file's time."""


def newest_day(path: Path, censor_date: date | None = None) -> date:
    """Return the newest day that a date of a table can be: a day after the file was last changed, for time zones.

    Args:
        path: The table.
        censor_date: Day up to which the user says that diagnoses are known, where that is later.
    """
    changed = date.fromtimestamp(path.stat().st_mtime) + timedelta(days=1)
    return max(min(changed, date.today() + timedelta(days=1)), censor_date or date.min)


def parse_date(text: str) -> date | None:
    """Parse ``2016-05-01``, with or without a time after it; None if it is no date of the years 1900 to 2099."""
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        return None
    return day if 1900 <= day.year < 2100 else None


def split_joined(text: str) -> list[str]:
    """Split values that an export joined into one: ``I251|I48`` or ``["I251","I48"]``; empty ones keep their place."""
    if text.startswith("["):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = text.strip("[]").split(",")
        return [str(value).strip(" \"'") for value in values]
    return [value.strip() for value in text.split("|")]


class LatestDates:
    """The latest date of some fields over all rows seen, and how many there are after the newest possible day.

    Attributes:
        dates: Field -> latest possible date.
        too_new: Field -> dates after the newest possible day.
    """

    def __init__(self, positions: Mapping[int, Sequence[int]], newest: date | None) -> None:
        """Begin.

        Args:
            positions: Field -> positions of its columns.
            newest: The newest day that a date can be; None if any may be.
        """
        self.dates: dict[int, date] = {}
        self.too_new: Counter[int] = Counter()
        self._newest = newest
        self._positions = {number: list(places) for number, places in positions.items() if places}
        self._filled: Counter[int] = Counter()

    def update(self, chunk: pd.DataFrame) -> None:
        """Take the dates of further rows into account."""
        limit = date.max if self._newest is None else self._newest
        for number, positions in self._positions.items():
            values = chunk[positions].to_numpy(dtype=object).ravel()
            values = values[pd.notna(values)]
            self._filled[number] += len(values)
            best = self.dates.get(number, date.min)
            for value in set(values):
                for text in split_joined(value):
                    if text[:10] <= best.isoformat():
                        continue
                    day = parse_date(text)
                    if day is None or day in SPECIAL_DATES:
                        continue
                    if day > limit:
                        self.too_new[number] += int((values == value).sum())
                    else:
                        best = max(best, day)
            if best > date.min:
                self.dates[number] = best

    def check(self, name: str) -> None:
        """Make sure that it is the dates that are wrong and not the file's time.

        Args:
            name: The file's own name.

        Raises:
            UserError: Most cells of a field hold dates after the newest possible day.
        """
        for number, count in self.too_new.items():
            if self._filled[number] >= _FEW and 2 * count > self._filled[number]:
                raise UserError(
                    f"{name}: {count} dates of field {number} lie after {self._newest}, the time of the file itself; "
                    "correct that with touch, or name the day of the data's release with --censor-date"
                )
