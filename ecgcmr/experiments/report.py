"""What an experiment writes of its results: tables, paired differences, the full assessment and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ecgcmr.evaluation.predictions import Predictions
from ecgcmr.evaluation.results import MEAN, DifferenceRow, ResultRow, Target, write_results_json
from ecgcmr.experiments.experiment import Experiment
from ecgcmr.experiments.gain import gain_paragraph
from ecgcmr.experiments.prediction_tables import prediction_frame, write_evaluation
from ecgcmr.experiments.scores import Line
from ecgcmr.files import write_atomically
from ecgcmr.metrics.catalogue import PRIMARY
from ecgcmr.reports.bullseye import bullseye
from ecgcmr.reports.figures import label_efficiency, roc, save_figure, scatter
from ecgcmr.reports.forest_figures import curve_methods, forests
from ecgcmr.reports.tables import Method, write_results_md
from ecgcmr.text import markdown_cell

SCATTERED = ("lv_edv", "lv_ef", "lv_mass", "rv_edv")
"""Phenotypes whose predictions are drawn against the truth."""


def differences_of(experiment: Experiment) -> list[DifferenceRow]:
    """Return the paired differences between the linear probe of the focus method and every other method.

    Methods are compared on the same test subjects and at the same number of labels.
    """
    rows: list[DifferenceRow] = []
    focus = experiment.plan.focus
    for scores in experiment.scores.values():
        for line in scores.lines:
            if (line.method, line.protocol) == (focus, "linear_probe"):
                for other in scores.lines:
                    if other.labels == line.labels and other.method not in (focus, "oracle"):
                        name = other.method if other.protocol != "finetune" else f"{other.method} (fine-tuned)"
                        rows += scores.differences(line, other, name)
    return rows


def write_tables(experiment: Experiment) -> None:
    """Write results.json, differences.json, results.md, and predictions.parquet with its full assessment."""
    out, plan = experiment.out, experiment.plan
    title = plan.description or plan.path.stem
    differences = differences_of(experiment)
    write_results_json(experiment.rows, out / "results.json")
    write_results_json(differences, out / "differences.json")
    notes = _notes(experiment)
    write_results_md(experiment.rows, out / "results.md", title=title, differences=differences, notes=notes)
    head, mark, tables = (out / "results.md").read_text().partition("\n\n## ")
    text = "\n\n".join([head.rstrip(), _about(experiment), *_gain(experiment)]) + (mark + tables or "\n")
    write_atomically(out / "results.md", text.encode())
    everything = [own for seeds in experiment.predictions.values() for own in seeds.values()]
    targets = [target for own in experiment.targets.values() for target in own]
    frame = prediction_frame([*everything, *experiment.validation], targets, experiment.index)
    tasks = {name: scores.task for name, scores in experiment.scores.items() if scores.lines}
    resamples = plan.evaluation.resamples
    write_evaluation(frame, out, tasks, resamples=resamples, seed=plan.seed, focus=plan.focus, targets=targets)


def _about(experiment: Experiment) -> str:
    plan = experiment.plan
    seeds, few = ", ".join(map(str, plan.seeds)), ", ".join(map(str, plan.finetune_seeds))
    text = "More metrics, subgroups and corrected p values are in `evaluation/`."
    if len(plan.seeds) > 1:
        text = (
            f"Values are means over seeds {seeds} of labelled subjects and random weights (fine-tuning and boosting: "
            f"{few}); intervals are over test subjects. {text}"
        )
    return text


def _gain(experiment: Experiment) -> list[str]:
    gain = experiment.plan.evaluation.gain
    if gain is None:
        return []
    labels = experiment.counts[gain.task].get(gain.labels)
    if labels is None:
        return [
            f"## Gain of {markdown_cell(gain.method)}\n\nThe cohort has too few labelled subjects for {gain.labels}."
        ]
    return [gain_paragraph(gain, experiment.scores[gain.task], labels)]


def _notes(experiment: Experiment) -> list[str]:
    """Return the experiment's notes, and how the assessment differs where subjects have several recordings."""
    notes = list(experiment.notes)
    shown = {task: next(iter(seeds.values())) for (task, _), seeds in experiment.predictions.items()}
    for task, predictions in shown.items():
        subjects = predictions.subjects
        if len(set(subjects)) < len(subjects):
            notes.append(
                f"{task}: {len(subjects):,} test recordings of {len(set(subjects)):,} subjects; `predictions.parquet` "
                "and `evaluation/` keep the first recording of each."
            )
    return notes


