"""results.md and results.tex of an assessment: the same tables, to read and to publish."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecgcmr.evaluation.assessment import Assessment
from ecgcmr.evaluation.results import MEAN, ResultRow
from ecgcmr.evaluation.rows import ComparisonRow, SubgroupRow
from ecgcmr.files import write_atomically
from ecgcmr.metrics.catalogue import KINDS, METRICS, PRIMARY, metrics_of
from ecgcmr.reports.tables import (
    LEGEND,
    Method,
    best_of,
    cell_text,
    details,
    headline,
    headline_group,
    markdown_note,
    method_order,
    notes_section,
)
from ecgcmr.reports.tables import method_title as title_of
from ecgcmr.text import LONGEST_NAME, markdown_cell, printable


@dataclass(frozen=True)
class Grid:
    """A table before it is written.

    Attributes:
        heading: What it shows.
        titles: Of the columns; the first column has the lines' names.
        lines: (name, cells); a cell is its text and whether it is the best of its column.
        caption: Below the heading.
    """

    heading: str
    titles: tuple[str, ...]
    lines: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]
    caption: str = ""


def write_report_md(found: Assessment, path: Path | str, *, title: str, rows: Sequence[ResultRow] = ()) -> Path:
    """Write the readable tables atomically.

    Args:
        found: From ``assess``.
        path: The file.
        title: Heading.
        rows: Rows of further runs, of which there are no predictions.
    """
    everything = [*found.scores, *rows]
    parts = [f"# {markdown_cell(title)}", _summary(found), LEGEND]
    if found.undefined:
        lines = [f"- {markdown_cell(name)}: {markdown_note(reason)}" for name, reason in found.undefined.items()]
        parts.append("## Targets that cannot be scored\n\n" + "\n".join(lines))
    parts += [_markdown(grid) for grid in metric_grids(everything)]
    for kind in KINDS:
        metric = PRIMARY[kind]
        scored = [row for row in everything if row.task == kind and row.metric == metric]
        parts += headline(scored, metric)
        grid = difference_grid([row for row in found.differences if row.task == kind])
        parts += [] if grid is None else [_markdown(grid, level=3)]
        parts += details(scored, metric)
    parts += [_markdown(grid) for grid in (target_grid(found, kind) for kind in KINDS) if grid is not None]
    parts += [_markdown(grid) for grid in subgroup_grids(found.subgroups)]
    if found.notes:
        parts.append(notes_section(found.notes))
    return write_atomically(path, ("\n\n".join(parts) + "\n").encode())


def write_report_tex(found: Assessment, path: Path | str, *, rows: Sequence[ResultRow] = ()) -> Path:
    r"""Write the tables as LaTeX for ``\input``, atomically; the document needs the packages booktabs and graphicx."""
    grids = metric_grids([*found.scores, *rows])
    for kind in KINDS:
        difference = difference_grid([row for row in found.differences if row.task == kind])
        grids += [grid for grid in (difference, target_grid(found, kind)) if grid is not None]
    grids += [_narrowed(grid) for grid in subgroup_grids(found.subgroups)]
    head = "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}. Intervals are 95 %, over resampled subjects."
    return write_atomically(path, ("\n\n".join([head, *map(_latex, grids)]) + "\n").encode())


def metric_grids(rows: Sequence[ResultRow]) -> list[Grid]:
    """Make methods x metrics for each kind and number of labels: means over all targets, or the one target there is."""
    grids = []
    for kind in KINDS:
        own = [row for row in rows if row.task == kind]
        single = {row.target for row in own} - {MEAN}
        leading = [row for row in own if (row.target == MEAN and row.group == "all") or len(single) == 1]
        leading = [row for row in leading if len(single) == 1 or METRICS[row.metric].averaged]
        counts: list[int | None] = [*sorted({row.labels for row in leading if row.labels is not None})]
        for count in counts or [None] * bool(leading):
            shown = [row for row in leading if row.labels in (count, None)]
            keys = [metric for metric in metrics_of(kind) if any(row.metric == metric for row in shown)]
            what = next(iter(single)) if len(single) == 1 else f"mean over {len(single)} targets"
            labels = "" if count is None else f", {count:,} labels"
            n = sorted({row.n_test for row in shown})
            differ = f"Test subjects differ between methods: {n[0]:,} to {n[-1]:,}."
            caption = f"n = {n[0]:,} test subjects." if len(n) == 1 else differ
            columns = [[row for row in shown if row.metric == metric] for metric in keys]
            titles = tuple(METRICS[metric].title for metric in keys)
            heading = f"{_KIND_TITLES[kind]}: {what}{labels}"
            grids.append(Grid(heading, ("method", *titles), _lines(columns, keys), caption))
    return grids


_KIND_TITLES = {"regression": "Phenotypes", "classification": "Diseases and findings", "time_to_event": "Events"}


def _lines(columns: Sequence[Sequence[ResultRow]], keys: Sequence[str]) -> tuple:
    """Methods down, one column of rows for each key."""
    best = [best_of(column, metric) for column, metric in zip(columns, keys, strict=True)]
    found = [{(row.method, row.protocol): row for row in column} for column in columns]
    lines = []
    for method in method_order((row.method, row.protocol) for column in columns for row in column):
        cells = []
        for own, metric, winner in zip(found, keys, best, strict=True):
            row = own.get(method)
            text = "-" if row is None else cell_text(row.value, row.ci_low, row.ci_high, metric)
            cells.append((text, row is not None and row is winner))
        lines.append((title_of(method), tuple(cells)))
    return tuple(lines)


def difference_grid(rows: Sequence[ComparisonRow]) -> Grid | None:
    """Make the table of paired differences of the leading mean, or of every target where there are no means."""
    group = headline_group(rows)  # type: ignore[arg-type]  # it reads target and group alone
    shown = [row for row in rows if (row.target == MEAN and row.group == group) or group is None]
    if not shown:
        return None
    lines = []
    for row in shown:
        pair = f"{title_of((row.method, row.protocol))} - {title_of((row.reference, row.reference_protocol))}"
        labels = "-" if row.labels is None else f"{row.labels:,}"
        texts = (
            labels,
            cell_text(row.value, row.ci_low, row.ci_high, row.metric),
            _p_text(row.p),
            _p_text(row.p_holm),
            f"{row.n_test:,}",
        )
        name = pair if group is not None else f"{row.target}: {pair}"
        lines.append((name, tuple((text, False) for text in texts)))
    metric = METRICS[shown[0].metric].title
    heading = f"Paired differences in {metric if group is None else f'mean {metric} ({group})'}"
    titles = ("methods", "labels", "difference (95 % interval)", "p", "p, Holm", "n")
    return Grid(heading, titles, tuple(lines))


def shown_line(found: Assessment, kind: str) -> tuple[Method, int | None] | None:
    """Return the method that details are shown of: the focus, else the best by the leading mean; ceilings apart."""
    metric = PRIMARY[kind]
    rows = [row for row in found.scores if row.task == kind and row.metric == metric]
    if not rows:
        return None
    group = headline_group(rows)
    leading = [row for row in rows if group is None or (row.target == MEAN and row.group == group)]
    own = [row for row in leading if row.method == found.settings.focus] or leading
    counts = [row.labels for row in own if row.labels is not None]
    best = best_of([row for row in own if not counts or row.labels == max(counts)], metric)
    return None if best is None else ((best.method, best.protocol), best.labels)


def target_grid(found: Assessment, kind: str) -> Grid | None:
    """Make targets x metrics for the shown method."""
    shown = shown_line(found, kind)
    if shown is None:
        return None
    (method, protocol), labels = shown
    own = [row for row in found.scores if (row.method, row.protocol, row.labels) == (method, protocol, labels)]
    cells = {(row.target, row.metric): row for row in own if row.task == kind and row.target != MEAN}
    units = {target.name: target.unit for target in found.data.targets}
    keys, lines = metrics_of(kind), []
    for name in dict.fromkeys(target for target, _ in cells):
        rows = [cells[name, metric] for metric in keys]
        unit = f" [{units[name]}]" if units[name] else ""
        texts = [f"{rows[0].n_test:,}"]
        for row in rows:
            wide = row.metric == PRIMARY[kind]
            low = row.ci_low if wide else float("nan")
            texts.append(cell_text(row.value, low, row.ci_high, row.metric))
        lines.append((f"{name}{unit}", tuple((text, False) for text in texts)))
    titles = ("target", "n", *(METRICS[metric].title for metric in keys))
    count = "" if labels is None else f", {labels:,} labels"
    return Grid(f"{_KIND_TITLES[kind]} one by one: {title_of((method, protocol))}{count}", titles, tuple(lines))


def subgroup_grids(rows: Sequence[SubgroupRow]) -> list[Grid]:
    """Make subgroups x methods for each kind: the leading mean, or each target of a kind without means."""
    grids = []
    for kind in KINDS:
        own = [row for row in rows if row.task == kind and row.metric == PRIMARY[kind]]
        group = headline_group(own)  # type: ignore[arg-type]
        targets = [MEAN] if kind == "regression" and group else _in_order(r.target for r in own if r.target != MEAN)
        for target in targets:
            shown = [row for row in own if row.target == target and (target != MEAN or row.group == group)]
            methods = method_order((row.method, row.protocol) for row in shown)
            lines = []
            for key in _in_order((row.attribute, row.subgroup) for row in shown):
                cells = {(row.method, row.protocol): row for row in shown if (row.attribute, row.subgroup) == key}
                n = max((row.n_test or 0 for row in cells.values()), default=0)
                reason = next(iter(cells.values())).reason
                texts = [f"{n:,}" if n else reason]
                texts += [
                    cell_text(row.value, row.ci_low, row.ci_high, row.metric) if row is not None else "-"
                    for row in (cells.get(method) for method in methods)
                ]
                lines.append((f"{key[0].replace('_', ' ')}: {key[1]}", tuple((text, False) for text in texts)))
            what = f"mean {METRICS[PRIMARY[kind]].title} ({group})" if target == MEAN else METRICS[PRIMARY[kind]].title
            name = "" if target == MEAN else f" of {target}"
            titles = ("subgroup", "n", *map(title_of, methods))
            caption = "Each method at its largest number of labels."
            grids.append(Grid(f"Subgroups: {what}{name}", titles, tuple(lines), caption))
    return grids


def _summary(found: Assessment) -> str:
    data = found.data
    if not data.variants:
        return "No predictions were given: all numbers are as the runs wrote them."
    seeds = sorted({seed for own in data.test.predictions.values() for seed in own})
    of_seeds = f"seeds {', '.join(map(str, seeds))} (values are means over seeds)"
    if len(seeds) == 1:
        of_seeds = f"one seed ({seeds[0]})"
    kinds = ", ".join(
        f"{len(data.columns(kind))} {kind.replace('_', '-')}" for kind in KINDS if len(data.columns(kind))
    )
    return (
        f"{len(data.test.subjects):,} subjects of split {found.settings.split}; targets: {kinds}; "
        f"{len({variant.line for variant in data.variants})} methods; {of_seeds}; "
        f"{found.settings.resamples:,} resamples, drawn with seed {found.settings.seed}."
    )


def _p_text(p: float) -> str:
    if not math.isfinite(p):
        return "-"
    return f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def _markdown(grid: Grid, level: int = 2) -> str:
    rows = [f"| {' | '.join(map(markdown_cell, grid.titles))} |", "|---|" + "---:|" * (len(grid.titles) - 1)]
    for name, cells in grid.lines:
        texts = [f"**{markdown_cell(text)}**" if best else markdown_cell(text) for text, best in cells]
        rows.append(f"| {markdown_cell(name)} | " + " | ".join(texts) + " |")
    heading = f"{'#' * level} {markdown_cell(grid.heading)}"
    return "\n\n".join(part for part in (heading, markdown_note(grid.caption), "\n".join(rows)) if part)


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
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"])


_SPECIAL = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
_SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}
_SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}  # other signs in the fonts of old
_SPECIAL |= {"[": "{[}", "*": "{*}"}  # at the start of a line they would belong to the line break before
_MINUS = re.compile(r"(?<![\w.+-])-(?=\d)")


def _escaped(text: str) -> str:
    words = printable(" ".join(text.split()), LONGEST_NAME)
    return _MINUS.sub("$-$", "".join(_SPECIAL.get(character, character) for character in words))


def _in_order(items: Iterable) -> list:
    return list(dict.fromkeys(items))
