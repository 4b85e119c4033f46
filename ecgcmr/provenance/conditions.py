"""Which runs are listed, and in which order: conditions such as ``val/loss<0.5``, and values compared."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.provenance.listed_runs import FIELDS, ListedRun
from ecgcmr.text import printable

_FORM = re.compile(r"(?P<name>[^<>=!~]+?)\s*(?P<sign><=|>=|!=|=|<|>|~)\s*(?P<value>.*)", re.DOTALL)
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """What a run must be.

    Attributes:
        name: Of a field, a metric or a setting.
        sign: ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, or ``~`` for text that holds another.
        value: To compare with.
    """

    name: str
    sign: str
    value: str

    @classmethod
    def of(cls, text: str) -> Condition:
        """Read a condition.

        Raises:
            UserError: It is none.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise UserError(
                f"--where {printable(text, 80)}: is no condition; write NAME, one of = != < <= > >= ~ and a value, in "
                "quotes, such as 'val/loss<0.5'"
            )
        return cls(**found.groupdict())

    def holds(self, run: ListedRun) -> bool:
        """Tell whether it holds for a run; for one whose value is not known it does not, but for ``=null``."""
        known = run.value(self.name)
        if known is None:
            return self.sign == "=" and self.value == "null"
        if self.sign == "~":
            return self.value.lower() in str(known).lower()
        left, right = _number(known), _number(self.value)
        if left is not None and right is not None:
            return _COMPARED[self.sign](left, right)
        return _COMPARED[self.sign](_text(known), self.value)


def check_names(names: Iterable[str], runs: Sequence[ListedRun]) -> None:
    """Refuse a name that stands for nothing in any of the runs.

    Raises:
        UserError: The message lists close names.
    """
    for name in names:
        if name in FIELDS or any(run.has(name) for run in runs):
            continue
        known = {*FIELDS, *(metric for run in runs for part in run.metrics.values() for metric in part)}
        known |= {setting for run in runs for setting in run.settings}
        close = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "--json lists the fields and metrics of each run"
        raise UserError(f"no run knows {printable(name, 80)}: {printable(hint)}")


def in_order(runs: Sequence[ListedRun], name: str, *, descending: bool) -> list[ListedRun]:
    """Return runs ordered by a value; those that lack it come last either way, in order of their paths."""
    known = [run for run in runs if run.value(name) is not None]
    numbers = [_number(run.value(name)) for run in known]
    keys: list[Any] = [_text(run.value(name)) for run in known] if None in numbers else list(numbers)
    order = sorted(range(len(known)), key=keys.__getitem__, reverse=descending)
    return [*(known[k] for k in order), *(run for run in runs if run.value(name) is None)]


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number == number else None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
