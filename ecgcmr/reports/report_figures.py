"""The figures of an assessment, chosen by what the table of predictions holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ecgcmr.evaluation.arrangement import Variant, title_of
from ecgcmr.evaluation.assessment import Assessment
from ecgcmr.evaluation.methods import Method, headline_group
from ecgcmr.evaluation.rows import MEAN, ResultRow
from ecgcmr.metrics.decisions import CalibrationBin
from ecgcmr.metrics.tasks import Task
from ecgcmr.reports.agreement_figures import bland_altman, calibration
from ecgcmr.reports.bullseye import bullseye
from ecgcmr.reports.figures import label_efficiency, roc, save_figure, scatter
from ecgcmr.reports.forest_figures import curve_methods, forests
from ecgcmr.reports.tables import rows_of_task, shown_line

FIRST = ("lv_edv", "lv_ef", "lv_mass", "rv_edv")
"""Phenotypes drawn subject by subject, where the table has them; else the first few."""

_SEGMENTAL = (("wt", "Wall thickness"), ("ecc", "Circumferential strain"), ("err", "Radial strain"))
_MOST_PANELS = 8


def draw_report(found: Assessment, folder: Path, *, every_count: bool = False) -> list[Path]:
    """Write PNGs of all that can be drawn, from label efficiency to the AHA bull's-eye.

    Files begin with the kind of the task, or with its name where tasks share a kind, or under ``every_count``. What
    shows single subjects or curves (scatter, Bland-Altman, ROC, calibration) is of the first seed: averaging seeds
    would make an ensemble, which is better than what the tables report.

    Args:
        found: What to draw.
        folder: Where.
        every_count: Draw forest plots at every number of labels, not at the largest alone.

    Returns:
        The files written.
    """
    made: list[Path] = []
    for task in found.data.tasks:
        shared = sum(other.kind == task.kind for other in found.data.tasks) > 1
        prefix = task.name if shared or every_count else task.kind
        figures = _TaskFigures(found, task, every_count).drawn()
        made += [save_figure(figure, folder / f"{prefix}_{name}.png") for name, figure in figures.items()]
    return made


@dataclass(frozen=True)
class _TaskFigures:
    """The figures of one task by name."""

    found: Assessment
    task: Task
    every_count: bool

    def drawn(self) -> dict[str, Figure]:
        """Draw all that the task's scores allow, by name."""
        data, metric = self.found.data, self.task.primary
        rows = [row for row in rows_of_task(self.found.scores, self.task) if np.isfinite(row.value)]
        rows = [row for row in rows if row.metric == metric]
        if not rows:
            return {}
        targets = [data.targets[k] for k in data.columns(self.task)]
        counts = sorted({row.labels for row in rows if row.labels is not None})
        figures: dict[str, Figure] = {}
        if len(counts) > 1:
            target = targets[0].name if headline_group(rows) is None else MEAN
            figures["label_efficiency"] = label_efficiency(rows, metric, target=target)
        every: list[int | None] = [*counts] if self.every_count else [*counts[-1:]]
        for count in every or [None]:
            forest = forests(rows, count, metric, targets=targets, focus=self.found.settings.focus)
            suffix = f"_{count}_labels" if self.every_count else ""
            figures |= {f"{name}{suffix}": figure for name, figure in forest.items()}
        if self.task.binary:
            return figures | self._curves(rows, counts[-1] if counts else None)
        return figures | ({} if self.task.followed else self._numbers())

    def _numbers(self) -> dict[str, Figure]:
        """Draw predicted against true values, and what segments reach, of the shown method."""
        found, data = self.found, self.found.data
        shown = shown_line(found, self.task)
        if shown is None:
            return {}
        (method, protocol), labels = shown
        variant = Variant(method, protocol, labels)
        scored = [k for k in data.columns(self.task) if data.targets[k].name not in found.undefined]
        columns = [k for k in scored if data.targets[k].name in FIRST] or scored[:4]
        targets = [data.targets[k] for k in columns]
        truth, prediction = data.test.truth[:, columns], data.one_seed(variant)[:, columns]
        title, seeds = title_of(variant), data.test.predictions[variant]
        of_seed = f"{title}, seed {min(seeds)}" if len(seeds) > 1 else title
        figures = {
            "scatter": scatter(truth, prediction, targets, title=of_seed),
            "bland_altman": bland_altman(truth, prediction, targets, title=of_seed),
        }
        score = {
            row.target: row.value
            for row in rows_of_task(found.scores, self.task)
            if (row.method, row.protocol, row.labels, row.metric) == (method, protocol, labels, self.task.primary)
        }
        segmental = {
            what: [score.get(f"{stem}_aha_{k}", float("nan")) for k in range(1, 17)]
            for stem, what in _SEGMENTAL
            if any(f"{stem}_aha_{k}" in score for k in range(1, 17))
        }
        if segmental:
            figures["bullseye"] = bullseye(list(segmental.values()), list(segmental), title=title)
        return figures

    def _curves(self, rows: Sequence[ResultRow], count: int | None) -> dict[str, Figure]:
        """Draw the ROC curves of the methods that lead by ``rows``, and the calibration of those that have any."""
        found, data, metric = self.found, self.found.data, self.task.primary
        scored = [k for k in data.columns(self.task) if data.targets[k].name not in found.undefined][:_MOST_PANELS]
        if not scored:
            return {}
        targets, focus = [data.targets[k] for k in scored], found.settings.focus
        variants = [variant for variant in data.variants_in(self.task) if variant.labels in (count, None)]
        given = {variant.line: data.one_seed(variant)[:, scored] for variant in variants}
        scores = {line: values for line, values in given.items() if np.isfinite(values).any()}
        title = "" if count is None else f"{count:,} labels"
        leading = curve_methods(rows, count, metric, focus=focus)
        figures = {"roc": roc(data.test.truth[:, scored], scores, targets, methods=leading, title=title)}
        names = {target.name for target in targets}
        curves: dict[str, dict[Method, Sequence[CalibrationBin]]] = {}
        for row in found.calibration:
            if row.target in names and row.labels in (count, None):
                curves.setdefault(row.target, {})[row.method, row.protocol] = row.bins
        if curves:
            known = {method for bins in curves.values() for method in bins}
            leading = curve_methods(
                [row for row in rows if (row.method, row.protocol) in known], count, metric, focus=focus
            )
            figures["calibration"] = calibration(curves, targets, methods=leading, title=title)
        return figures
