"""Labels as anybody declares them: name, column, unit, plausible range, group and kind, in a YAML file or in code."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.text import printable
from ecgcmr.yaml_file import read_yaml

NUMBER, YES_NO, ONE_OF, EVENT = KINDS = ("number", "yes/no", "one of several", "event with time")
DAYS_PER_UNIT = {"years": 365.25, "months": 365.25 / 12, "days": 1.0}
POSITIVE, NEGATIVE = ("1", "yes", "y", "true"), ("0", "no", "n", "false")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_EMPTY = frozenset(("nan", "-nan", "na", "n/a", "null", "none", "<na>", "#n/a", "#na"))
"""Words that readers of tables take for an empty cell, in some spelling at least."""
_MOST_BYTES = 1 << 20
_MOST_CLASSES = 100
_FIELDS_OF_KIND = {
    NUMBER: ("unit", "range"),
    YES_NO: ("positive", "negative", "unit"),
    ONE_OF: ("classes",),
    EVENT: ("positive", "negative", "time", "time_unit"),
}
_FIELDS = ("kind", "column", "title", "group", "covariate", "any_visit")


@dataclass(frozen=True)
class DeclaredLabel:
    """One entry of a file of labels.

    Attributes:
        name: Letters, digits and ``_``; of an event also the stem of its time, ``{name}_years``; of one of several that
            of each class, ``{name}_{class}``.
        kind: One of ``KINDS``.
        column: Name of the column in the tables, in any case, or the number of a UK Biobank field; empty for the name.
        unit: Of a number, as text; of yes/no what 1 means.
        low: Smallest plausible number.
        high: Largest plausible number.
        group: For averaging in tables and a name for all its labels in a config; of one of several by default the name.
            Yes/no in the group ``disease`` get balanced training selections.
        title: What it is, for tables and figures; empty for the name.
        covariate: Whether it is given to models rather than predicted.
        classes: The texts of one of several.
        positive: Texts that mean yes, in any case.
        negative: Texts that mean no.
        time: Column of an event's time: until it, or until follow-up ended where there was none.
        time_unit: ``years``, ``months`` or ``days``.
        any_visit: Whether a field's value of any visit counts, not that of the recording's visit alone.

    Raises:
        UserError: An entry is impossible; the message begins with the name.
    """

    name: str
    kind: str = NUMBER
    column: str | int = ""
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    group: str = ""
    title: str = ""
    covariate: bool = False
    classes: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    time: str | int = ""
    time_unit: str = "years"
    any_visit: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise UserError(
                f"{printable(repr(self.name), 60)} is no name of a label; use letters, digits and _, at most 60, a "
                "letter first"
            )
        if self.kind not in KINDS:
            raise self._error(f"kind {printable(self.kind, 40)!r} is unknown; choose one of {', '.join(KINDS)}")
        for item in fields(self):
            key = "range" if item.name in ("low", "high") else item.name
            known = ("name", *_FIELDS, *_FIELDS_OF_KIND[self.kind])
            if key not in known and getattr(self, item.name) != item.default:
                raise self._error(f"a label of kind {self.kind} has no {key}; leave it out")
        for name in ("unit", "group", "title", "time_unit"):
            if not isinstance(getattr(self, name), str) or len(getattr(self, name)) > 200:
                raise self._error(f"its {name} is no text of at most 200 characters; put it in quotes")
        for name in ("column", "time"):
            if isinstance(value := getattr(self, name), bool) or not isinstance(value, str | int):
                raise self._error(f"its {name} is no name of a column or number of a field; put a name in quotes")
        for name in ("covariate", "any_visit"):
            if not isinstance(getattr(self, name), bool):
                raise self._error(f"its {name} must be true or false")
        object.__setattr__(self, "column", self.column or self.name)
        object.__setattr__(self, "title", self.title.strip() or self.name.replace("_", " "))
        for name in ("classes", "positive", "negative"):
            object.__setattr__(self, name, self._texts(name))
        self._check_kind()

    def _error(self, what: str) -> UserError:
        return UserError(f"{self.name}: {what}")

    def _texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, numbers as such; YAML reads an unquoted yes or no as true or false."""
        given = getattr(self, name)
        if isinstance(given, str) or not isinstance(given, list | tuple):
            raise self._error(f"its {name} must be a list, such as [sinus, af]")
        if any(isinstance(item, bool) or not isinstance(item, str | int | float) for item in given):
            raise self._error(f"its {name} must be texts or numbers; put yes, no, true and false in quotes")
        texts = tuple(word(item) for item in given)
        empty = [text for text in texts if text.lower() in _EMPTY]
        if empty:
            raise self._error(
                f"its {name} hold {empty[0]!r}, which tables have for an empty cell; write another word there"
            )
        if "" in texts or len({text.lower() for text in texts}) < len(texts):
            raise self._error(f"its {name} has an empty text or one twice")
        return texts

    def _check_kind(self) -> None:
        """Check what belongs to one kind alone."""
        numbers = (self.low, self.high)
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in numbers):
            raise self._error("its range must be two numbers, such as [40, 500]")
        if not self.low < self.high:
            raise self._error(f"its range [{self.low:g}, {self.high:g}] is empty; write the smaller number first")
        if self.kind == ONE_OF:
            if not 2 <= len(self.classes) <= _MOST_CLASSES:
                raise self._error(f"needs its classes, 2 to {_MOST_CLASSES}, such as classes: [sinus, af, flutter]")
            names = [class_name(self.name, text) for text in self.classes]
            if len(set(names)) < len(names) or not all(_NAME.fullmatch(name) for name in names):
                raise self._error("its classes give no different names of letters and digits; shorten or rename them")
            object.__setattr__(self, "group", self.group or self.name)
        elif self.kind == EVENT:
            if self.time_unit not in DAYS_PER_UNIT:
                raise self._error(f"time_unit {self.time_unit!r} is unknown; choose one of {', '.join(DAYS_PER_UNIT)}")
            if self.covariate:
                raise self._error("an event is no covariate; leave one of the two out")
            object.__setattr__(self, "time", self.time or f"{self.name}_years")
        if bool(self.positive) != bool(self.negative):
            raise self._error("give both positive and negative, the texts that mean yes and no")
        if {text.lower() for text in self.positive} & {text.lower() for text in self.negative}:
            raise self._error("a text is both positive and negative; keep one")


