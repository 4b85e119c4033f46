"""What an experiment shows of its results beyond the table: paired differences and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecgcmr.evaluation.bullseye import bullseye
from ecgcmr.evaluation.figures import forest, label_efficiency, roc, save_figure, scatter
from ecgcmr.evaluation.predictions import Predictions
from ecgcmr.evaluation.results import MEAN, DifferenceRow, ResultRow, Target, evaluate_difference
from ecgcmr.experiments.comparison import Experiment, Scored

FOCUS = "mae+alignment"
"""The method whose gain the experiment is about; compared with every other at the same number of labels."""

SCATTERED = ("lv_edv", "lv_ef", "lv_mass", "rv_edv")
"""Phenotypes whose predictions are drawn against the truth."""


def differences_of(experiment: Experiment) -> list[DifferenceRow]:
    """Return the paired differences between the linear probe of the focus method and every other method.

    Methods are compared on the same test subjects and at the same number of labels.
    """
    rows: list[DifferenceRow] = []
    for key, predictions in experiment.predictions.items():
        task, method, protocol, labels = key
        if (method, protocol) != (FOCUS, "linear_probe"):
            continue
        for other in _rivals(experiment, key):
            reference = experiment.predictions[other]
            rows += evaluate_difference(
                predictions.truth,
                predictions.prediction,
                reference.prediction,
                experiment.targets[task],
                predictions.task,
                method=method,
                reference=other[1] if other[2] != "finetune" else f"{other[1]} (fine-tuned)",
                protocol=protocol,
                labels=labels,
                generator=np.random.default_rng(experiment.plan.seed),
                subjects=predictions.subjects,
                resamples=experiment.plan.evaluation.resamples,
            )
    return rows


def _rivals(experiment: Experiment, key: Scored) -> list[Scored]:
    task, method, _, labels = key
    return [
        other
        for other in experiment.predictions
        if other[0] == task and other[3] == labels and other[1] not in (method, "oracle")
    ]


def draw_figures(experiment: Experiment) -> None:
    """Write the figures of an experiment to ``figures/``: label efficiency, forest, scatter, bull's-eye and ROC."""
    folder = experiment.out / "figures"
    for task, targets in experiment.targets.items():
        of_task = {key: value for key, value in experiment.predictions.items() if key[0] == task}
        if not of_task:
            continue
        kind = next(iter(of_task.values())).task
        metric = "r2" if kind == "regression" else "auroc"
        names = {target.name for target in targets}
        rows = [row for row in experiment.rows if row.task == kind and (row.target in names or row.target == MEAN)]
        counts = sorted({key[3] for key in of_task if key[3] is not None})
        if any(row.target == MEAN for row in rows) and counts:
            save_figure(label_efficiency(rows, metric, task=kind), folder / f"{task}_label_efficiency.png")
        shown = [target for target in targets if target.group in ("LV", "RV")] or targets
        for count in counts:
            save_figure(forest(rows, count, metric, targets=shown), folder / f"{task}_forest_{count}_labels.png")
        if not counts:
            continue
        if kind == "regression":
            _regression_figures(task, targets, of_task, rows, folder, counts[-1])
        else:
            _roc_figure(task, targets, of_task, folder, counts[-1])


def _regression_figures(
    task: str,
    targets: list[Target],
    of_task: dict[Scored, Predictions],
    rows: list[ResultRow],
    folder: Path,
    count: int,
) -> None:
    """Draw predicted against true values and segmental R2 of the focus method at the largest number of labels."""
    predictions = of_task.get((task, FOCUS, "linear_probe", count))
    if predictions is None:
        return
    columns = [k for k, target in enumerate(targets) if target.name in SCATTERED] or list(range(min(4, len(targets))))
    figure = scatter(
        predictions.truth[:, columns],
        predictions.prediction[:, columns],
        [targets[k] for k in columns],
        title=f"{FOCUS}, linear probe, {count} labels",
    )
    save_figure(figure, folder / f"{task}_scatter.png")
    score = {
        row.target: row.value
        for row in rows
        if (row.method, row.protocol, row.labels, row.metric) == (FOCUS, "linear_probe", count, "r2")
    }
    segmental = {
        title: [score[name] for name in (f"{stem}_aha_{k}" for k in range(1, 17))]
        for stem, title in (("wt", "Wall thickness"), ("ecc", "Circumferential strain"), ("err", "Radial strain"))
        if f"{stem}_aha_16" in score
    }
    if segmental:
        save_figure(bullseye(list(segmental.values()), list(segmental)), folder / f"{task}_bullseye.png")


def _roc_figure(task: str, targets: list[Target], of_task: dict[Scored, Predictions], folder: Path, count: int) -> None:
    chosen = {key: value for key, value in of_task.items() if key[3] in (count, None)}
    truth = next(iter(chosen.values())).truth
    curves = {(method, protocol): value.prediction for (_, method, protocol, _), value in chosen.items()}
    save_figure(roc(truth, curves, targets, title=f"{count} labels"), folder / f"{task}_roc.png")
