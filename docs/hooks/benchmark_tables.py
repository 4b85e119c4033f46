"""Tables of a finished experiment within a page: where the page says ``<!-- results: NAME -->``.

A row is a method and a column a task, unlike on the page of the experiment itself, which has a table a task. Scores of
others stand below ours, marked as published.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from markdown_text import plain

_MARK = re.compile(r"<!-- results: (\w+) -->")
_PROTOCOLS = {"linear_probe": "linear probe", "finetune": "fine-tuned"}


def with_tables(markdown: str, results: Path) -> str:
    """Return a page with its tables in place; where an experiment has not been kept yet, a line says so.

    Args:
        markdown: The page.
        results: Folder of the JSON files that ``docs/collect_results.py`` keeps.
    """

    def table(found: re.Match[str]) -> str:
        path = results / f"{found[1]}.json"
        if not path.is_file():
            return f'!!! note "Not here yet"\n\n    The numbers of `{found[1]}` have not been kept yet.'
        return benchmark_tables(json.loads(path.read_text(encoding="utf-8")), found[1])

    return _MARK.sub(table, markdown)


def benchmark_tables(kept: dict[str, Any], name: str) -> str:
    """Return a table for each number of labels, the largest first."""
    tasks = list(dict.fromkeys(table["task"] for table in kept["tables"]))
    of_task = {task: next(table for table in kept["tables"] if table["task"] == task) for task in tasks}
    asked = kept["labels"]
    parts = []
    for place in reversed(range(len(asked))):
        scores = {task: _at(of_task[task], place - len(asked)) for task in tasks}
        rows = list(dict.fromkeys(key for found in scores.values() for key in found))
        if not rows:
            continue
        counts = ", ".join(f"{task} {_count(of_task[task], place - len(asked)):,}" for task in tasks if scores[task])
        share = "All labels" if asked[place] == "all" else f"{asked[place]} of the labels"
        lines = [f"**{share}** ({counts}).", "", _row(["method", *tasks]), _row(["---", *(["---:"] * len(tasks))])]
        lines += [_row([_name(*key), *(_interval(scores[task].get(key)) for task in tasks)]) for key in rows]
        lines += [_row(cells) for cells in _published(kept, asked[place], tasks)]
        parts.append("\n".join(lines))
    subjects = ", ".join(f"{task} {of_task[task]['test_subjects']:,}" for task in tasks)
    sources = list(dict.fromkeys(row["source"] for row in kept.get("published", [])))
    said = f" Rows marked *published* are others', as they stand in {', '.join(sources)}." if sources else ""
    parts.append(
        f"Value and 95 % interval, means over the labels of a task. Test subjects: {subjects}. Version "
        f"{kept['code_version']}.{said} Every task by itself: [all tables](results/{name}.md)."
    )
    return "\n\n".join(parts)


def _counts(table: dict[str, Any]) -> list[int]:
    return sorted({row["labels"] for row in table["scores"] if row["labels"] is not None})


def _count(table: dict[str, Any], place: int) -> int:
    """Return the number of labels at a place from the end."""
    counts = _counts(table)
    return counts[place] if -place <= len(counts) else 0


def _at(table: dict[str, Any], place: int) -> dict[tuple[str, str | None], dict[str, Any]]:
    """Return method and protocol -> score at the number of labels at a place from the end."""
    count = _count(table, place)
    return {(row["method"], row["protocol"]): row for row in table["scores"] if count and row["labels"] == count}


def _published(kept: dict[str, Any], asked: str, tasks: list[str]) -> list[list[str]]:
    rows = [row for row in kept.get("published", []) if row["asked"] == asked]
    methods = dict.fromkeys((row["method"], row["source"]) for row in rows)
    found = []
    for method, source in methods:
        of = {row["task_name"]: row["value"] for row in rows if (row["method"], row["source"]) == (method, source)}
        found.append([f"*{plain(method)} (published)*", *(f"{of[task]:.3f}" if task in of else "" for task in tasks)])
    return found


def _name(method: str, protocol: str | None) -> str:
    return f"{plain(method)}, {_PROTOCOLS.get(protocol, protocol)}" if protocol else plain(method)


def _interval(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return ""
    if row["ci_low"] is None or row["ci_high"] is None:
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} ({row['ci_low']:.3f}-{row['ci_high']:.3f})"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
