"""What an experiment writes of its results: one table of predictions, its assessment, and all that is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ecgcmr.evaluation.arrangement import arrange
from ecgcmr.evaluation.assessment import Assessment, assess
from ecgcmr.evaluation.prediction_table import checked_table, write_prediction_table
from ecgcmr.evaluation.progress import progress_bar
from ecgcmr.evaluation.published import PublishedRow
from ecgcmr.evaluation.result_file import write_assessment, write_rows
from ecgcmr.evaluation.rows import Settings, Target
from ecgcmr.experiments.cohort_plan import task_cohort
from ecgcmr.experiments.cohort_table import cohort_table
from ecgcmr.experiments.costs import measured_costs
from ecgcmr.experiments.experiment import Experiment
from ecgcmr.experiments.gain import gain_section
from ecgcmr.experiments.published import published_rows
from ecgcmr.experiments.references import chosen_references
from ecgcmr.files import write_atomically
from ecgcmr.metrics.catalogue import Metric
from ecgcmr.metrics.named_metric import load_metrics
from ecgcmr.metrics.tasks import Task
from ecgcmr.reports.report_figures import draw_report
from ecgcmr.reports.report_text import write_overview_md, write_report_md, write_report_tex
from ecgcmr.training.prediction_tables import FILE, joined_frames, prediction_frame


def write_results(experiment: Experiment) -> None:
    """Write predictions.parquet, evaluation/, results.json, differences.json, results.md, results.tex and figures/."""
    out, plan = experiment.out, experiment.plan
    frame = _predictions(experiment)
    write_prediction_table(out / FILE, frame)
    evaluation = plan.evaluation
    compared = evaluation.compared
    against, chosen = chosen_references(experiment)
    settings = Settings(
        resamples=evaluation.resamples,
        seed=plan.seed,
        focus=None if plan.focus is None else plan.shown(plan.focus),
        compared=tuple((first, plan.shown(second)) for first, second in compared),
        against=against,
    )
    predicted = [task for task in experiment.tasks if task.name in frame["task"].cat.categories]
    metrics = load_metrics(plan.evaluation.metrics, "evaluation.metrics")
    found = [assess_task(frame, task, settings, experiment.targets, metrics) for task in predicted]
    costs = measured_costs(experiment)
    for part in found:
        part.costs = costs
        part.published = [row for task in part.data.tasks for row in _published(experiment, task)]
    write_evaluation(found, out)
    rows = [row for part in found for row in part.scores]
    reported = {metric for task in experiment.tasks for metric in task.reported} | {metric.key for metric in metrics}
    published = [row for part in found for row in part.published]
    write_rows([row for row in rows if row.metric in reported], out / "results.json", published, costs)
    write_rows([row for part in found for row in part.differences], out / "differences.json")
    head = [_about(experiment), *cohort_table(experiment.cohorts, experiment.problems), *_gain(experiment, found)]
    title = plan.description or plan.path.stem
    write_overview_md(found, out / "results.md", title=title, head=head, notes=[*experiment.notes, *chosen])
    for part in found:
        draw_report(part, out / "figures", every_count=True)


def _predictions(experiment: Experiment) -> pd.DataFrame:
    """Return all predictions as one table, those of each cohort with its covariates."""
    frames = []
    for name, index in experiment.cohorts.indices.items():
        there = [part for part in experiment.predictions if task_cohort(experiment.plan, part.task.name) == name]
        frames += [prediction_frame(there, index)] if there else []
    return frames[0] if len(frames) == 1 else joined_frames(frames)


def assess_task(
    frame: pd.DataFrame,
    task: Task,
    settings: Settings,
    targets: Sequence[Target] = (),
    metrics: Sequence[Metric] = (),
) -> Assessment:
    """Assess one task of an experiment as ``ecgcmr evaluate`` assesses a table.

    Args:
        frame: Predictions of all tasks; a task's methods need not be those of another.
        task: Which.
        settings: How; a focus that the task lacks compares all pairs.
        targets: Order and titles of the targets in tables and figures.
        metrics: Of the user's own.
    """
    rows = frame[frame["task"] == task.name]
    if settings.focus not in set(rows["method"]):
        settings = replace(settings, focus=None)
    data = arrange(checked_table(rows, FILE, gaps=True), FILE, targets=targets, tasks=[task], metrics=metrics)
    with progress_bar(f"assessing {task.name}") as on_step:
        return assess(data, settings, on_step)


def write_evaluation(found: Sequence[Assessment], out: Path) -> None:
    """Write evaluation/TASK/ of each assessed task, and results.tex of all of them."""
    texts = []
    for part in found:
        (task,) = part.data.tasks
        folder = out / "evaluation" / task.name
        write_assessment(part, folder / "results.json")
        write_report_md(part, folder / "results.md", title=f"Assessment of {task.name}")
        texts.append(write_report_tex(part, folder / "results.tex").read_text())
    write_atomically(out / "results.tex", "\n".join(texts).encode())


def _published(experiment: Experiment, task: Task) -> list[PublishedRow]:
    return published_rows(experiment.plan, task, experiment.counts[task.name])


def _about(experiment: Experiment) -> str:
    plan = experiment.plan
    seeds, few = ", ".join(map(str, plan.seeds)), ", ".join(map(str, plan.finetune_seeds))
    text = "More metrics, subgroups and calibration are in `evaluation/`."
    if len(plan.seeds) > 1:
        text = (
            f"Values are means over seeds {seeds} of labelled recordings and random weights (fine-tuning and boosting: "
            f"{few}); intervals are over test subjects. {text}"
        )
    return text


def _gain(experiment: Experiment, found: Sequence[Assessment]) -> list[str]:
    gain = experiment.plan.evaluation.gain
    if gain is None:
        return []
    shown = experiment.plan.shown
    gain = replace(gain, method=shown(gain.method), over=list(map(shown, gain.over)))
    labels = experiment.counts[gain.task].get(gain.labels)
    more = sorted(set(experiment.counts[gain.task].values()) - {labels})
    return [
        gain_section(gain, part, labels, more) for part in found if gain.task in [task.name for task in part.data.tasks]
    ]
