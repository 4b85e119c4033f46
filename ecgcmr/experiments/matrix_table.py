"""The results of a matrix: one row for each choice and method, seeds pooled; ``matrix.json`` and ``matrix.md``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.evaluation.rows import MEAN
from ecgcmr.experiments.matrix_plan import CELL_NAME, Cell, is_seed
from ecgcmr.files import write_atomically
from ecgcmr.json_file import read_json
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.text import markdown_cell

RECORD, TABLE, NUMBERS = "cells.json", "matrix.md", "matrix.json"


def write_record(out: Path, cells: Iterable[Cell]) -> None:
    """Write which cells the matrix has and what each of them chooses."""
    content = [{"cell": cell.name, "choices": cell.choices} for cell in cells]
    write_atomically(out / RECORD, (json.dumps(content, indent=1) + "\n").encode())


def read_record(out: Path) -> list[str]:
    """Return the names of the cells of a matrix, as its record has them.

    Raises:
        UserError: The record is none.
    """
    content = read_json(out / RECORD, what="cells of a matrix")
    names = (
        [entry.get("cell") if isinstance(entry, dict) else None for entry in content]
        if isinstance(content, list)
        else [None]
    )
    if not all(isinstance(name, str) and CELL_NAME.fullmatch(name) for name in names):
        raise UserError(f"{out / RECORD}: is no record of a matrix; run the matrix again, which writes it anew")
    return [str(name) for name in names]


def write_table(out: Path, cells: Sequence[Cell], total: int) -> Path:
    """Write the means over targets of all finished cells; returns the path of the table for people.

    Args:
        out: Folder of the matrix.
        cells: The finished ones.
        total: How many there are in all.
    """
    pooled = pooled_rows(out, cells)
    write_atomically(out / NUMBERS, (json.dumps(pooled, indent=1) + "\n").encode())
    text = [f"# Matrix of {total} experiments\n"]
    if len(cells) < total:
        text.append(f"**{total - len(cells)} of them are not finished and not in these tables.**\n")
    text.append(
        "Means over targets on the test split. With several seeds: mean (standard deviation over seeds), and how "
        "many of the cells have a score where not all do. Each cell has its own table with intervals below `cells/`; "
        "paired differences between cells: `ecgcmr compare cells/*`.\n"
    )
    for task in dict.fromkeys(row["task_name"] for row in pooled):
        text += _task_table(task, [row for row in pooled if row["task_name"] == task])
    return write_atomically(out / TABLE, "\n".join(text).encode())


def pooled_rows(out: Path, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return the mean scores of every choice, method and number of labels, pooled over seeds.

    Returns:
        Entries with ``choices``, ``task_name``, ``metric``, ``method``, ``protocol``, ``labels``, ``cells`` (how many),
        ``value`` (mean over them), ``sd`` (over them, null of one), ``values`` and ``without`` (how many cells have no
        such score).
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell in cells:
        choices = {axis: choice for axis, choice in cell.choices.items() if not is_seed(axis)}
        content = read_json(out / "cells" / cell.name / "results.json", what="results", most=500_000_000)
        for row in _headline(content["scores"] if isinstance(content, dict) else content):
            names = ("task_name", "metric", "method", "protocol", "labels")
            key = (*choices.values(), *(row[name] for name in names))
            start = {"choices": choices, **{name: row[name] for name in names}, "values": [], "without": 0}
            entry = found.setdefault(key, start)
            if row["value"] is None:
                entry["without"] += 1
            else:
                entry["values"].append(row["value"])
    for entry in found.values():
        values = entry["values"]
        entry["cells"] = len(values)
        entry["value"] = round(statistics.fmean(values), 6) if values else None
        entry["sd"] = round(statistics.stdev(values), 6) if len(values) > 1 else None
    return list(found.values())


def _headline(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of each task's primary metric: its mean over all targets, or that of its only target."""
    rows = [row for row in rows if row["metric"] == TASKS[row["task"]].primary]
    with_mean = {row["task_name"] for row in rows if row["target"] == MEAN}
    return [
        row for row in rows if (row["target"] == MEAN and row["group"] == "all") or row["task_name"] not in with_mean
    ]


def _task_table(task: str, rows: list[dict[str, Any]]) -> list[str]:
    labels = sorted({row["labels"] for row in rows if row["labels"] is not None})
    axes = list(rows[0]["choices"])
    heads = [*axes, "method", *(f"{count:,} labels" for count in labels)]
    lines = [f"## {markdown_cell(task)}: {markdown_cell(rows[0]['metric'])}\n"]
    lines.append("| " + " | ".join(map(markdown_cell, heads)) + " |")
    lines.append("|" + "---|" * (len(axes) + 1) + "---:|" * len(labels))
    by_line: dict[tuple[Any, ...], dict[Any, dict[str, Any]]] = {}
    for row in rows:
        name = row["method"] if row["protocol"] is None else f"{row['method']}, {row['protocol'].replace('_', ' ')}"
        by_line.setdefault((*row["choices"].values(), name), {})[row["labels"]] = row
    for names, found in by_line.items():
        cells = [_score(found.get(count, found.get(None))) for count in labels]
        lines.append("| " + " | ".join([*map(markdown_cell, names), *cells]) + " |")
    return [*lines, ""]


def _score(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    missing = f", {row['cells']} of {row['cells'] + row['without']}" if row["without"] else ""
    spread = "" if row["sd"] is None else f" ({row['sd']:.3f})"
    return f"{row['value']:.3f}{spread}{missing}"
