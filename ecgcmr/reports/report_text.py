"""results.md and results.tex: the same tables, to read and to publish."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ecgcmr.evaluation.assessment import Assessment
from ecgcmr.evaluation.published import PublishedRow
from ecgcmr.evaluation.rows import DifferenceRow, ResultRow
from ecgcmr.files import write_atomically
from ecgcmr.metrics.tasks import TASKS, Task
from ecgcmr.reports.grid import Grid
from ecgcmr.reports.tables import (
    details,
    difference_grid,
    headline,
    metric_grids,
    rows_of_task,
    subgroup_grids,
    target_grid,
    tasks_in,
)
from ecgcmr.text import LONGEST_NAME, markdown_cell, printable

LEGEND = (
    "Each cell: value (95 % interval over resampled test subjects). {} "
    "A dash: not run or not defined. Every number, with further metrics, is in `results.json`."
)
BEST = "**Bold**: best of its column, oracle apart."
UNRANKED = "None is marked as best: two methods share no test subject."
DETAILS = "<!-- details -->"
"""Stands in an experiment's results.md between what leads and what follows."""


def write_report_md(found: Assessment, path: Path | str, *, title: str, rows: Sequence[ResultRow] = ()) -> Path:
    """Write all readable tables of an assessment atomically.

    Args:
        found: From ``assess``.
        path: The file.
        title: Heading.
        rows: Rows of further runs, of which there are no predictions.
    """
    everything, tasks = [*found.scores, *rows], tasks_in(found, rows)
    parts = [f"# {markdown_cell(title)}", _summary(found), LEGEND.format(BEST if found.ranked else UNRANKED)]
    if found.undefined:
        lines = [f"- {markdown_cell(name)}: {markdown_note(reason)}" for name, reason in found.undefined.items()]
        parts.append("## Targets that cannot be scored\n\n" + "\n".join(lines))
    parts += [_markdown(grid) for grid in _metric_grids(everything, tasks, found.ranked, found.published)]
    for task in tasks:
        parts += _leading(everything, found.differences, task, found)
        parts += _details(everything, task, found)
    parts += [_markdown(grid) for grid in (target_grid(found, task) for task in tasks) if grid is not None]
    parts += [_markdown(grid) for task in tasks for grid in subgroup_grids(found.subgroups, task)]
    return _write(path, parts, found.notes)


def write_overview_md(
    parts: Sequence[Assessment], path: Path | str, *, title: str, head: Sequence[str] = (), notes: Sequence[str] = ()
) -> Path:
    """Write the leading tables of an experiment's tasks, then their details, atomically.

    For each task: the leading mean by method and number of labels, and paired differences of it; then tables by group
    of targets, or by target, which lead where a task has a single target and so no mean. The best method of a column is
    bold; the oracle is a ceiling and takes no part.

    Args:
        parts: An assessment for each task.
        path: The file.
        title: Heading.
        head: Markdown that stands before all tables.
        notes: Lines for the end, before those of the assessments.
    """
    each = [(found, task) for found in parts for task in found.data.tasks]
    leads, following = list[str](), list[str]()
    for found, task in each:
        leads += _leading(found.scores, _leading_differences(found), task, found)
        has_mean = headline(rows_of_task(found.scores, task), task, found.ranked) is not None
        (following if has_mean else leads).extend(_details(found.scores, task, found))
    unscored = [f"{name}: {reason}" for found in parts for name, reason in found.undefined.items()]
    further = [note for found in parts for note in found.notes]
    everything = [f"# {markdown_cell(title)}", LEGEND.format(BEST), *head, *leads, DETAILS, *following]
    return _write(path, everything, dict.fromkeys([*notes, *unscored, *further]))


def write_report_tex(found: Assessment, path: Path | str, *, rows: Sequence[ResultRow] = ()) -> Path:
    r"""Write the tables as LaTeX for ``\input``, atomically; the document needs the packages booktabs and graphicx."""
    everything, tasks = [*found.scores, *rows], tasks_in(found, rows)
    grids = _metric_grids(everything, tasks, found.ranked, found.published)
    for task in tasks:
        difference = difference_grid(found.differences, task)
        grids += [grid for grid in (difference, target_grid(found, task)) if grid is not None]
    grids += [_narrowed(grid) for task in tasks for grid in subgroup_grids(found.subgroups, task)]
    head = "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}. Intervals are 95 %, over resampled subjects."
    return write_atomically(path, ("\n\n".join([head, *map(_latex, grids)]) + "\n").encode())


def _metric_grids(
    rows: Sequence[ResultRow], tasks: Sequence[Task], ranked: bool, published: Sequence[PublishedRow]
) -> list[Grid]:
    return [
        grid
        for task in tasks
        for grid in metric_grids(rows_of_task(rows, task), task, ranked, rows_of_task(published, task))
    ]


def _leading(
    rows: Sequence[ResultRow], differences: Sequence[DifferenceRow], task: Task, found: Assessment
) -> list[str]:
    """Return the table of the leading mean, and that of its paired differences."""
    published = rows_of_task(found.published, task)
    grids = (
        headline(rows_of_task(rows, task), task, found.ranked, published, found.costs),
        difference_grid(differences, task),
    )
    return [_markdown(grid) for grid in grids if grid is not None]