def draw_figures(experiment: Experiment) -> None:
    """Write the figures of an experiment to ``figures/``: label efficiency, forest, scatter, bull's-eye and ROC."""
    folder = experiment.out / "figures"
    for task, targets in experiment.targets.items():
        of_task = {line: seeds for (name, line), seeds in experiment.predictions.items() if name == task}
        if not of_task:
            continue
        kind = experiment.scores[task].task
        metric = PRIMARY[kind]
        names = {target.name for target in targets}
        rows = [row for row in experiment.rows if row.task == kind and (row.target in names or row.target == MEAN)]
        counts = sorted({line.labels for line in of_task if line.labels is not None})
        if any(row.target == MEAN for row in rows) and counts:
            save_figure(label_efficiency(rows, metric, task=kind), folder / f"{task}_label_efficiency.png")
        shown = [target for target in targets if target.group in ("LV", "RV")] or targets
        for count in counts:
            drawn = forests(rows, count, metric, targets=shown, focus=experiment.plan.focus)
            for name, figure in drawn.items():
                save_figure(figure, folder / f"{task}_{name}_{count}_labels.png")
        if not counts:
            continue
        if kind == "regression":
            _regression_figures(experiment, task, of_task, rows, counts[-1])
        elif kind == "classification":  # who is censored is neither case nor control: no single ROC curve
            leading = curve_methods(rows, counts[-1], metric, focus=experiment.plan.focus)
            _roc_figure(task, targets, of_task, folder, counts[-1], leading)


def _regression_figures(
    experiment: Experiment,
    task: str,
    of_task: Mapping[Line, Mapping[int, Predictions]],
    rows: list[ResultRow],
    count: int,
) -> None:
    """Draw predicted against true values and segmental R2 of the focus method at the largest number of labels."""
    focus, targets, folder = experiment.plan.focus, experiment.targets[task], experiment.out / "figures"
    seeds = of_task.get(Line(focus or "", "linear_probe", count))
    if seeds is None:
        return
    predictions = seeds[min(seeds)]
    columns = [k for k, target in enumerate(targets) if target.name in SCATTERED] or list(range(min(4, len(targets))))
    title = f"{focus}, linear probe, {count:,} labels"
    figure = scatter(
        predictions.truth[:, columns],
        predictions.prediction[:, columns],
        [targets[k] for k in columns],
        title=title,
    )
    save_figure(figure, folder / f"{task}_scatter.png")
    score = {
        row.target: row.value
        for row in rows
        if (row.method, row.protocol, row.labels, row.metric) == (focus, "linear_probe", count, "r2")
    }
    segmental = {
        what: [score[name] for name in (f"{stem}_aha_{k}" for k in range(1, 17))]
        for stem, what in (("wt", "Wall thickness"), ("ecc", "Circumferential strain"), ("err", "Radial strain"))
        if f"{stem}_aha_16" in score
    }
    if segmental:
        figure = bullseye(list(segmental.values()), list(segmental), title=title)
        save_figure(figure, folder / f"{task}_bullseye.png")


def _roc_figure(
    task: str,
    targets: list[Target],
    of_task: Mapping[Line, Mapping[int, Predictions]],
    folder: Path,
    count: int,
    drawn: Sequence[Method],
) -> None:
    """Draw the first seed of the leading methods: averaged predictions would be an ensemble."""
    chosen = {line: seeds[min(seeds)] for line, seeds in of_task.items() if line.labels in (count, None)}
    truth = next(iter(chosen.values())).truth
    curves = {(line.method, line.protocol): own.prediction for line, own in chosen.items()}
    figure = roc(truth, curves, targets, methods=drawn, title=f"{count:,} labels")
    save_figure(figure, folder / f"{task}_roc.png")
