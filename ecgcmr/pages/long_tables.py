"""Every number of a task, folded until it is asked for: scores, subgroups and differences of single targets."""

from __future__ import annotations

from collections.abc import Sequence

from ecgcmr.evaluation.methods import method_title
from ecgcmr.evaluation.rows import MEAN, DifferenceRow, ResultRow, ScoreRow, SubgroupRow
from ecgcmr.metrics.tasks import Task
from ecgcmr.pages.markup import Html
from ecgcmr.pages.tables import disclosure, table
from ecgcmr.reports.tables import cell_text, p_text


def score_table(rows: Sequence[ScoreRow], task: Task) -> Html:
    """Return a line for each target, method and number of labels, with every metric."""
    cells = {(*_key(row), row.metric): row for row in rows}
    keys = dict.fromkeys(_key(row) for row in rows)
    lines = []
    for key in keys:
        found = [cells.get((*key, metric)) for metric in task.metrics]
        first = next(row for row in found if row is not None)
        reason = next((row.reason for row in found if row is not None and row.reason), "")
        texts = ["-" if row is None else cell_text(row.value, row.ci_low, row.ci_high, task.metric(row.metric))
                 for row in found]  # fmt: skip
        seeds = f"{first.n_seeds}"
        lines.append((*_names(first), _count(first.labels), f"{first.n_test:,}", seeds, *texts, reason))
    titles = ("target", "method", "labels", "n", "seeds", *(task.metric(key).title for key in task.metrics), "remark")
    caption = f"{task.name}: every target, method and metric"
    return _folded(caption, titles, lines, 2)


def subgroup_table(rows: Sequence[SubgroupRow], task: Task) -> Html:
    """Return a line for each target, method and subgroup, with the metrics that are computed in subgroups."""
    metrics = [key for key in task.metrics if any(row.metric == key for row in rows)]
    cells = {(*_key(row), row.attribute, row.subgroup, row.metric): row for row in rows}
    lines = []
    for key in dict.fromkeys(key[:-1] for key in cells):
        found = [cells.get((*key, metric)) for metric in metrics]
        first = next(row for row in found if row is not None)
        reason = next((row.reason for row in found if row is not None and row.reason), "")
        texts = ["-" if row is None else cell_text(row.value, row.ci_low, row.ci_high, task.metric(row.metric))
                 for row in found]  # fmt: skip
        group = f"{first.attribute.replace('_', ' ')}: {first.subgroup}"
        lines.append((*_names(first), group, _count(first.labels), _count(first.n_test), *texts, reason))
    titles = ("target", "method", "subgroup", "labels", "n", *(task.metric(key).title for key in metrics), "remark")
    return _folded(f"{task.name}: every subgroup", titles, lines, 3)


def difference_table(rows: Sequence[DifferenceRow], task: Task) -> Html:
    """Return a line for each target and pair of methods."""
    lines = [
        (
            *_names(row),
            method_title((row.reference, row.reference_protocol)),
            task.metric(row.metric).title,
            _count(row.labels),
            cell_text(row.value, row.ci_low, row.ci_high, task.metric(row.metric)),
            p_text(row.p),
            p_text(row.p_holm),
            f"{row.n_test:,}",
        )
        for row in rows
    ]
    titles = ("target", "method", "less", "metric", "labels", "difference (95 % interval)", "p", "p, Holm", "n")
    return _folded(f"{task.name}: every paired difference", titles, lines, 4)


def _folded(caption: str, titles: Sequence[str], lines: Sequence[Sequence[str]], words: int) -> Html:
    if not lines:
        return Html("")
    inner = table(caption, titles, lines, words=words)
    return disclosure(caption[0].upper() + caption[1:], inner, note=f"{len(lines):,} rows")


def _key(row: ResultRow) -> tuple[str, str, str, str | None, int | None]:
    return row.target, row.group, row.method, row.protocol, row.labels


def _names(row: ResultRow) -> tuple[str, str]:
    target = f"mean ({row.group.removesuffix(' mean')})" if row.target == MEAN else row.target
    return target, method_title((row.method, row.protocol))


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
