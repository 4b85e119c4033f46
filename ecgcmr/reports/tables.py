"""results.md: what a reader wants to know first, from the rows of results.json."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from ecgcmr.evaluation.results import MEAN, METHODS, DifferenceRow, ResultRow
from ecgcmr.files import write_atomically
from ecgcmr.metrics.catalogue import METRICS, PRIMARY
from ecgcmr.text import markdown_cell

_PROTOCOL_TITLES = {"linear_probe": "linear probe", "finetune": "fine-tuned", None: ""}
CEILINGS = ("oracle",)  # never marked as best: no method can have what it knows
Method = tuple[str, str | None]
Item = TypeVar("Item")


def write_results_md(
    rows: Sequence[ResultRow],
    path: Path | str,
    *,
    title: str = "Results",
    differences: Sequence[DifferenceRow] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write the readable tables atomically.

    First the mean R2 over the LV and RV phenotypes (over all targets where these are absent) by method and number of
    labels, then paired differences, then R2 by group of phenotypes, then AUROC by disease or finding; the same of
    the time to an event by concordance. The best method of a column is bold; the oracle is a ceiling and takes no part.

    Args:
        rows: Everything that results.json holds.
        path: File to write.
        title: Heading.
        differences: Paired differences for a table of their own.
        notes: Lines for the end, such as why a target has no prediction; that means leave it out is told anyway.
    """
    parts, gaps = [f"# {markdown_cell(title)}", LEGEND], list[str]()
    for task, metric in PRIMARY.items():
        scored = [row for row in rows if row.task == task and row.metric == metric]
        parts += headline(scored, metric)
        parts += _differences([row for row in differences if row.task == task and row.metric == metric], metric)
        parts += details(scored, metric)
        gaps += gaps_of(scored)
    if notes or gaps:
        parts.append(notes_section((*gaps, *notes)))
    return write_atomically(path, ("\n\n".join(parts) + "\n").encode())


def notes_section(notes: Iterable[str]) -> str:
    """Return the notes as a list under a heading; names within them are shown letter by letter."""
    return "## Notes\n\n" + "\n".join(f"- {markdown_note(note)}" for note in notes)


