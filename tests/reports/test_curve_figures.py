"""ROC and calibration of twenty methods: which are drawn, that the others are counted, and that looks stay theirs."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecgcmr.evaluation.methods import Method, method_order, method_title
from ecgcmr.evaluation.rows import ResultRow, Target
from ecgcmr.metrics.decisions import CalibrationBin
from ecgcmr.reports.agreement_figures import calibration
from ecgcmr.reports.figure_styles import Styles
from ecgcmr.reports.figures import roc
from ecgcmr.reports.forest_figures import MOST_METHODS, curve_methods, forest

TARGETS = [Target(f"disease {k}", "disease") for k in range(2)]
PROBED: list[Method] = [(f"network {k:02}", "linear_probe") for k in range(17)]
LINES: list[Method] = [("oracle", None), *PROBED, ("network 16", "finetune"), ("mae", "linear_probe")]
SKILL = {line: 1.0 - 0.04 * place for place, line in enumerate(LINES)}
LEADING = method_order([("oracle", None), *PROBED[:4], ("network 16", "linear_probe"), ("network 16", "finetune")])
"""With ``network 16`` in focus: it twice, the four best others, and the ceiling."""


def result_rows(lines: list[Method]) -> list[ResultRow]:
    return [
        ResultRow(
            name, group, "classification", *line, None, metric, value, value - 0.1, value + 0.1, 40, "classification"
        )
        for line in lines
        for name, group in (("mean", "all"), *((target.name, "disease") for target in TARGETS))
        for metric, value in (("auroc", SKILL[line]), ("auprc", 1.0 - SKILL[line]))
    ]


def roc_of(lines: list[Method], drawn: list[Method] | None) -> Figure:
    generator = np.random.default_rng(0)
    truth = (np.arange(40) % 2).astype(float)[:, None].repeat(len(TARGETS), axis=1)
    scores = {line: SKILL[line] * truth + generator.normal(size=truth.shape) for line in lines}
    return roc(truth, scores, TARGETS, methods=drawn)


def calibration_of(lines: list[Method], drawn: list[Method] | None) -> Figure:
    bins = [CalibrationBin(0.2, 0.1, 20), CalibrationBin(0.6, 0.5, 20)]
    return calibration({target.name: dict.fromkeys(lines, bins) for target in TARGETS}, TARGETS, methods=drawn)


FIGURES = {"roc": roc_of, "calibration": calibration_of}


def legend_of(figure: Figure, axes: Axes) -> list[str]:
    own = axes.get_legend() or figure.legends[0]
    return [text.get_text() for text in own.get_texts()]


def test_the_best_the_focus_and_the_ceiling_are_chosen_where_methods_are_many() -> None:
    rows = result_rows(LINES)
    assert curve_methods(rows, None, "auroc", focus="network 16") == LEADING
    assert curve_methods(rows, None, "auroc") == method_order([("oracle", None), *PROBED[:MOST_METHODS]])
    few = [("oracle", None), *PROBED[:5]]
    assert curve_methods(result_rows(few), None, "auroc", focus="network 03") == method_order(few)


@pytest.mark.parametrize("kind", FIGURES)
def test_curves_of_twenty_methods_are_those_of_the_leading_ones_and_the_others_are_counted(kind: str) -> None:
    figure = FIGURES[kind](LINES, LEADING)
    for axes in figure.axes:
        curves = [line for line in axes.lines if len(line.get_xdata()) > 1][1:]  # the first is the diagonal
        assert len(curves) == len(LEADING)
        told = legend_of(figure, axes)
        assert told[-1] == "and 13 more in the tables"
        assert [name.rsplit(" 0.", 1)[0].removesuffix(" 1.00") for name in told[:-1]] == [*map(method_title, LEADING)]
    assert figure.get_size_inches()[1] < 6.5


@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize("drawn", [None, LINES[:2]])
def test_nothing_is_counted_where_all_are_drawn(kind: str, drawn: list[Method] | None) -> None:
    figure = FIGURES[kind](LINES[:2], drawn)
    for axes in figure.axes:
        assert len(legend_of(figure, axes)) == 2


def test_a_method_looks_alike_in_every_figure_whichever_others_are_drawn() -> None:
    styles = Styles(LINES)
    expected = [styles.of(method)[:2] for method in LEADING]
    for make in FIGURES.values():
        curves = make(LINES, LEADING).axes[0].lines[1 : len(LEADING) + 1]
        assert [(line.get_color(), line.get_marker()) for line in curves] == expected
    drawn = forest(result_rows(LINES), None, "auroc", targets=TARGETS, methods=LEADING).axes[0].containers
    assert [(made.lines[0].get_color(), made.lines[0].get_marker()) for made in drawn] == expected


def test_a_target_of_which_a_method_has_no_prediction_has_no_curve_of_it() -> None:
    truth = (np.arange(40) % 2).astype(float)[:, None].repeat(len(TARGETS), axis=1)
    scores = np.random.default_rng(0).normal(size=truth.shape)
    figure = roc(truth, {PROBED[0]: np.where([True, False], np.nan, scores), PROBED[1]: scores}, TARGETS)
    first, second = figure.axes[:2]
    assert [len(axes.get_legend().get_texts()) for axes in (first, second)] == [1, 2]
