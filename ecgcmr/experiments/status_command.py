"""``ecgcmr status DIR``: how far an experiment is, from its folder alone."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ecgcmr.errors import UserError
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.stage_runs import marker_state
from ecgcmr.heavy_imports import import_heavy
from ecgcmr.locks import is_locked
from ecgcmr.text import printable

if TYPE_CHECKING:
    from ecgcmr.experiments.node_states import NodeState

HELP = """\
Show how far an experiment is: its parts, what is finished, what is running and about how long the rest will take. It
looks at the folder alone and changes nothing, so it can be asked while the experiment runs.

  ecgcmr status runs/demo
  watch -n 30 ecgcmr status runs/demo
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of an experiment")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="parts side by side, for the estimate (default: as of experiment)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns 0."""
    out = args.folder.resolve()
    import_heavy("ecgcmr.experiments.experiment")
    from ecgcmr.experiments.matrix_table import RECORD, read_record
    from ecgcmr.experiments.node_states import remaining, states_json, states_table
    from ecgcmr.experiments.side_by_side import jobs_of

    jobs, console = jobs_of(args.jobs), Console(soft_wrap=True)
    if (out / RECORD).is_file():
        names = read_record(out)
        begun = [name for name in names if (out / "cells" / name / "experiment.yaml").is_file()]
        left = {name: _states(out / "cells" / name) for name in begun}
        if args.json:
            print(json.dumps({name: json.loads(states_json(left.get(name, []))) for name in names}, indent=1))
            return 0
        for name in names:
            console.print(f"{name}: {remaining(left[name], jobs) if name in left else 'not begun'}", markup=False)
        return 0
    states = _states(out)
    if args.json:
        print(states_json(states))
        return 0
    console.print(states_table(states))
    idle = "" if is_locked(out) or not any(state.open for state in states) else "; no process is at work on it"
    console.print(f"{remaining(states, jobs)}{idle}", markup=False)
    return 0


def _states(out: Path) -> list[NodeState]:
    """Return how far the parts of an experiment are.

    Raises:
        UserError: The folder is of no experiment.
    """
    from ecgcmr.experiments.cohorts import finished_cohorts
    from ecgcmr.experiments.experiment import Experiment
    from ecgcmr.experiments.node_states import node_states, states_by_notes, states_without_cohort, trusted_by_cards
    from ecgcmr.experiments.run_graph import run_graph
    from ecgcmr.experiments.times import Times
    from ecgcmr.experiments.trainings import Trainings

    if not (out / "experiment.yaml").is_file():
        raise UserError(f"{printable(out.name)}: holds no experiment.yaml, so it is no folder of an experiment")
    plan = load_plan(out / "experiment.yaml")
    try:
        cohorts = finished_cohorts(plan, out)
    except UserError as error:  # the experiment or its cohort has moved, or is damaged
        print(
            f"note: {error}: states are those that the folder notes, not compared with the cohort; to go on give it "
            f"with 'ecgcmr experiment {printable(out.name)}/experiment.yaml --root COHORT --out {printable(out.name)}'",
            file=sys.stderr,
        )
        return states_by_notes(plan, out)
    if cohorts is None:
        return states_without_cohort(run_graph(plan), Times.load(out))
    experiment = Experiment(plan, out, Console(quiet=True))
    experiment.cohorts = cohorts
    experiment.read_tasks()
    trainings = Trainings(plan, cohorts, out, trusted_by_cards(out))
    complete = bool(marker_state(out).get("finished"))
    return node_states(trainings, experiment.problems, experiment.counts, complete)