def markdown_note(text: str) -> str:
    """Return a sentence for Markdown; what it sets between backticks, such as a file's name, stays so."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0 or not all(_CODE.fullmatch(piece) for piece in pieces[1::2]):
        return markdown_cell(text, _LONGEST_NOTE)
    return "`".join(piece if k % 2 else markdown_cell(piece, _LONGEST_NOTE) for k, piece in enumerate(pieces))


_CODE = re.compile(r"[\w./-]+")
_LONGEST_NOTE = 10_000  # it may list many methods

LEGEND = (
    "Each cell: value (95 % interval over resampled test subjects). **Bold**: best of its column, oracle apart. "
    "A dash: not run or not defined. Every number, with further metrics, is in `results.json`."
)


def is_ceiling(method: str) -> bool:
    """Tell whether a method knows what none can; in a comparison its name follows that of its run."""
    return method.rsplit(": ", 1)[-1] in CEILINGS


def method_order(methods: Iterable[Method]) -> list[Method]:
    """Sort (method, protocol) as in ``METHODS``, others behind by name, linear probe before fine-tuned."""

    def place(item: Method) -> tuple[int, str, str]:
        known = METHODS.index(item[0]) if item[0] in METHODS else len(METHODS)
        return known, item[0], {"linear_probe": "0", "finetune": "1"}.get(item[1] or "", "2")

    return sorted(set(methods), key=place)


def method_title(method: Method) -> str:
    """Return "mae, linear probe" and the like."""
    protocol = _PROTOCOL_TITLES.get(method[1], method[1]) or ""
    return f"{method[0]}, {protocol}" if protocol else method[0]


def headline_group(rows: Iterable[ResultRow]) -> str | None:
    """Return the set whose mean leads: "LV+RV" where there is one, else "all", else None."""
    groups = {row.group for row in rows if row.target == MEAN}
    return next((group for group in ("LV+RV", "all") if group in groups), None)


def headline(rows: Sequence[ResultRow], metric: str) -> list[str]:
    """Return heading, caption and table of the leading mean: methods down, numbers of labels across."""
    group = headline_group(rows)
    if group is None:
        return []
    chosen = [row for row in rows if row.target == MEAN and row.group == group]
    members = {row.target for row in rows if row.target != MEAN and (group == "all" or row.group in group.split("+"))}
    n_test = max(row.n_test for row in chosen)
    heading = f"## Mean {METRICS[metric].title} over {len(members)} targets ({markdown_cell(group)})"
    caption = f"n = {n_test} test subjects; columns: labelled training subjects."
    columns = sorted({row.labels for row in chosen if row.labels is not None})
    titles = [f"{count:,} labels" for count in columns] or ["any labels"]
    cells = [[row for row in chosen if row.labels in (count, None)] for count in columns] or [list(chosen)]
    return [heading, caption, markdown_table(titles, cells, metric)]


def details(rows: Sequence[ResultRow], metric: str) -> list[str]:
    """One table for each number of labels: groups of phenotypes, or single diseases and findings."""
    parts: list[str] = []
    if metric == "r2":
        keys = [(MEAN, group) for group in _in_order(row.group for row in rows if row.target == MEAN)]
        titles = [group.removesuffix(" mean") for _, group in keys]
        heading = f"## {METRICS[metric].title} by group of phenotypes"
    else:
        pairs = _in_order((row.target, row.group) for row in rows if row.target != MEAN)
        keys = [*pairs, *[(MEAN, "all")][: len(pairs) - 1]]
        titles = [target for target, _ in keys]
        title = METRICS[metric].title
        heading = f"## {title[0].upper()}{title[1:]} by disease{'' if metric == 'concordance' else ' or finding'}"
    if not keys:
        return parts
    parts.append(heading)
    counts: list[int | None] = [*sorted({row.labels for row in rows if row.labels is not None})]
    for count in counts or [None]:
        shown = [row for row in rows if row.labels in (count, None)]
        cells = [[row for row in shown if (row.target, row.group) == key] for key in keys]
        numbers = [max((row.n_test for row in cell), default=0) for cell in cells]
        parts.append(f"### {count:,} labels" if count is not None else "### any labels")
        parts.append(
            markdown_table([f"{title} (n = {n})" for title, n in zip(titles, numbers, strict=True)], cells, metric)
        )
    return parts


def gaps_of(rows: Sequence[ResultRow], *, told: Container[str] = ()) -> list[str]:
    """Tell which means leave out targets, so that nobody compares means over different targets unawares.

    Args:
        rows: Of one metric.
        told: Targets of which the reader knows already that no method can be scored on them.
    """
    undefined: dict[tuple[Method, int | None], list[str]] = {}
    for row in rows:
        if row.target != MEAN and row.target not in told and not math.isfinite(row.value):
            undefined.setdefault(((row.method, row.protocol), row.labels), []).append(row.target)
    return [
        f"{method_title(method)}{'' if labels is None else f' at {labels:,} labels'}: means leave out "
        f"{', '.join(names)} (undefined or without prediction)."
        for (method, labels), names in undefined.items()
    ]


def _differences(rows: Sequence[DifferenceRow], metric: str) -> list[str]:
    leading = [row for row in rows if row.target == MEAN and row.group in ("LV+RV", "all")]
    group = next((group for group in ("LV+RV", "all") if any(row.group == group for row in leading)), None)
    lines = [
        f"| {markdown_cell(f'{method_title((row.method, row.protocol))} - {row.reference}')} "
        f"| {'-' if row.labels is None else row.labels} "
        f"| {cell_text(row.value, row.ci_low, row.ci_high, metric)} |"
        for row in leading
        if row.group == group
    ]
    if not lines:
        return []
    heading = f"### Paired differences in mean {METRICS[metric].title} ({group})"
    return [heading, "\n".join(["| methods | labels | difference (95 % interval) |", "|---|---:|---:|", *lines])]


def markdown_table(titles: Sequence[str], columns: Sequence[Sequence[ResultRow]], metric: str) -> str:
    """Methods down, ``columns`` across; each column holds at most one row a method. Titles and names are escaped."""
    methods = method_order((row.method, row.protocol) for column in columns for row in column)
    lines = ["| method | " + " | ".join(map(markdown_cell, titles)) + " |", "|---|" + "---:|" * len(titles)]
    found = [{(row.method, row.protocol): row for row in column} for column in columns]
    best = [best_of(column, metric) for column in columns]
    for method in methods:
        cells = []
        for column, winner in zip(found, best, strict=True):
            row = column.get(method)
            text = "-" if row is None else cell_text(row.value, row.ci_low, row.ci_high, metric)
            cells.append(f"**{text}**" if row is not None and row is winner else text)
        lines.append(f"| {markdown_cell(method_title(method))} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def best_of(rows: Sequence[ResultRow], metric: str) -> ResultRow | None:
    """Return the best row, ceilings apart; None where nothing is defined or neither way is better."""
    if METRICS[metric].higher_is_better is None:
        return None
    rivals = [row for row in rows if not is_ceiling(row.method) and math.isfinite(row.value)]
    sign = -1.0 if METRICS[metric].higher_is_better is False else 1.0
    return max(rivals, key=lambda row: sign * row.value, default=None)


def cell_text(value: float, low: float, high: float, metric: str) -> str:
    """Return "0.412 (0.380 to 0.444)", a dash where undefined."""
    if not math.isfinite(value):
        return "-"
    digits = METRICS[metric].digits
    # z: no negative zero
    interval = f" ({low:z.{digits}f} to {high:z.{digits}f})" if math.isfinite(low) else ""
    return f"{value:z.{digits}f}{interval}"


def _in_order(items: Iterable[Item]) -> list[Item]:
    return list(dict.fromkeys(items))
