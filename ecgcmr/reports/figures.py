"""Figures from result rows and predictions, drawn on Figure objects of their own: no pyplot, no display, no state."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from ecgcmr.evaluation.methods import Method, headline_group, method_order, method_title
from ecgcmr.evaluation.rows import MEAN, ResultRow, Target
from ecgcmr.files import write_atomically
from ecgcmr.metrics.catalogue import METRICS
from ecgcmr.metrics.task_metrics import classification_metrics, regression_metrics
from ecgcmr.reports.figure_styles import POINTS, Styles
from ecgcmr.text import printable, show_names_plainly

_DPI = 150
_LETTER, _LEGEND_LINE = 0.075, 0.2
"""Inches that a letter and a line of a legend in letters of 9 points take."""


def save_figure(figure: Figure, path: Path | str) -> Path:
    """Write a PNG of 150 dots an inch atomically; no date or software version goes into the file."""
    show_names_plainly(figure)
    _shorten_names(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return write_atomically(path, buffer.getvalue())


LONGEST_IN_FIGURE = 48
"""Characters of a name in a legend, a title or at an axis: a longer one would push the panels out of the figure."""


def _shorten_names(figure: Figure) -> None:
    """Shorten legends, titles and axis labels, in place; a number at the end stays."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    texts = [text for legend in legends if legend is not None for text in legend.get_texts()]
    texts += [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
    for text in texts:
        text.set_text(printable(text.get_text(), LONGEST_IN_FIGURE))
    if figure.get_suptitle():
        figure.suptitle(printable(figure.get_suptitle(), 2 * LONGEST_IN_FIGURE))


def label_efficiency(
    rows: Sequence[ResultRow],
    metric: str = "r2",
    *,
    target: str = MEAN,
    group: str | None = None,
    title: str = "",
) -> Figure:
    """Draw a metric against the number of labelled training recordings, a line for each method, with 95 % intervals.

    Args:
        rows: Result rows of one task.
        metric: Which metric.
        target: Target name or "mean".
        group: Group or set; None takes the leading one ("LV+RV", else "all") for a mean, any group for a target.
        title: Heading; "" writes the target and group.

    Raises:
        ValueError: If no row matches.
    """
    rows = [row for row in rows if row.metric == metric and row.target == target]
    if group is None and target == MEAN:
        group = headline_group(rows)
    rows = [row for row in rows if group in (None, row.group) and math.isfinite(row.value)]
    if not rows:
        raise ValueError(f"no {metric} of {target} ({group}) among the rows")
    counts = sorted({row.labels for row in rows if row.labels is not None})
    methods = method_order((row.method, row.protocol) for row in rows)
    longest = min(LONGEST_IN_FIGURE, max(len(method_title(method)) for method in methods))
    # The legend is a column as high as the figure, beside curves that keep their width.
    figure, axes = _figure(6.2 + _LETTER * longest, max(4.8, 0.4 + _LEGEND_LINE * len(methods)))
    styles = Styles(methods)
    step = min(0.018, 0.3 / len(methods))  # within the axis, however many there are
    for place, method in enumerate(methods):
        drawn = [row for row in rows if (row.method, row.protocol) == method]
        curve = sorted((row for row in drawn if row.labels is not None), key=lambda row: row.labels or 0)
        _ceiling(axes, [row for row in drawn if row.labels is None], method, styles)
        _curve(axes, curve, method, styles, shift=1.0 + step * (place - (len(methods) - 1) / 2))
    if counts:
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(counts[0] / 1.25, counts[-1] * 1.25)
    axes.set_xlabel("Labelled training recordings")
    axes.set_ylabel(f"{'Mean ' if target == MEAN else ''}{METRICS[metric].axis} (95 % interval)")
    axes.set_title(
        title
        or f"{target}{'' if group is None else f' over {group}'}, {max(row.n_test for row in rows):,} test subjects"
    )
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


def known_pairs(
    panels: Iterable[Axes],
    truth: NDArray,
    prediction: NDArray,
    targets: Sequence[Target],
    labels: tuple[str, str],
    least: int = 1,
) -> Iterator[tuple[Axes, NDArray, NDArray]]:
    """Title a panel for each target and yield it with its known truth and prediction (m,); it says so of too few.

    Args:
        panels: At least as many as targets.
        truth: (n, K) in units, NaN missing.
        prediction: (n, K).
        targets: K targets.
        labels: Of both axes, without the unit.
        least: Pairs that the figure needs.
    """
    for k, (axes, target) in enumerate(zip(panels, targets, strict=False)):
        keep = np.isfinite(truth[:, k]) & np.isfinite(prediction[:, k])
        unit = f" ({target.unit})" if target.unit else ""
        axes.set_title(target.title or target.name, fontsize=10)
        axes.set(xlabel=labels[0] + unit, ylabel=labels[1] + unit)
        if keep.sum() < least:
            axes.text(0.5, 0.5, "no prediction", transform=axes.transAxes, ha="center")
            continue
        yield axes, truth[keep, k], prediction[keep, k]


def scatter(truth: NDArray, prediction: NDArray, targets: Sequence[Target], *, title: str = "") -> Figure:
    """Draw predicted against true values, a panel for each target, with the line of identity, R2 and Pearson r.

    Args:
        truth: (n, K) in units, NaN missing.
        prediction: (n, K).
        targets: K targets.
        title: Heading.
    """
    figure, panels = grid(len(targets), title)
    for axes, x, y in known_pairs(panels, truth, prediction, targets, ("true", "predicted")):
        scores = regression_metrics(x, y)
        axes.scatter(x, y, s=9, alpha=0.5, color=POINTS, linewidths=0)
        low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
        margin = 0.04 * (high - low)
        axes.plot([low, high], [low, high], color="black", linewidth=0.8, linestyle="--")
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
        text = f"R² {scores['r2']:.2f}\nr {scores['pearson']:.2f}\nn {len(x)}"
        axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=9)
    return figure


