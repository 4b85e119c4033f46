"""Label columns as tables on the terminal: what is missing by group, distributions of numbers, shares of positives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ecgcmr.inspection.summary import SHOWN_GROUP, Distribution, Group, distribution, group_labels
from ecgcmr.inspection.text import number, percent, print_table
from ecgcmr.shards.layout import Label


def print_labels(console: Console, labels: Sequence[Label], values: NDArray[np.float32], every_label: bool) -> None:
    """Print what is known of label columns.

    Args:
        console: Where to.
        labels: The columns.
        values: (n, labels), NaN = missing; n at least 1.
        every_label: Whether labels of large groups are listed one by one too.
    """
    groups = group_labels(labels, values)
    rows = [
        (
            group.name,
            group.kind,
            str(len(group.columns)),
            *(percent(rate) for rate in group.missing),
            percent(group.complete),
        )
        for group in groups
    ]
    columns = ("group", "kind", "labels", "missing: least", "median", "most", "rows complete")
    print_table(console, "label groups", columns, rows, left=2)
    shown = [group for group in groups if every_label or len(group.columns) <= SHOWN_GROUP]
    _print_numbers(console, labels, values, shown)
    _print_binary(console, labels, values, shown)
    hidden = sum(len(group.columns) for group in groups if group not in shown)
    if hidden:
        console.print(f"\n{hidden} labels of large groups are not listed; --all lists them")


def _print_numbers(
    console: Console, labels: Sequence[Label], values: NDArray[np.float32], groups: Sequence[Group]
) -> None:
    rows = []
    for column in (column for group in groups for column in group.columns if not labels[column].is_binary):
        of = distribution(values[:, column])
        cells = (of.mean, of.sd, of.minimum, of.q1, of.median, of.q3, of.maximum)
        label = labels[column]
        rows.append(
            (label.name, label.unit, f"{of.known:,}", percent(of.missing_rate), *(number(cell) for cell in cells))
        )
    if rows:
        columns = ("label", "unit", "n", "missing", "mean", "sd", "min", "q1", "median", "q3", "max")
        print_table(console, "distributions", columns, rows, left=2)


def _print_binary(
    console: Console, labels: Sequence[Label], values: NDArray[np.float32], groups: Sequence[Group]
) -> None:
    rows = []
    for column in (column for group in groups for column in group.columns if labels[column].is_binary):
        of = distribution(values[:, column], binary=True)
        rows.append(
            (labels[column].name, labels[column].title, f"{of.known:,}", percent(of.missing_rate), _positives(of))
        )
    if rows:
        print_table(console, "yes or no", ("label", "title", "n", "missing", "positive"), rows, left=2)


def _positives(values: Distribution) -> str:
    """Return positives of a 0/1 label as text, empty for a number."""
    if values.positives is None:
        return ""
    return f"{values.positives:,} ({percent(values.mean)})"