def word(value: object) -> str:
    """Return a cell's text as it is compared: without space around it and the ``.0`` that spreadsheets append."""
    return str(value).strip().removesuffix(".0")


def class_name(name: str, text: str) -> str:
    """Return the name of the label of one class: ``rhythm`` and ``atrial flutter`` give ``rhythm_atrial_flutter``."""
    return f"{name}_{re.sub(r'[^A-Za-z0-9]+', '_', text).strip('_')}"


def load_labels(path: str | Path) -> tuple[DeclaredLabel, ...]:
    """Read labels from a YAML file that maps each name to its entry.

    ::

        ejection: {column: "EF (%)", unit: "%", range: [5, 90], group: LV}
        smoker: {kind: yes/no, column: smoking}
        rhythm: {kind: one of several, classes: [sinus, af]}
        stroke: {kind: event with time, time: follow_up, time_unit: days}

    Args:
        path: The file.

    Returns:
        The labels in the order of the file.

    Raises:
        UserError: The file is missing, no such list, or an entry is impossible; the message names the entry and, of a
            key that there is not, the nearest one.
    """
    path = Path(path)
    entries = read_yaml(path, what="list of labels", root=dict, most=_MOST_BYTES, shown=path.name)
    if not entries:
        raise UserError(f"{path.name}: declares no label; map names to entries, such as smoker: {{kind: yes/no}}")
    try:
        return tuple(_label(name, entry) for name, entry in entries.items())
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from error


def _label(name: Any, entry: Any) -> DeclaredLabel:
    entry = {} if entry is None else entry
    shown = printable(name, 60)
    if not isinstance(entry, Mapping):
        raise UserError(f"{shown}: must hold 'key: value' entries, such as {{kind: yes/no}}")
    kind = entry.get("kind", NUMBER)
    if kind not in KINDS:
        close = difflib.get_close_matches(str(kind), KINDS, n=1, cutoff=0.3)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise UserError(f"{shown}: kind {printable(kind, 40)!r} is unknown; {hint}choose one of {', '.join(KINDS)}")
    known = (*_FIELDS, *_FIELDS_OF_KIND[kind])
    for key in entry:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it may have {', '.join(known)}"
            raise UserError(f"{shown}: a label of kind {kind} has no key {printable(key, 40)!r}; {hint}")
    values = dict(entry)
    if "range" in values:
        bounds = values.pop("range")
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise UserError(f"{shown}: its range must be two numbers, such as [40, 500]")
        values["low"], values["high"] = bounds
    return DeclaredLabel(name, **values)
