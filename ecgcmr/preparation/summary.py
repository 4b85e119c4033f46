"""What ``prepare`` says on the terminal when it is done: counts, and everything that was left aside, by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ecgcmr.preparation.clipping import summary_line
from ecgcmr.preparation.report import REPORT_NAME, Report
from ecgcmr.text import printable

_NAMED = 6
"""Names shown in one line; report.json holds all."""
_LONGEST = 60


def print_summary(out: Path, report: Report) -> None:
    """Print the result on standard output and what the user should know on standard error."""
    counts = report.counts
    masks = f", {counts['with_cmr_mask']} with masks" if "with_cmr_mask" in counts else ""
    print(
        f"{printable(out)}: {report.written} rows "
        f"({counts['train']} train, {counts['val']} val, {counts['test']} test; "
        f"{counts['with_ecg']} with ECG, {counts['with_cmr']} with CMR{masks}) from {len(report.files)} files"
    )
    if report.formats:
        print(f"ECGs read: {_counted(report.formats)}")
    for line in summary_lines(report):
        print(line, file=sys.stderr)
    if report.skipped:
        print(f"{len(report.skipped)} files skipped, see {printable(out / REPORT_NAME)}", file=sys.stderr)


def summary_lines(report: Report) -> Iterator[str]:
    """Yield one line for each kind of thing that was left aside or looks wrong."""
    for remark in report.remarks:
        yield f"note: {remark}"
    for table in report.tables:
        yield from _table_lines(table)
    if report.tables and report.without_row:
        yield f"note: {report.without_row} subjects with an ECG or images stand in no table"
    for counted, what in (
        (report.out_of_range, "implausible values taken as missing"),
        (report.unreadable, "values that are no number or date taken as missing"),
        (report.dates, "dates that cannot be"),
        (report.disagreeing, "values differ from one in an earlier table or row, which stands"),
    ):
        if counted:
            yield f"{sum(counted.values())} {what}: {_counted(counted)}"
    doubtful = report.units_doubtful
    if any(doubtful.values()):
        yield (
            f"{sum(doubtful.values())} files have an amplitude that speaks against their unit "
            f"({doubtful['skipped']} skipped, {doubtful['used']} used); check V, mV or uV"
        )
    clipping = summary_line(report.clipping)
    if clipping:
        yield clipping
    if report.duplicates:
        yield f"{len(report.duplicates)} rows left out: the same recording is in another split"


def _table_lines(table: Mapping[str, Any]) -> Iterator[str]:
    name = _name(table["table"])
    unmatched = table["rows"] - table["rows_matched"]
    if unmatched:
        yield f"note: {name}: {unmatched} of {table['rows']} rows are of nobody with an ECG or images"
    if table["subjects_repeated"] and table["first_stands"]:
        yield f"note: {name}: {table['subjects_repeated']} subjects stand in several rows; the first value stands"
    unread, similar = table["columns_unread"], table["similar"]
    if unread:
        hinted = [f"{_name(column)} (did you mean {known}?)" for column, known in similar.items()]
        others = [_name(column) for column in unread if column not in similar]
        yield f"note: {name}: {len(unread)} columns not read: {_named([*hinted, *others])}"
    if table["other_visits"]:
        columns = _named([_name(column) for column in table["other_visits"]])
        yield f"note: {name}: not used, since no recording is of that visit or array index: {columns}"


def _counted(counted: Mapping[str, int]) -> str:
    most = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return _named([f"{_name(name)} {count}" for name, count in most])


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _name(name: str) -> str:
    return printable(name, _LONGEST)
