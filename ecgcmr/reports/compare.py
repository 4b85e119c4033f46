"""Runs scored together and written as one set of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.evaluation.arrangement import arrange
from ecgcmr.evaluation.assessment import Assessment, assess, nothing_assessed
from ecgcmr.evaluation.progress import OnStep, no_progress
from ecgcmr.evaluation.result_file import write_assessment
from ecgcmr.evaluation.rows import ResultRow, Settings
from ecgcmr.evaluation.runs import load_runs, merged, on_common_targets, on_common_tasks, subject_notes, together
from ecgcmr.metrics.catalogue import Metric
from ecgcmr.reports.report_text import write_report_md, write_report_tex


@dataclass(frozen=True)
class ComparedRuns:
    """Several runs in one table.

    Attributes:
        found: What was computed from the runs that hold predictions; its notes begin with the runs' test subjects.
        rows: The rows of the others.
        names: The runs, in the order given.
    """

    found: Assessment
    rows: tuple[ResultRow, ...]
    names: tuple[str, ...]


def compare_runs(
    folders: Sequence[Path], settings: Settings, on_step: OnStep = no_progress, metrics: Sequence[Metric] = ()
) -> ComparedRuns:
    """Score the runs that hold predictions together, and join the results of the others.

    Args:
        folders: Two or more run folders.
        settings: How to score.
        on_step: As of ``assess``.
        metrics: Of the user's own.

    Raises:
        UserError: If a run cannot be read, or two runs hold different truths of the same subject and target.
    """
    runs, left_out = on_common_targets(load_runs(folders, settings.split, metrics))
    runs, renamed = on_common_tasks(runs)
    table, rows = merged(runs)
    if table is None:
        found = nothing_assessed(settings)
    else:
        data = arrange(table, together(runs), split=settings.split, metrics=metrics)
        found = assess(data, settings, on_step)
    found.metrics = metrics
    unread = [note for run in runs for note in run.notes]
    found.notes = [*subject_notes(runs, settings.split), *left_out, *renamed, *unread, *found.notes]
    return ComparedRuns(found, tuple(rows), tuple(run.name for run in runs))


def write_comparison(compared: ComparedRuns, out: Path) -> None:
    """Write results.md, results.tex and results.json."""
    title = "Comparison of " + ", ".join(compared.names)
    write_report_md(compared.found, out / "results.md", title=title, rows=compared.rows)
    write_report_tex(compared.found, out / "results.tex", rows=compared.rows)
    write_assessment(compared.found, out / "results.json", rows=compared.rows)
