"""``ecgcmr runs``: the runs below a folder as a table, filtered and sorted by any metric, setting or field."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecgcmr.provenance.conditions import Condition, check_names, in_order
from ecgcmr.provenance.listed_runs import FIELDS, ListedRun, find_runs
from ecgcmr.text import duration, printable

HELP = f"""\
List the runs in a folder and below: fits and experiments, by the run.json, metrics.json and config.yaml they keep.

A NAME is a field, a metric or a setting as on the command line:

  fields     {", ".join(FIELDS[:11])},
             {", ".join(FIELDS[11:])}
  metrics    val/loss, or fit:val/loss for that of a section of metrics.json, which else are looked through in the
             order test, validate, fit
  settings   model.optimiser.lr, data.train_labels, seed_everything

state is running, finished, interrupted (Ctrl-C, SIGTERM), failed, or unfinished where it was killed; "no run.json"
where a run is of an earlier version. Times, samples and operations are sums over all calls of a run that was resumed.

examples:
  ecgcmr runs
  ecgcmr runs runs/mae --sort val/loss
  ecgcmr runs --where state=finished --where 'val/loss<0.5' --columns model.optimiser.lr seed_everything
  ecgcmr runs runs/sweep --sort test:r2/mean --descending --json

exit code: 0; 3 if a run could not be read, which is named."""

_DEFAULT = ("run", "state", "stage", "started", "seconds", "samples")
_LONGEST = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``runs``."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    parser.add_argument("--sort", metavar="NAME", default="started", help="order by it (default: started)")
    parser.add_argument("--descending", action="store_true", help="the largest, or latest, first")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="only runs for which it holds, such as 'val/loss<0.5' or state=finished or stage~align; may be repeated",
    )
    parser.add_argument("--columns", nargs="+", default=[], metavar="NAME", help="show these too")
    parser.add_argument("--json", action="store_true", help="print a JSON list of all fields and metrics instead")


def run(args: argparse.Namespace) -> int:
    """Print the runs.

    Returns:
        0, or 3 if one of them could not be read.

    Raises:
        UserError: There is no such folder, a condition is none, or no run knows a name.
    """
    conditions = [Condition.of(text) for text in args.where]
    runs, problems = find_runs(args.folder)
    names = list(dict.fromkeys([args.sort, *(condition.name for condition in conditions), *args.columns]))
    if runs:
        check_names(names, runs)
    shown = [run for run in runs if all(condition.holds(run) for condition in conditions)]
    shown = in_order(shown, args.sort, descending=args.descending)
    if args.json:
        print(json.dumps([_whole(run, names) for run in shown], indent=1, allow_nan=False))
    else:
        print("\n".join(_table(shown, [*_DEFAULT, *(name for name in names if name not in _DEFAULT)])))
    for problem in problems:
        print(f"note: not listed: {printable(problem)}", file=sys.stderr)
    return 3 if problems else 0


def _whole(run: ListedRun, names: Sequence[str]) -> dict[str, Any]:
    asked = {name: _plain(run.value(name)) for name in names if name not in run.fields}
    return {**{name: _plain(value) for name, value in run.fields.items()}, "metrics": run.metrics, "values": asked}


def _plain(value: Any) -> Any:
    """Return a value as JSON takes it."""
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str, list)) else str(value)


def _table(runs: Sequence[ListedRun], names: Sequence[str]) -> list[str]:
    """Return the lines of a table: columns as wide as they need, numbers to the right."""
    if not runs:
        return ["no runs"]
    monitored = any(run.fields["monitor"] for run in runs)
    titles = [*(_TITLES.get(name, name) for name in names), *(["monitored"] if monitored else [])]
    rows = [
        [*(_cell(name, run.value(name)) for name in names), *([_monitored(run)] if monitored else [])] for run in runs
    ]
    rows = [[printable(cell, _LONGEST) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in [titles, *rows]) for k in range(len(titles))]
    right = [k for k in range(len(names)) if all(_is_number(run.value(names[k])) for run in runs)]
    lines = []
    for row in [titles, ["-" * width for width in widths], *rows]:
        padded = [cell.rjust(widths[k]) if k in right else cell.ljust(widths[k]) for k, cell in enumerate(row)]
        lines.append("  ".join(padded).rstrip())
    return lines


_TITLES = {"seconds": "time", "started": "started (UTC)"}


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "seconds" and _is_number(value):
        return duration(value)
    if name in ("started", "ended"):
        return str(value)[:16].replace("T", " ")
    if name in ("commit", "cohort"):
        return str(value)[:10]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**12 else f"{value:.3g}"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _monitored(run: ListedRun) -> str:
    name = run.fields["monitor"]
    value = None if name is None else run.value(str(name))
    return "-" if value is None else f"{name} {_cell(str(name), value)}"
