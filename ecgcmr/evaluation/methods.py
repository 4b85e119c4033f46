"""Methods of a table: their order and titles, which of them are ceilings, and which row is best."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from typing import Protocol, TypeVar

from ecgcmr.evaluation.rows import MEAN, ResultRow
from ecgcmr.metrics.catalogue import Metric

METHODS = (
    *("random", "cnn", "scratch", "simclr", "byol", "barlow_twins", "clocs", "mae", "alignment", "mae+alignment"),
    *("mean", "age+sex", "age+sex+size", "features", "features-boosting", "oracle"),
)
"""Methods in the order of tables and figures; others follow alphabetically."""
CEILINGS = ("oracle",)  # never marked as best: no method can have what it knows
STACK = "stack"
"""Protocol of a combination of other methods of the table."""
LAYER_PROBE, ATTENTION_PROBE = "layer_probe", "attention_probe"
LINEAR_PROBE, FINETUNE = "linear_probe", "finetune"
TAUGHT_PROBE, TAUGHT = "taught_probe", "taught"
"""Protocols of what learns from labels, and from what a reader of images says of recordings without one."""
_PROTOCOL_TITLES: dict[str | None, str] = {
    **{LINEAR_PROBE: "linear probe", LAYER_PROBE: "linear probe of a layer", ATTENTION_PROBE: "attention probe"},
    **{FINETUNE: "fine-tuned", None: ""},
    **{TAUGHT_PROBE: "linear probe taught by images", TAUGHT: "fine-tuned, taught by images"},
}
_PLACES = {
    name: str(place)
    for place, name in enumerate([LINEAR_PROBE, LAYER_PROBE, TAUGHT_PROBE, ATTENTION_PROBE, FINETUNE, TAUGHT])
}

UNTRAINED, OF_RANDOM_WEIGHTS = "random", " (random)"
"""A method of random weights, and what the names of others end with whose weights were random before fine-tuning."""

Method = tuple[str, str | None]
"""(method, protocol)."""


class Placed(Protocol):
    """What says which target, or mean over which set of targets, it is about."""

    @property
    def target(self) -> str:
        """Its name, or ``MEAN``."""

    @property
    def group(self) -> str:
        """Its group, or the set that the mean runs over."""


R = TypeVar("R", bound=ResultRow)
P = TypeVar("P", bound=Placed)


def is_ceiling(method: str) -> bool:
    """Return whether a method knows what none can; in a comparison its name follows that of its run."""
    return method.rsplit(": ", 1)[-1] in CEILINGS


def method_order(methods: Iterable[Method]) -> list[Method]:
    """Sort (method, protocol) as in ``METHODS``, others behind by name, probes before fine-tuned."""

    def place(item: Method) -> tuple[int, str, str]:
        known = METHODS.index(item[0]) if item[0] in METHODS else len(METHODS)
        return known, item[0], _PLACES.get(item[1] or "", "9")

    return sorted(set(methods), key=place)


def method_title(method: Method) -> str:
    """Return "mae, linear probe" and the like."""
    protocol = _PROTOCOL_TITLES.get(method[1], method[1]) or ""
    return f"{method[0]}, {protocol}" if protocol else method[0]


def headline_group(rows: Iterable[Placed]) -> str | None:
    """Return the set whose mean leads: "LV+RV" where there is one, else "all", else None."""
    groups = {row.group for row in rows if row.target == MEAN}
    return next((group for group in ("LV+RV", "all") if group in groups), None)


def leading_rows(rows: Sequence[P]) -> list[P]:
    """Return the rows, or places of rows, of the mean that leads, or of single targets where no mean does."""
    group = headline_group(rows)
    return [row for row in rows if group is None or (row.target == MEAN and row.group == group)]


def best_row(rows: Iterable[R], metric: Metric) -> R | None:
    """Return the best row, ceilings apart; None where nothing is defined or neither way is better."""
    higher = metric.higher_is_better
    if higher is None:
        return None
    rivals = [row for row in rows if not is_ceiling(row.method) and math.isfinite(row.value)]
    return max(rivals, key=lambda row: row.value if higher else -row.value, default=None)


def gaps(rows: Sequence[ResultRow], *, known: Container[str] = ()) -> list[str]:
    """Say which means leave out targets, so that nobody compares means over different targets unawares.

    Args:
        rows: Of one metric.
        known: Targets of which the reader knows already that no method can be scored on them.
    """
    undefined: dict[tuple[Method, int | None], list[str]] = {}
    for row in rows:
        if row.target != MEAN and row.target not in known and not math.isfinite(row.value):
            undefined.setdefault(((row.method, row.protocol), row.labels), []).append(row.target)
    return [
        f"{method_title(method)}{'' if labels is None else f' at {labels:,} labels'}: means leave out "
        f"{', '.join(names)} (undefined or without prediction)."
        for (method, labels), names in undefined.items()
    ]
