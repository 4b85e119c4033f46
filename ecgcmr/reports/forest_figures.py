"""Forest plots: every method on every target, or, where those are too many to read, means and the leading methods."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecgcmr.evaluation.methods import Method, best_row, headline_group, is_ceiling, method_order, method_title
from ecgcmr.evaluation.rows import MEAN, ResultRow, Target
from ecgcmr.metrics.catalogue import METRICS
from ecgcmr.reports.figure_styles import Styles
from ecgcmr.reports.figures import LONGEST_IN_FIGURE
from ecgcmr.text import figure_text

MOST_INTERVALS = 150
"""A plot of more is split into means of all methods and targets of few methods."""
MOST_METHODS = 6
"""Methods that are shown target by target where all would be too many."""
_MOST_LINES = 24  # targets one below the other
_LEGEND_ENTRY, _LETTER = 0.65, 0.083  # inches that an entry's marker and a letter of its name take


def forests(
    rows: Sequence[ResultRow],
    labels: int | None,
    metric: str,
    *,
    targets: Sequence[Target],
    focus: str | None = None,
) -> dict[str, Figure]:
    """Draw a metric of every target and method at one number of labels, readable however many they are.

    Args:
        rows: Result rows, means among them.
        labels: As in ``forest``.
        metric: Which metric.
        targets: Targets from top to bottom.
        focus: Method that is never left out.

    Returns:
        ``forest``; and ``forest_means`` where targets times methods are more than ``MOST_INTERVALS``: then ``forest``
        shows ``leading_methods`` alone.
    """
    methods = _shown(rows, labels, metric)
    if len(methods) <= MOST_METHODS or len(targets) * len(methods) <= MOST_INTERVALS:
        return {"forest": forest(rows, labels, metric, targets=targets)}
    few = leading_methods(rows, labels, metric, focus=focus)
    title = f"{_title(metric, labels)}: {len(few)} of {len(methods)} methods"
    figures = {"forest": forest(rows, labels, metric, targets=targets, methods=few, title=title)}
    if any(row.target == MEAN and row.metric == metric and math.isfinite(row.value) for row in rows):
        figures["forest_means"] = forest_of_means(rows, labels, metric)
    return figures


def leading_methods(
    rows: Sequence[ResultRow], labels: int | None, metric: str, *, focus: str | None = None, most: int = MOST_METHODS
) -> list[Method]:
    """Choose the focus in all its protocols, then the best others by the leading mean, each at its better protocol.

    Args:
        rows: Result rows; without means among them the mean over targets decides.
        labels: Number of labels; rows without one count too.
        metric: Which metric.
        focus: Method to keep; None keeps the best alone.
        most: Methods to choose; a ceiling is none of them.
    """
    methods, group = _shown(rows, labels, metric), headline_group(rows)
    own = [row for row in rows if row.metric == metric and row.labels in (labels, None) and math.isfinite(row.value)]
    value: dict[Method, list[float]] = {method: [] for method in methods}
    for row in own:
        if (row.target, row.group) == (MEAN, group) or (group is None and row.target != MEAN):
            value[row.method, row.protocol].append(row.value)
    sign = -1.0 if METRICS[metric].higher_is_better is False else 1.0
    rated = {method: sign * float(np.mean(found)) for method, found in value.items() if found}
    ordered = sorted((method for method in rated if not is_ceiling(method[0])), key=lambda method: -rated[method])
    chosen = [method for method in ordered if method[0] == focus]
    for method in ordered:
        if len(chosen) < most and method[0] not in {name for name, _ in chosen}:
            chosen.append(method)
    return method_order(chosen)


def curve_methods(
    rows: Sequence[ResultRow], labels: int | None, metric: str, *, focus: str | None = None
) -> list[Method]:
    """Choose the methods whose curves are drawn over each other: few enough to follow each, with the ceiling.

    Args:
        rows: Result rows of one kind of target, means among them.
        labels: Number of labels; rows without one count too.
        metric: By which the best are chosen.
        focus: Method that is never left out.

    Returns:
        All methods where they are at most ``MOST_METHODS``, else ``leading_methods`` and the ceilings.
    """
    methods = _shown(rows, labels, metric)
    if len(methods) <= MOST_METHODS:
        return methods
    few = leading_methods(rows, labels, metric, focus=focus)
    return method_order([*few, *(method for method in methods if is_ceiling(method[0]))])


def forest(
    rows: Sequence[ResultRow],
    labels: int | None,
    metric: str = "r2",
    *,
    targets: Sequence[Target],
    methods: Sequence[Method] | None = None,
    title: str = "",
) -> Figure:
    """Draw a forest plot: a metric with its interval for every target and method at one number of labels.

    Args:
        rows: Result rows.
        labels: Number of labels to show; rows without a number (the oracle) are shown too. None shows those alone.
        metric: Which metric.
        targets: Targets from top to bottom; over 24 of them are laid out in two columns, over 48 in three.
        methods: (method, protocol) pairs to show; None shows all that have a row.
        title: Heading; "" writes the number of labels.

    Raises:
        ValueError: If no row matches.
    """
    names = {target.name for target in targets}
    chosen = [r for r in rows if r.metric == metric and r.labels in (labels, None) and r.target in names]
    shown = _shown(chosen, labels, metric) if methods is None else list(methods)
    chosen = [r for r in chosen if (r.method, r.protocol) in shown and math.isfinite(r.value)]
    if not chosen:
        raise ValueError(f"no {metric} at {labels} labels among the rows for these targets and methods")
    columns = min(3, math.ceil(len(targets) / _MOST_LINES))
    per_column = math.ceil(len(targets) / columns)
    width = {1: 7.5, 2: 12.0, 3: 16.0}[columns]
    longest = min(LONGEST_IN_FIGURE, max(len(method_title(method)) for method in shown))
    fitting = int(width / (_LEGEND_ENTRY + _LETTER * longest))
    legend_columns = max(1, min(2 * columns + (columns == 1), len(shown), fitting))
    height = 1.1 + 0.2 * math.ceil(len(shown) / legend_columns) + per_column * max(0.24, 0.075 * len(shown))
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(1, columns, squeeze=False, sharex=True)[0]
    styles = Styles(_shown(rows, labels, metric))  # of all: each looks as it does where the others are drawn too
    for column, axes in enumerate(panels):
        part = targets[column * per_column : (column + 1) * per_column]
        _targets_panel(axes, part, chosen, shown, styles, METRICS[metric].no_skill)
        axes.set_xlabel(f"{METRICS[metric].axis} (95 % interval)")
    handles, legend = panels[0].get_legend_handles_labels()
    figure.legend(handles, legend, loc="outside lower center", ncols=legend_columns, frameon=False)
    figure.suptitle(title or _title(metric, labels))
    return figure


def forest_of_means(rows: Sequence[ResultRow], labels: int | None, metric: str = "r2", *, title: str = "") -> Figure:
    """Draw the means over targets: a panel for each set of targets, a line for each method.

    Args:
        rows: Result rows.
        labels: As in ``forest``.
        metric: Which metric.
        title: Heading; "" writes the number of labels.

    Raises:
        ValueError: If no mean matches.
    """
    chosen = [r for r in rows if r.metric == metric and r.labels in (labels, None) and r.target == MEAN]
    chosen = [row for row in chosen if math.isfinite(row.value)]
    if not chosen:
        raise ValueError(f"no mean {metric} at {labels} labels among the rows")
    groups = list(dict.fromkeys(row.group for row in chosen))
    methods = _shown(chosen, labels, metric)
    columns = min(4, len(groups))
    lines = math.ceil(len(groups) / columns)
    figure = Figure(figsize=(2.4 + 2.7 * columns, 0.5 + lines * (0.8 + 0.21 * len(methods))), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    styles = Styles(methods)
    for axes, group in zip(panels, groups, strict=False):
        own = [row for row in chosen if row.group == group]
        _means_panel(axes, own, methods, styles, METRICS[metric].no_skill)
        best = best_row(own, METRICS[metric])
        if best is not None:
            axes.axvline(best.value, color=styles.of((best.method, best.protocol))[0], linewidth=0.7, linestyle=":")
        axes.set_title(f"{group.removesuffix(' mean')} (n = {max(row.n_test for row in own):,})", fontsize=10)
        axes.set_xlabel(f"{METRICS[metric].axis} (95 % interval)", fontsize=9)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    figure.suptitle(title or f"Means of {_title(metric, labels)}")
    return figure


def _shown(rows: Sequence[ResultRow], labels: int | None, metric: str) -> list[Method]:
    own = [row for row in rows if row.metric == metric and row.labels in (labels, None)]
    return method_order((row.method, row.protocol) for row in own)


def _title(metric: str, labels: int | None) -> str:
    return f"{METRICS[metric].axis}{'' if labels is None else f' at {labels:,} labelled training recordings'}"


def _targets_panel(
    axes: Axes,
    targets: Sequence[Target],
    rows: Sequence[ResultRow],
    methods: Sequence[Method],
    styles: Styles,
    no_skill: float,
) -> None:
    offsets = np.linspace(-0.36, 0.36, len(methods)) if len(methods) > 1 else np.zeros(1)
    for method, offset in zip(methods, offsets, strict=True):
        found = {row.target: row for row in rows if (row.method, row.protocol) == method}
        places = [place for place, target in enumerate(targets) if target.name in found]
        own = [found[targets[place].name] for place in places]
        _intervals(axes, own, np.array(places) + offset, method, styles)
    for place in range(0, len(targets), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="black", alpha=0.04, linewidth=0)
    _lines_of(axes, [target.title or target.name for target in targets], no_skill)


def _means_panel(
    axes: Axes, rows: Sequence[ResultRow], methods: Sequence[Method], styles: Styles, no_skill: float
) -> None:
    found = {(row.method, row.protocol): row for row in rows}
    for place, method in enumerate(methods):
        if method in found:
            _intervals(axes, [found[method]], np.array([place]), method, styles)
    axes.grid(axis="y", alpha=0.2)
    _lines_of(axes, [method_title(method) for method in methods], no_skill)


def _lines_of(axes: Axes, names: Sequence[str], no_skill: float) -> None:
    axes.axvline(no_skill, color="black", linewidth=0.7)
    axes.set_yticks(range(len(names)), [figure_text(name, LONGEST_IN_FIGURE) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _intervals(axes: Axes, rows: Sequence[ResultRow], places: np.ndarray, method: Method, styles: Styles) -> None:
    """Draw rows of one method with their intervals at places on the vertical axis."""
    values = np.array([row.value for row in rows])
    ends = np.array([[row.ci_low, row.ci_high] for row in rows]).reshape(-1, 2)
    colour, marker, _ = styles.of(method)
    axes.errorbar(
        values,
        places,
        xerr=np.nan_to_num(np.abs(ends.T - values)),
        color=colour,
        marker=marker,
        linestyle="none",
        markersize=4,
        markerfacecolor=styles.fill(method),
        elinewidth=1.0,
        label=method_title(method),
    )
