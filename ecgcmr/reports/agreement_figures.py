"""Bland-Altman plots of phenotypes and calibration curves of diseases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ecgcmr.evaluation.methods import Method, method_order, method_title
from ecgcmr.evaluation.rows import Target
from ecgcmr.metrics.agreement import agreement_metrics
from ecgcmr.metrics.decisions import CalibrationBin
from ecgcmr.reports.figure_styles import POINTS, Styles
from ecgcmr.reports.figures import LONGEST_IN_FIGURE, curve_look, grid, known_pairs, others_line


def bland_altman(truth: NDArray, prediction: NDArray, targets: Sequence[Target], *, title: str = "") -> Figure:
    """Draw the difference of prediction and truth against their mean, with bias and limits of agreement.

    Args:
        truth: (n, K) in units, NaN missing.
        prediction: (n, K).
        targets: K targets, a panel each.
        title: Heading.
    """
    figure, panels = grid(len(targets), title, width=3.4)
    axis_labels = ("mean of predicted and true", "predicted - true")
    for axes, x, y in known_pairs(panels, truth, prediction, targets, axis_labels, least=2):
        scores = {name: float(value) for name, value in agreement_metrics(x, y).items()}
        axes.scatter((x + y) / 2, y - x, s=9, alpha=0.5, color=POINTS, linewidths=0)
        axes.axhline(0.0, color="black", linewidth=0.7)
        for name, line in (("bias", "-"), ("agreement_low", "--"), ("agreement_high", "--")):
            axes.axhline(scores[name], color="#D55E00", linewidth=1.2, linestyle=line)
        text = f"bias {scores['bias']:.3g}\nlimits {scores['agreement_low']:.3g} to {scores['agreement_high']:.3g}"
        reach = 1.25 * max(np.abs(y - x).max(), abs(scores["agreement_low"]), abs(scores["agreement_high"]))
        axes.set_ylim(-reach, reach * 1.3)
        axes.text(0.04, 0.97, text, transform=axes.transAxes, va="top", fontsize=8)
    return figure


def calibration(
    curves: Mapping[str, Mapping[Method, Sequence[CalibrationBin]]],
    targets: Sequence[Target],
    *,
    methods: Sequence[Method] | None = None,
    title: str = "",
) -> Figure:
    """Draw the observed share against the mean predicted probability, a panel a target and a line a method.

    Args:
        curves: Target -> (method, protocol) -> bins.
        targets: Panels.
        methods: Those that are drawn; the legend counts the others. None draws all.
        title: Heading.
    """
    known = method_order(method for own in curves.values() for method in own)
    drawn = known if methods is None else [method for method in known if method in methods]
    styles = Styles(known)
    longest = min(LONGEST_IN_FIGURE, max((len(method_title(method)) for method in drawn), default=0))
    fitting = int(3.4 * min(4, len(targets)) / (0.55 + 0.068 * longest))  # inches of an entry's line and letters
    across = max(1, min(4, len(targets), len(drawn), fitting))  # of the legend, which the panels share
    figure, panels = grid(len(targets), title, width=3.4)
    entries = len(drawn) + (len(known) > len(drawn))
    figure.set_figheight(figure.get_figheight() + 0.2 * math.ceil(entries / across))
    lines: dict[str, Line2D] = {}
    for axes, target in zip(panels, targets, strict=False):
        own = curves.get(target.name, {})
        axes.set_title(target.title or target.name, fontsize=10)
        axes.set(xlabel="predicted probability", ylabel="observed share", aspect="equal")
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
        top = 0.0
        for method in (method for method in drawn if method in own):
            x, y = [part.predicted for part in own[method]], [part.observed for part in own[method]]
            top = max(top, *x, *y)
            look = curve_look(method, styles)
            (lines[method_title(method)],) = axes.plot(x, y, markersize=4, linewidth=1.4, clip_on=False, **look)
        reach = min(1.0, 1.1 * top) if top else 1.0
        axes.set(xlim=(0, reach), ylim=(0, reach))
    if lines:
        if len(known) > len(drawn):
            more = others_line(len(known) - len(drawn))
            lines[str(more.get_label())] = more
        shared = {"loc": "outside lower center", "ncols": across, "fontsize": 8, "frameon": False}
        figure.legend(list(lines.values()), list(lines), **shared)
    return figure
