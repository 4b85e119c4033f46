"""The figures of an assessment, chosen by what the table of predictions holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecgcmr.evaluation.arrangement import Variant, title_of
from ecgcmr.evaluation.assessment import Assessment
from ecgcmr.evaluation.results import MEAN, ResultRow
from ecgcmr.metrics.catalogue import PRIMARY
from ecgcmr.metrics.decisions import CalibrationBin
from ecgcmr.reports.agreement_figures import bland_altman, calibration
from ecgcmr.reports.bullseye import bullseye
from ecgcmr.reports.figures import label_efficiency, roc, save_figure, scatter
from ecgcmr.reports.forest_figures import curve_methods, forests
from ecgcmr.reports.report_text import shown_line
from ecgcmr.reports.tables import Method, headline_group

FIRST = ("lv_edv", "lv_ef", "lv_mass", "rv_edv")
"""Phenotypes drawn subject by subject, where the table has them; else the first few."""

_SEGMENTAL = (("wt", "Wall thickness"), ("ecc", "Circumferential strain"), ("err", "Radial strain"))
_MOST_PANELS = 8


def draw_report(found: Assessment, folder: Path) -> list[Path]:
    """Write PNGs of all that can be drawn, from label efficiency to the AHA bull's-eye.

    What shows single subjects or curves (scatter, Bland-Altman, ROC, calibration) is of the first seed: averaging seeds
    would make an ensemble, which is better than what the tables report.

    Returns:
        The files written.
    """
    made: list[Path] = []
    for kind, metric in PRIMARY.items():
        rows: list[ResultRow] = [row for row in found.scores if row.task == kind and np.isfinite(row.value)]
        rows = [row for row in rows if row.metric == metric]
        columns = found.data.columns(kind)
        if not rows:
            continue
        targets = [found.data.targets[k] for k in columns]
        counts = sorted({row.labels for row in rows if row.labels is not None})
        count = counts[-1] if counts else None
        if len(counts) > 1:
            group, target = headline_group(rows), MEAN
            if group is None:
                target = targets[0].name
            figure = label_efficiency(rows, metric, target=target, task=kind)
            made.append(save_figure(figure, folder / f"{kind}_label_efficiency.png"))
        drawn = forests(rows, count, metric, targets=targets, focus=found.settings.focus)
        made += [save_figure(figure, folder / f"{kind}_{name}.png") for name, figure in drawn.items()]
        if kind == "regression":
            made += _phenotypes(found, folder)
        elif kind == "classification":
            made += _diseases(found, folder, rows, count)
    return made


def _phenotypes(found: Assessment, folder: Path) -> list[Path]:
    shown = shown_line(found, "regression")
    if shown is None:
        return []
    (method, protocol), labels = shown
    variant = Variant(method, protocol, labels)
    data = found.data
    scored = [k for k in data.columns("regression") if data.targets[k].name not in found.undefined]
    columns = [k for k in scored if data.targets[k].name in FIRST] or scored[:4]
    targets = [data.targets[k] for k in columns]
    prediction = data.one_seed(variant)[:, columns]
    truth, title = data.test.truth[:, columns], title_of(variant)
    several = len(data.test.predictions[variant]) > 1
    of_seed = f"{title}, seed {min(data.test.predictions[variant])}" if several else title
    figures = {"scatter": scatter, "bland_altman": bland_altman}
    made = [
        save_figure(draw(truth, prediction, targets, title=of_seed), folder / f"regression_{name}.png")
        for name, draw in figures.items()
    ]
    score = {
        row.target: row.value
        for row in found.scores
        if (row.method, row.protocol, row.labels, row.metric) == (method, protocol, labels, "r2")
    }
    segmental = {
        what: [score.get(f"{stem}_aha_{k}", float("nan")) for k in range(1, 17)]
        for stem, what in _SEGMENTAL
        if any(f"{stem}_aha_{k}" in score for k in range(1, 17))
    }
    if segmental:
        figure = bullseye(list(segmental.values()), list(segmental), title=title)
        made.append(save_figure(figure, folder / "regression_bullseye.png"))
    return made


def _diseases(found: Assessment, folder: Path, rows: Sequence[ResultRow], count: int | None) -> list[Path]:
    """Draw the curves of the methods that lead by the metric of ``rows``; calibration of those that have any."""
    data, focus = found.data, found.settings.focus
    scored = [k for k in data.columns("classification") if data.targets[k].name not in found.undefined][:_MOST_PANELS]
    if not scored:
        return []
    targets = [data.targets[k] for k in scored]
    given = {
        variant.line: data.one_seed(variant)[:, scored] for variant in data.variants if variant.labels in (count, None)
    }
    scores = {line: values for line, values in given.items() if np.isfinite(values).any()}
    title = "" if count is None else f"{count:,} labels"
    drawn = curve_methods(rows, count, PRIMARY["classification"], focus=focus)
    figure = roc(data.test.truth[:, scored], scores, targets, methods=drawn, title=title)
    made = [save_figure(figure, folder / "classification_roc.png")]
    names = {target.name for target in targets}
    curves: dict[str, dict[Method, Sequence[CalibrationBin]]] = {}
    for row in found.calibration:
        if row.target in names and row.labels in (count, None):
            curves.setdefault(row.target, {})[row.method, row.protocol] = row.bins
    if curves:
        known = {method for own in curves.values() for method in own}
        own_rows = [row for row in rows if (row.method, row.protocol) in known]
        drawn = curve_methods(own_rows, count, PRIMARY["classification"], focus=focus)
        figure = calibration(curves, targets, methods=drawn, title=title)
        made.append(save_figure(figure, folder / "classification_calibration.png"))
    return made
