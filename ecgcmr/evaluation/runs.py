"""The runs that ``ecgcmr compare`` puts into one table: folders that hold predictions, or at least results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import checked_table, read_prediction_table, unread_note
from ecgcmr.evaluation.result_rows import read_results_json
from ecgcmr.evaluation.rows import MEAN, ResultRow
from ecgcmr.json_file import read_json
from ecgcmr.metrics.catalogue import Metric
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.text import printable

TABLES = ("predictions.parquet", "predictions.csv")
RESULTS = "results.json"


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        name: Its folder's name, or as much of the path as tells it from the other runs.
        table: Its predictions, or None.
        rows: Its result rows where it has no predictions.
        notes: What was left unread in its folder.
    """

    name: str
    table: pd.DataFrame | None
    rows: tuple[ResultRow, ...] = ()
    notes: tuple[str, ...] = ()


def load_runs(folders: Sequence[Path], split: str = "test", metrics: Sequence[Metric] = ()) -> list[Run]:
    """Read runs: predictions.parquet, else predictions.csv, else results.json of ``split``.

    Raises:
        UserError: If a folder is missing or holds none of these, or is given twice, or results are of another split.
    """
    resolved = [folder.resolve() for folder in folders]
    twice = [path for path, count in Counter(resolved).items() if count > 1]
    if twice:
        raise UserError(f"{twice[0].name}: given twice; a run is compared with others")
    return [_load(folder, name, split, metrics) for folder, name in zip(resolved, _names(resolved), strict=True)]


