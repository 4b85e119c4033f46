"""The tables of a report before they are written: what a reader wants to know first, from rows of results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from ecgcmr.evaluation.assessment import Assessment
from ecgcmr.evaluation.costs import CostRow
from ecgcmr.evaluation.methods import Method, best_row, headline_group, leading_rows, method_order, method_title
from ecgcmr.evaluation.published import PublishedRow
from ecgcmr.evaluation.rows import MEAN, DifferenceRow, ResultRow, SubgroupRow
from ecgcmr.evaluation.training_ends import marked
from ecgcmr.metrics.catalogue import Metric
from ecgcmr.metrics.tasks import Task, labelled, task_for
from ecgcmr.reports.cost_columns import with_costs
from ecgcmr.reports.grid import Grid, Line
from ecgcmr.reports.published_lines import column_at, rows_at, with_published

Item = TypeVar("Item")


class OfTask(Protocol):
    """What says which task it is about."""

    @property
    def task(self) -> str:
        """Kind of the task."""

    @property
    def task_name(self) -> str:
        """Its name."""


R = TypeVar("R", bound=OfTask)


def tasks_in(found: Assessment, rows: Iterable[ResultRow]) -> list[Task]:
    """Return the tasks of an assessment and of further rows, in the order of tables."""
    further = _in_order((row.task, row.task_name) for row in rows)
    made = [task_for(kind, name).with_metrics(found.metrics) for kind, name in further]
    return labelled([*found.data.tasks, *made])


def rows_of_task(rows: Iterable[R], task: Task) -> list[R]:
    """Return the rows of a task."""
    return [row for row in rows if (row.task, row.task_name) == (task.kind, task.name)]


def headline(
    rows: Sequence[ResultRow],
    task: Task,
    ranked: bool = True,
    published: Sequence[PublishedRow] = (),
    costs: Sequence[CostRow] = (),
) -> Grid | None:
    """Make the table of the leading mean: methods down, numbers of labels across; None where there are no means.

    Args:
        rows: Of the task.
        task: Which.
        ranked: Whether the best of a column is marked.
        published: Scores of others on the task, which stand below.
        costs: Of networks among the methods, which stand in columns of their own.
    """
    rows, metric = [row for row in rows if row.metric == task.primary], task.metric(task.primary)
    group = headline_group(rows)
    if group is None:
        return None
    chosen = [row for row in rows if row.target == MEAN and row.group == group]
    members = [row for row in rows if group == "all" or row.group in group.split("+")]
    counts = _counts(chosen)
    columns = [[row for row in chosen if row.labels in (count, None)] for count in counts]
    titles = ["any labels" if count is None else f"{count:,} labels" for count in counts]
    grid = Grid(
        f"Mean {metric.title} over {_number_of_targets(members)} ({group}){task.suffix}",
        ("method", *titles),
        _lines(columns, [metric] * len(columns), ranked),
        f"n = {max(row.n_test for row in chosen)} test subjects; columns: labelled training recordings.",
    )
    return with_costs(with_published(grid, published, metric, lambda row: column_at(row, counts)), costs)


def _number_of_targets(rows: Iterable[ResultRow]) -> str:
    """Say how many targets a mean is over: those that any method could be scored on, of all that there are."""
    single = [row for row in rows if row.target != MEAN]
    every, scored = {row.target for row in single}, {row.target for row in single if math.isfinite(row.value)}
    return f"{len(scored)} targets" if scored in (every, set()) else f"{len(scored)} of {len(every)} targets"


def details(
    rows: Sequence[ResultRow],
    task: Task,
    key: str,
    ranked: bool = True,
    published: Sequence[PublishedRow] = (),
    costs: Sequence[CostRow] = (),
) -> tuple[str, list[Grid]]:
    """Make one table of a metric for each number of labels: groups of targets, or single ones; returns the heading too.

    Single ones also where there is no mean over targets, or it has no meaning. Scores of others and costs stand in that
    of the only target; else they stand with the leading mean.
    """
    rows, metric = [row for row in rows if row.metric == key], task.metric(key)
    grouped = task.grouped and metric.averaged and any(row.target == MEAN for row in rows)
    if grouped:
        keys = [(MEAN, group) for group in _in_order(row.group for row in rows if row.target == MEAN)]
        names = [group.removesuffix(" mean") for _, group in keys]
    else:
        pairs = _in_order((row.target, row.group) for row in rows if row.target != MEAN)
        keys = [*pairs, *[(MEAN, "all")][: (len(pairs) - 1) * metric.averaged]]
        names = [target for target, _ in keys]
    grids, counts = [], _counts(rows)
    is_alone = key == task.primary and len(keys) == 1 and headline_group(rows) is None
    alone, priced = (published, costs) if is_alone else ((), ())
    for count in counts if keys else []:
        shown = [row for row in rows if row.labels in (count, None)]
        columns = [[row for row in shown if (row.target, row.group) == key] for key in keys]
        numbers = [max((row.n_test for row in column), default=0) for column in columns]
        titles = [f"{name} (n = {n})" for name, n in zip(names, numbers, strict=True)]
        heading = f"{count:,} labels" if count is not None else "any labels"
        grid = Grid(heading, ("method", *titles), _lines(columns, [metric] * len(columns), ranked), level=3)
        grids.append(with_costs(with_published(grid, rows_at(alone, count, counts), metric, _always(0)), priced))
    by = task.detail if grouped or not task.grouped else "phenotype"
    return f"{metric.title[0].upper()}{metric.title[1:]} by {by}{task.suffix}", grids


def metric_grids(
    rows: Sequence[ResultRow], task: Task, ranked: bool = True, published: Sequence[PublishedRow] = ()
) -> list[Grid]:
    """Make methods x metrics for each number of labels: means over all targets, or the one target there is."""
    rows = [row for row in rows if row.metric in task.metrics]
    single = {row.target for row in rows} - {MEAN}
    leading = [row for row in rows if (row.target == MEAN and row.group == "all") or len(single) == 1]
    leading = [row for row in leading if len(single) == 1 or task.metric(row.metric).averaged]
    grids, counts = [], _counts(leading)
    for count in counts if leading else []:
        shown = [row for row in leading if row.labels in (count, None)]
        keys = [metric for metric in task.metrics if any(row.metric == metric for row in shown)]
        what = next(iter(single)) if len(single) == 1 else f"mean over {_number_of_targets(rows)}"
        labels = "" if count is None else f", {count:,} labels"
        n = sorted({row.n_test for row in shown})
        differ = f"Test subjects differ between methods: {n[0]:,} to {n[-1]:,}."
        caption = f"n = {n[0]:,} test subjects." if len(n) == 1 else differ
        columns = [[row for row in shown if row.metric == metric] for metric in keys]
        metrics = [task.metric(key) for key in keys]
        heading = f"{task.title}{task.suffix}: {what}{labels}"
        titles = ("method", *(metric.title for metric in metrics))
        grid = Grid(heading, titles, _lines(columns, metrics, ranked), caption)
        there = rows_at(published, count, counts) if task.primary in keys else []
        grids.append(
            with_published(grid, there, task.metric(task.primary), _always(keys.index(task.primary) if there else 0))
        )
    return grids


def _always(column: int) -> Callable[[PublishedRow], int]:
    return lambda row: column


def difference_grid(rows: Sequence[DifferenceRow], task: Task) -> Grid | None:
    """Make the table of paired differences of the leading mean, or of every target where there are no means."""
    rows = rows_of_task(rows, task)
    group = headline_group(rows)
    shown = [row for row in rows if (row.target == MEAN and row.group == group) or group is None]
    if not shown:
        return None
    lines = []
    for row in shown:
        pair = f"{method_title((row.method, row.protocol))} - {method_title((row.reference, row.reference_protocol))}"
        texts = (
            "-" if row.labels is None else f"{row.labels:,}",
            row_text(row, task.metric(row.metric)),
            p_text(row.p),
            p_text(row.p_holm),
            f"{row.n_test:,}",
        )
        lines.append(_plain_line(pair if group is not None else f"{row.target}: {pair}", texts))
    metric = task.metric(task.primary).title
    heading = f"Paired differences in {metric if group is None else f'mean {metric} ({group})'}{task.suffix}"
    titles = ("methods", "labels", "difference (95 % interval)", "p", "p, Holm", "n")
    return Grid(heading, titles, tuple(lines), level=3)


def shown_line(found: Assessment, task: Task) -> tuple[Method, int | None] | None:
    """Return the method that details are shown of: the focus, else the best by the leading mean; ceilings apart."""
    rows = [row for row in rows_of_task(found.scores, task) if row.metric == task.primary]
    leading = leading_rows(rows)
    chosen = [row for row in leading if row.method == found.settings.focus] or leading
    counts = [row.labels for row in chosen if row.labels is not None]
    best = best_row([row for row in chosen if not counts or row.labels == max(counts)], task.metric(task.primary))
    return None if best is None else ((best.method, best.protocol), best.labels)


def target_grid(found: Assessment, task: Task) -> Grid | None:
    """Make targets x metrics for the shown method."""
    shown = shown_line(found, task)
    if shown is None:
        return None
    (method, protocol), labels = shown
    rows = [row for row in rows_of_task(found.scores, task) if row.target != MEAN]
    cells = {
        (row.target, row.metric): row
        for row in rows
        if (row.method, row.protocol, row.labels) == (method, protocol, labels)
    }
    units = {target.name: target.unit for target in found.data.targets}
    lines = []
    for name in dict.fromkeys(target for target, _ in cells):
        texts = [f"{cells[name, task.primary].n_test:,}"]
        for metric in task.metrics:
            row = cells[name, metric]
            low = row.ci_low if metric == task.primary else float("nan")
            texts.append(row_text(replace(row, ci_low=low), task.metric(metric)))
        lines.append(_plain_line(f"{name} [{units[name]}]" if units[name] else name, texts))
    titles = ("target", "n", *(task.metric(metric).title for metric in task.metrics))
    count = "" if labels is None else f", {labels:,} labels"
    heading = f"{task.title}{task.suffix} one by one: {method_title((method, protocol))}{count}"
    return Grid(heading, titles, tuple(lines))


def subgroup_grids(rows: Sequence[SubgroupRow], task: Task) -> list[Grid]:
    """Make subgroups x methods: the leading mean of targets that come in groups, else each target."""
    rows = [row for row in rows_of_task(rows, task) if row.metric == task.primary]
    group = headline_group(rows)
    metric = task.metric(task.primary)
    grids = []
    for target in [MEAN] if task.grouped and group else _in_order(row.target for row in rows if row.target != MEAN):
        shown = [row for row in rows if row.target == target and (target != MEAN or row.group == group)]
        methods = method_order((row.method, row.protocol) for row in shown)
        lines = []
        for key in _in_order((row.attribute, row.subgroup) for row in shown):
            cells = {(row.method, row.protocol): row for row in shown if (row.attribute, row.subgroup) == key}
            n = max((row.n_test or 0 for row in cells.values()), default=0)
            texts = [f"{n:,}" if n else next(iter(cells.values())).reason]
            for row in (cells.get(method) for method in methods):
                texts.append("-" if row is None else row_text(row, metric))
            lines.append(_plain_line(f"{key[0].replace('_', ' ')}: {key[1]}", texts))
        what = f"mean {metric.title} ({group}){task.suffix}" if target == MEAN else f"{metric.title} of {target}"
        titles = ("subgroup", "n", *map(method_title, methods))
        caption = "Each method at its largest number of labels."
        grids.append(Grid(f"Subgroups: {what}", titles, tuple(lines), caption))
    return grids


def cell_text(value: float, low: float, high: float, metric: Metric) -> str:
    """Return "0.412 (0.380 to 0.444)", a dash where undefined."""
    if not math.isfinite(value):
        return "-"
    digits = metric.digits
    # z: no negative zero
    interval = f" ({low:z.{digits}f} to {high:z.{digits}f})" if math.isfinite(low) else ""
    return f"{value:z.{digits}f}{interval}"


def row_text(row: ResultRow, metric: Metric) -> str:
    """Return the number of a row as a cell has it, marked where its training ended at an edge of its budget."""
    text = cell_text(row.value, row.ci_low, row.ci_high, metric)
    return marked(text, row.ended) if math.isfinite(row.value) else text


def _lines(columns: Sequence[Sequence[ResultRow]], metrics: Sequence[Metric], ranked: bool) -> tuple[Line, ...]:
    """Methods down, one column of rows for each of ``metrics``; a column holds at most one row a method."""
    best = [best_row(column, metric) for column, metric in zip(columns, metrics, strict=True)]
    found = [{(row.method, row.protocol): row for row in column} for column in columns]
    lines = []
    for method in method_order((row.method, row.protocol) for column in columns for row in column):
        cells = []
        for column, metric, winner in zip(found, metrics, best, strict=True):
            row = column.get(method)
            text = "-" if row is None else row_text(row, metric)
            cells.append((text, ranked and row is not None and row is winner))
        lines.append((method_title(method), tuple(cells)))
    return tuple(lines)


def _plain_line(name: str, texts: Iterable[str]) -> Line:
    return name, tuple((text, False) for text in texts)


def _counts(rows: Iterable[ResultRow]) -> list[int | None]:
    """Return the numbers of labels that rows have, rising; [None] where they have none."""
    return [*sorted({row.labels for row in rows if row.labels is not None})] or [None]


def p_text(p: float) -> str:
    """Return a p value with three or four decimals, a dash where undefined."""
    if not math.isfinite(p):
        return "-"
    return f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def _in_order(items: Iterable[Item]) -> list[Item]:
    return list(dict.fromkeys(items))
