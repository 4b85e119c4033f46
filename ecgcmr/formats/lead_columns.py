"""Which columns of a table are leads, by their names or by a declaration, and what unit their names state."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ecgcmr.errors import UserError
from ecgcmr.formats.lead_names import lead_and_unit, listed, shown
from ecgcmr.formats.signal_declaration import DECLARATION_FILE
from ecgcmr.leads import LEADS

_MOST_COLUMNS = 4096
_BRACKETS = re.compile(r"[(\[].*$")
_TIMES = {
    "", "#", "no", "nr", "time", "times", "t", "s", "sec", "secs", "second", "seconds", "ms", "us", "elapsed time",
    "time elapsed", "timestamp", "datetime", "date", "zeit", "zeitpunkt", "temps", "tiempo", "tempo", "sample",
    "samples", "sample number", "sample nr", "sample #", "sample no", "index", "idx", "unnamed: 0",
}  # fmt: skip
_TIME_UNITS = re.compile(r"[ _]+(?:s|sec|ms|us|seconds)$")
_DECLARE = f"declare `leads` in {DECLARATION_FILE} beside it"


@dataclass(frozen=True)
class LeadColumn:
    """A column that is a lead.

    Attributes:
        position: Among all columns.
        lead: Standard spelling where known.
        unit: As the name states it, or None.
    """

    position: int
    lead: str
    unit: str | None = None


def is_time(name: str) -> bool:
    """Tell whether a column's name is that of times or of numbers of samples."""
    bare = shown(name).lower()
    return any(text.strip() in _TIMES for text in (bare, _BRACKETS.sub("", bare), _TIME_UNITS.sub("", bare)))


def lead_columns(names: Sequence[str], declared: tuple[str, ...]) -> list[LeadColumn]:
    """Choose the columns that are leads.

    Args:
        names: The names of all columns.
        declared: The leads declared, standard spelling; empty if none are.

    Returns:
        Those named as leads; if none is, all but the times, which must be as many as declared, in that order.

    Raises:
        UserError: There are too many, two columns name one lead, or the names tell no leads and the declaration does
            not fit them.
    """
    if len(names) > _MOST_COLUMNS:
        raise UserError(f"has {len(names)} columns, more than any ECG")
    columns = [LeadColumn(i, *lead_and_unit(name)) for i, name in enumerate(names) if not is_time(name)]
    known = [column for column in columns if column.lead in LEADS]
    if known:
        found = {column.lead for column in columns}
        lacking = [lead for lead in declared if lead not in found]
        if lacking:
            raise UserError(
                f"has no column for the declared lead {lacking[0]}; found {listed([c.lead for c in columns])}"
            )
        chosen = [column for column in columns if column.lead in (declared or LEADS)]
        _refuse_twins(chosen, names)
        return chosen
    if not declared:
        raise UserError(f"none of its {len(names)} columns has the name of a lead; {_DECLARE}")
    if len(columns) != len(declared):
        raise UserError(f"has {len(columns)} columns of signal but {len(declared)} declared leads")
    return [LeadColumn(column.position, lead, column.unit) for column, lead in zip(columns, declared, strict=True)]


def other_names(names: Sequence[str], chosen: Sequence[LeadColumn]) -> tuple[str, ...]:
    """Return the names of the columns that are neither leads nor times, for messages."""
    taken = {column.position for column in chosen}
    return tuple(lead_and_unit(name)[0] for i, name in enumerate(names) if i not in taken and not is_time(name))


def _refuse_twins(columns: Sequence[LeadColumn], names: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for column in columns:
        earlier = first.setdefault(column.lead, column.position)
        if earlier != column.position:
            one, two = (shown(names[position])[:24] for position in (earlier, column.position))
            raise UserError(f"holds lead {column.lead} twice (columns {one!r} and {two!r}); leave one out")