def _leading_differences(found: Assessment) -> list[DifferenceRow]:
    """Return those of the focus and of pairs that were asked for; without a focus all pairs are too many to lead."""
    if found.settings.focus or found.settings.against:
        return found.differences
    return [row for row in found.differences if (row.method, row.reference) in found.settings.compared]


def _details(rows: Sequence[ResultRow], task: Task, found: Assessment) -> list[str]:
    parts, published = list[str](), rows_of_task(found.published, task)
    for key in (task.primary, *(metric.key for metric in task.named)):
        heading, grids = details(rows_of_task(rows, task), task, key, found.ranked, published, found.costs)
        parts += [f"## {markdown_cell(heading)}", *map(_markdown, grids)] if grids else []
    return parts


def _write(path: Path | str, parts: Sequence[str], notes: Iterable[str]) -> Path:
    lines = "\n".join(f"- {markdown_note(note)}" for note in notes)
    everything = [*parts, *([f"## Notes\n\n{lines}"] if lines else [])]
    return write_atomically(path, ("\n\n".join(everything) + "\n").encode())


def markdown_note(text: str) -> str:
    """Return a sentence for Markdown; what it sets between backticks, such as a file's name, stays so."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0 or not all(_CODE.fullmatch(piece) for piece in pieces[1::2]):
        return markdown_cell(text, _LONGEST_NOTE)
    return "`".join(piece if k % 2 else markdown_cell(piece, _LONGEST_NOTE) for k, piece in enumerate(pieces))


_CODE = re.compile(r"[\w./-]+")
_LONGEST_NOTE = 10_000  # it may list many methods


def _summary(found: Assessment) -> str:
    data = found.data
    if not data.variants:
        return "No predictions were given: all numbers are as the runs wrote them."
    seeds = sorted({seed for own in data.test.predictions.values() for seed in own})
    of_seeds = f"seeds {', '.join(map(str, seeds))} (values are means over seeds)"
    if len(seeds) == 1:
        of_seeds = f"one seed ({seeds[0]})"
    counts = {kind: sum(task.kind == kind for task in data.task_of_target) for kind in TASKS}
    kinds = ", ".join(f"{count} {kind.replace('_', '-')}" for kind, count in counts.items() if count)
    return (
        f"{len(set(data.test.subjects)):,} subjects of split {found.settings.split}; targets: {kinds}; "
        f"{len({variant.line for variant in data.variants})} methods; {of_seeds}; "
        f"{found.settings.resamples:,} resamples, drawn with seed {found.settings.seed}."
    )


def _markdown(grid: Grid) -> str:
    rows = [f"| {' | '.join(map(markdown_cell, grid.titles))} |", "|---|" + "---:|" * (len(grid.titles) - 1)]
    for name, cells in grid.lines:
        texts = [f"**{markdown_cell(text)}**" if best else markdown_cell(text) for text, best in cells]
        rows.append(f"| {markdown_cell(name)} | " + " | ".join(texts) + " |")
    heading = f"{'#' * grid.level} {markdown_cell(grid.heading)}"
    below = markdown_note(grid.below)
    return "\n\n".join(part for part in (heading, markdown_note(grid.caption), "\n".join(rows), below) if part)


_MOST_COLUMNS = 12
"""More would be shrunk to what nobody can read on a page."""


def _narrowed(grid: Grid) -> Grid:
    """Swap lines and columns of a table that is too wide."""
    if len(grid.titles) <= _MOST_COLUMNS:
        return grid
    columns = zip(*(cells for _, cells in grid.lines), strict=True)
    lines = tuple(zip(grid.titles[1:], columns, strict=True))
    return replace(grid, titles=("", *(name for name, _ in grid.lines)), lines=lines)


def _latex(grid: Grid) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(grid.heading)}. {_escaped(grid.caption)}}}".replace(". }", ".}"),
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(grid.titles) - 1)}}}",
        r"\toprule",
        " & ".join(map(_escaped, grid.titles)) + r" \\",
        r"\midrule",
    ]
    for name, cells in grid.lines:
        texts = [rf"\textbf{{{_escaped(text)}}}" if best else _escaped(text) for text, best in cells]
        lines.append(" & ".join([_escaped(name), *texts]) + r" \\")
    below = [rf"\par\smallskip{{\footnotesize {_escaped(grid.below)}}}"] if grid.below else []
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", *below, r"\end{table}"])


_SPECIAL = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
_SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}
_SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}  # other signs in the fonts of old
_SPECIAL |= {"†": r"\dag{}", "‡": r"\ddag{}"}
_SPECIAL |= {"[": "{[}", "*": "{*}"}  # at the start of a line they would belong to the line break before
_MINUS = re.compile(r"(?<![\w.+-])-(?=\d)")


def _escaped(text: str) -> str:
    words = printable(" ".join(text.split()), LONGEST_NAME)
    return _MINUS.sub("$-$", "".join(_SPECIAL.get(character, character) for character in words))
