"""The results of an experiment: for each task what leads, then every table, then every number."""

from __future__ import annotations

from collections.abc import Sequence

from ecgcmr.evaluation.assessment_file import AssessmentFile
from ecgcmr.evaluation.methods import headline_group, is_ceiling, method_order, method_title
from ecgcmr.evaluation.rows import MEAN, ScoreRow
from ecgcmr.metrics.tasks import Task
from ecgcmr.pages.charts import Interval, interval_chart
from ecgcmr.pages.long_tables import difference_table, score_table, subgroup_table
from ecgcmr.pages.markup import Html, anchor, element, joined
from ecgcmr.pages.tables import disclosure, grid_table, table
from ecgcmr.reports.grid import Grid
from ecgcmr.reports.tables import (
    details,
    difference_grid,
    headline,
    metric_grids,
    rows_of_task,
    subgroup_grids,
)

LEGEND = (
    "Each cell: value (95 % interval over resampled test subjects). Bold: best of its column, oracle apart. "
    "A dash: not run or not defined."
)


def results(assessments: Sequence[AssessmentFile], *, every_number: bool = True) -> Html:
    """Return the results of all tasks.

    Args:
        assessments: One for each task.
        every_number: Whether the long tables of single targets are among them.
    """
    tasks = (_task(found, task, every_number) for found in assessments for task in found.tasks)
    return joined([element("p", LEGEND), *tasks])


def _task(found: AssessmentFile, task: Task, every_number: bool) -> Html:
    scores, published = rows_of_task(found.scores, task), rows_of_task(found.published, task)
    parts = [
        element(
            "h3",
            task.title if task.name == task.kind else task.name[:1].upper() + task.name[1:],
            id=anchor("task", task.name),
        ),
        _leading_chart(scores, task),
    ]
    lead = headline(scores, task, published=published, costs=found.costs)
    parts += [] if lead is None else [grid_table(lead)]
    differences = difference_grid(found.differences, task)
    if differences is not None:
        parts.append(_folded(differences.heading, [differences]))
    for key in (task.primary, *(metric.key for metric in task.named)):
        heading, grids = details(scores, task, key, published=published, costs=found.costs)
        parts += [_folded(heading, grids)] if grids else []
    parts.append(_folded("All metrics", metric_grids(scores, task, published=published)))
    parts.append(_folded("Subgroups", subgroup_grids(found.subgroups, task)))
    parts.append(disclosure("Targets and their test subjects", _targets(found, task)))
    if every_number:
        parts += [score_table(scores, task), subgroup_table(rows_of_task(found.subgroups, task), task),
                  difference_table(rows_of_task(found.differences, task), task)]  # fmt: skip
    return joined(parts)


def _folded(summary: str, grids: Sequence[Grid]) -> Html:
    return disclosure(summary, *map(grid_table, grids)) if grids else Html("")


def _leading_chart(scores: Sequence[ScoreRow], task: Task) -> Html:
    """Draw the leading mean, or the one target that there is, of every method at every number of labels."""
    rows = [row for row in scores if row.metric == task.primary]
    group = headline_group(rows)
    single = {row.target for row in rows} - {MEAN}
    if group is None and len(single) != 1:
        return Html("")
    rows = [row for row in rows if group is None or (row.target == MEAN and row.group == group)]
    counts: list[int | None] = [*sorted({row.labels for row in rows if row.labels is not None})] or [None]
    cells = {(row.method, row.protocol, row.labels): (row.value, row.ci_low, row.ci_high) for row in rows}
    lines = []
    for method in method_order((row.method, row.protocol) for row in rows):
        without = cells.get((*method, None))  # an oracle has no labels: the same at every number of them
        values = [cells.get((*method, count)) for count in counts]
        values = [without if place == 0 else None for place in range(len(counts))] if without is not None else values
        lines.append(Interval(method_title(method), values, is_ceiling(method[0])))
    metric = task.metric(task.primary)
    what = next(iter(single)) if group is None else f"mean over targets ({group})"
    names = ["any labels" if count is None else f"{count:,} labels" for count in counts]
    return interval_chart(f"{metric.axis}, {what}", names, lines, metric.axis, metric.no_skill)


def _targets(found: AssessmentFile, task: Task) -> Html:
    chosen = [target for target in found.targets if (target.kind, target.task_name) == (task.kind, task.name)]
    binary = task.binary or task.followed
    titles = ["target", "title", "group", "unit", "known", "missing", *(["positive"] if binary else []), "remark"]
    rows = [
        (
            *(target.name, target.title, target.group, target.unit),
            *(f"{target.n_test:,}", f"{target.n_missing:,}"),
            *([f"{target.positives:,}" if target.positives is not None else "-"] if binary else []),
            target.undefined,
        )
        for target in chosen
    ]
    return table(f"Targets of {task.name}, subjects of the {found.split} split", titles, rows, words=4)
