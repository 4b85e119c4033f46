"""Runs scored together and written as one set of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.evaluation.arrangement import arrange
from ecgcmr.evaluation.assessment import Assessment, assess, nothing_assessed
from ecgcmr.evaluation.progress import Tell, silent
from ecgcmr.evaluation.result_file import write_assessment
from ecgcmr.evaluation.results import ResultRow
from ecgcmr.evaluation.rows import Settings
from ecgcmr.evaluation.runs import load_runs, merged, on_common_targets, subject_notes
from ecgcmr.reports.report_text import write_report_md, write_report_tex


@dataclass(frozen=True)
class Comparison:
    """Several runs in one table.

    Attributes:
        found: What was computed from the runs that hold predictions.
        rows: The rows of the others.
        names: The runs, in the order given.
    """

    found: Assessment
    rows: tuple[ResultRow, ...]
    names: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What a reader must know, the runs' test subjects first."""
        return self.found.notes


def compare_runs(folders: Sequence[Path], settings: Settings, tell: Tell = silent) -> Comparison:
    """Score the runs that hold predictions together, and join the results of the others.

    Args:
        folders: Two or more run folders.
        settings: How to score.
        tell: As of ``assess``.

    Raises:
        UserError: If a run cannot be read, or two runs hold different truths of the same subject and target.
    """
    runs, left_out = on_common_targets(load_runs(folders, settings.split))
    table, rows = merged(runs)
    if table is None:
        found = nothing_assessed(settings)
    else:
        found = assess(arrange(table, "the runs together", split=settings.split), settings, tell)
    unread = [note for run in runs for note in run.notes]
    found.notes = [*subject_notes(runs, settings.split), *left_out, *unread, *found.notes]
    return Comparison(found, tuple(rows), tuple(run.name for run in runs))


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write results.md, results.tex and results.json."""
    title = "Comparison of " + ", ".join(comparison.names)
    write_report_md(comparison.found, out / "results.md", title=title, rows=comparison.rows)
    write_report_tex(comparison.found, out / "results.tex", rows=comparison.rows)
    write_assessment(comparison.found, out / "results.json", rows=comparison.rows)