def roc(
    truth: NDArray,
    predictions: Mapping[Method, NDArray],
    targets: Sequence[Target],
    *,
    methods: Sequence[Method] | None = None,
    title: str = "",
) -> Figure:
    """Draw ROC curves, a panel for each binary target and a line for each method.

    Args:
        truth: (n, K) of 0, 1 and NaN.
        predictions: (method, protocol) -> (n, K) scores; NaN columns are left out.
        targets: K targets.
        methods: Those that are drawn; legends count the others. None draws all.
        title: Heading.
    """
    drawn = method_order(predictions if methods is None else predictions.keys() & set(methods))
    figure, panels = grid(len(targets), title, width=3.4, below=0.7 + 0.17 * len(drawn))
    styles = Styles(predictions)
    for k, (axes, target) in enumerate(zip(panels, targets, strict=False)):
        positives = int(np.nansum(truth[:, k]))
        observed = int(np.isfinite(truth[:, k]).sum())
        axes.set_title(f"{target.title or target.name} ({positives} of {observed})", fontsize=10)
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
        axes.set_xlabel("1 - specificity")
        axes.set_ylabel("sensitivity")
        axes.set(aspect="equal", anchor="N")  # the legend takes the room below
        for place, method in enumerate(drawn):
            keep = np.isfinite(truth[:, k]) & np.isfinite(predictions[method][:, k])
            if not keep.any():
                continue  # the method has no prediction of this target
            area = classification_metrics(truth[keep, k], predictions[method][keep, k])["auroc"]
            if not np.isfinite(area):
                continue
            false_rate, true_rate, _ = roc_curve(truth[keep, k], predictions[method][keep, k])
            look = curve_look(method, styles) | {"markevery": (0.04 + 0.25 * place / len(drawn), 0.25)}
            label = f"{method_title(method)} {area:.2f}"
            axes.plot(false_rate, true_rate, linewidth=1.6, markersize=5, label=label, **look)
        if len(axes.lines) > 1:
            axes.add_line(others_line(len(predictions) - len(drawn)))
            axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False, title="AUROC")
    return figure


def curve_look(method: Method, styles: Styles) -> dict[str, Any]:
    """Return what a method's curve is drawn with: its colour, marker and line, as in every other figure."""
    colour, marker, line = styles.of(method)
    return {"color": colour, "marker": marker, "linestyle": line, "markerfacecolor": styles.fill(method)}


def others_line(count: int) -> Line2D:
    """Return a line that draws nothing and says in a legend that ``count`` further methods are in the tables."""
    return Line2D([], [], linestyle="none", label=f"and {count} more in the tables" if count else "_nothing more")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def grid(count: int, title: str, width: float = 3.0, below: float = 0.0) -> tuple[Figure, list[Axes]]:
    """Lay out ``count`` panels, up to four a row, with room ``below`` each in inches."""
    if count < 1:
        raise ValueError("a figure needs at least one target")
    columns = min(4, count)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, (width + below) * lines + 0.4), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for axes in panels[count:]:
        axes.set_visible(False)
    if title:
        figure.suptitle(title)
    return figure, panels[:count]


def _curve(axes: Axes, rows: Sequence[ResultRow], method: Method, styles: Styles, shift: float) -> None:
    """Draw one method's line; ``shift`` moves it sideways so that intervals do not cover each other."""
    if not rows:
        return
    colour, marker, line = styles.of(method)
    x = np.array([row.labels for row in rows], dtype=float) * shift
    y = np.array([row.value for row in rows])
    spread = np.abs(np.array([[row.ci_low, row.ci_high] for row in rows]).T - y)
    axes.errorbar(
        x,
        y,
        yerr=np.nan_to_num(spread),
        color=colour,
        marker=marker,
        linestyle=line,
        markersize=6,
        markerfacecolor=styles.fill(method),
        linewidth=1.6,
        elinewidth=1.0,
        capsize=2.5,
        label=method_title(method),
    )


def _ceiling(axes: Axes, rows: Sequence[ResultRow], method: Method, styles: Styles) -> None:
    """Draw a method that has no number of labels as a level with a band."""
    for row in rows[:1]:
        colour = styles.of(method)[0]
        axes.axhline(row.value, color=colour, linestyle=(0, (6, 3)), linewidth=1.4, label=method_title(method))
        if math.isfinite(row.ci_low):
            axes.axhspan(row.ci_low, row.ci_high, color=colour, alpha=0.08, linewidth=0)