def on_common_targets(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Keep the targets that every run has, so that all means run over the same ones.

    The means of a run that has results alone cannot be formed anew; they go if its targets are not the common ones.

    Returns:
        The runs, and a line for each thing left out.

    Raises:
        UserError: If no target is in all runs.
    """
    named = [
        set(run.table["target"].unique()) if run.table is not None else {row.target for row in run.rows} - {MEAN}
        for run in runs
    ]
    common = set.intersection(*named)
    if not common:
        raise UserError(f"{', '.join(run.name for run in runs)}: no target is in all of these runs")
    kept, notes = [], list[str]()
    for run, targets in zip(runs, named, strict=True):
        more = sorted(targets - common)
        if more:
            shown = ", ".join(more[:5]) + (f" and {len(more) - 5} more" if len(more) > 5 else "")
            means = "" if run.table is not None else ", and so are its means, which run over them too"
            notes.append(f"{run.name} has targets that others lack; they are left out{means}: {shown}.")
        table = None if run.table is None else run.table[run.table["target"].isin(common)]
        rows = tuple(row for row in run.rows if row.target in common or (row.target == MEAN and not more))
        kept.append(replace(run, table=table, rows=rows))
    return kept, notes


def on_common_tasks(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Keep the names of tasks if all runs give every target the same one; else targets go by their kind alone.

    The means of a run that has results alone cannot be formed anew; they go where it had two tasks of a kind.

    Returns:
        The runs, and a line where names were given up.
    """
    named = {name for run in runs for name in _tasks(run)}
    if len(named) == len({target for target, _ in named}):
        return list(runs), []
    kept = []
    for run in runs:
        names: dict[str, set[str]] = {}
        for row in run.rows:
            names.setdefault(row.task, set()).add(row.task_name)
        rows = (row for row in run.rows if row.target != MEAN or len(names[row.task]) == 1)
        table = None if run.table is None else run.table.drop(columns="task")
        kept.append(replace(run, table=table, rows=tuple(replace(row, task_name=row.task) for row in rows)))
    return kept, ["The runs name the tasks of their targets differently; means are over all targets of a kind."]


def _tasks(run: Run) -> set[tuple[str, str]]:
    """Return (target, name of its task) of a run, "" where a task is called after its kind."""
    pairs: Iterable[tuple[Any, Any]] = ((row.target, row.task_name) for row in run.rows if row.target != MEAN)
    if run.table is not None:
        pairs = run.table[["target", "task"]].astype(object).drop_duplicates().itertuples(index=False)
    return {(str(target), task if isinstance(task, str) and task not in TASKS else "") for target, task in pairs}


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that differ."""
    for depth in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _load(folder: Path, name: str, split: str, metrics: Sequence[Metric]) -> Run:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder of a run")
    tables = [file for file in TABLES if (folder / file).is_file()]
    if tables:
        notes = [f"{name}: {note}" for note in unread_note(folder / tables[0])]
        notes += [f"{name} has {tables[0]} and {other}; the first is read." for other in tables[1:]]
        return Run(name, read_prediction_table(folder / tables[0]), notes=tuple(notes))
    if (folder / RESULTS).is_file():
        _refuse_other_split(folder / RESULTS, split)
        return Run(name, None, tuple(read_results_json(folder / RESULTS, metrics)))
    raise UserError(f"{folder}: holds neither {', '.join(TABLES)} nor {RESULTS}")


def _refuse_other_split(path: Path, split: str) -> None:
    """Refuse results of another split than the one that is compared; those of an experiment are of the test split."""
    content = read_json(path, what="results of a run")
    settings = content.get("settings") if isinstance(content, dict) else None
    own = settings.get("split", "test") if isinstance(settings, dict) else "test"
    if own != split:
        raise UserError(f"{path}: is of split {printable(own, 20)}, not {split}; compare runs on one split (--split)")


def merged(runs: Sequence[Run]) -> tuple[pd.DataFrame | None, list[ResultRow]]:
    """Put runs into one table and one list of rows, methods named "run: method", or by the run if it has one method."""
    frames, rows = [], list[ResultRow]()
    _refuse_one_name(runs)
    for run in runs:
        if run.table is not None:
            names = {
                method: _named(run.name, method, run.table["method"].nunique())
                for method in run.table["method"].unique()
            }
            frames.append(run.table.assign(method=run.table["method"].map(names).astype(str)))
        methods = {row.method for row in run.rows}
        rows += [replace(row, method=_named(run.name, row.method, len(methods))) for row in run.rows]
    if not frames:
        return None, rows
    plain = [frame.astype({"subject": str, "target": str}).dropna(axis=1, how="all") for frame in frames]
    table = pd.concat(plain, ignore_index=True)
    return checked_table(table, together(runs)), rows


def together(runs: Sequence[Run]) -> str:
    """Name runs whose tables are taken as one, for messages."""
    return f"runs {', '.join(run.name for run in runs)} together"


def _refuse_one_name(runs: Sequence[Run]) -> None:
    """Refuse runs of which two methods get one name, such as run "a" with a method "b" beside a run "a: b"."""
    seen: dict[str, str] = {}
    for run in runs:
        methods = sorted(set(run.table["method"]) if run.table is not None else {row.method for row in run.rows})
        for method in methods:
            name = _named(run.name, method, len(methods))
            if name in seen:
                raise UserError(f"{run.name}, {seen[name]}: both have a method '{name}'; rename one of the folders")
            seen[name] = run.name


def _named(run: str, method: str, methods: int) -> str:
    return run if methods == 1 else f"{run}: {method}"


def subject_notes(runs: Sequence[Run], split: str) -> list[str]:
    """Say in one line for each pair of runs whether they were tested on the same subjects."""
    notes = []
    known = {
        run.name: set(run.table.loc[run.table["split"] == split, "subject"]) for run in runs if run.table is not None
    }
    for first, second in combinations(known, 2):
        one, two = known[first], known[second]
        if one != two:
            common = len(one & two)
            ending = (
                f"paired differences are over the {common:,} in both"
                if common
                else "they share none, so there is no paired difference and their numbers must not be ranked"
            )
            notes.append(f"Test subjects differ: {first} has {len(one):,}, {second} has {len(two):,}; {ending}.")
    notes += [
        f"{run.name} has results.json alone: its intervals are as it wrote them, there is no paired difference, and "
        "whether it was tested on the same subjects is not known."
        for run in runs
        if run.table is None
    ]
    if len(known) == len(runs) and not notes:
        count = len(next(iter(known.values())))
        notes.append(f"All runs were tested on the same {count:,} subjects.")
    return notes
