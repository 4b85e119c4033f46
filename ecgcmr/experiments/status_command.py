"""``ecgcmr status DIR``: how far an experiment is, from its folder alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from ecgcmr.errors import UserError
from ecgcmr.experiments.plan import load_plan
from ecgcmr.experiments.stage_runs import marker_state
from ecgcmr.heavy_imports import import_heavy
from ecgcmr.locks import is_locked

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
    if not (out / "experiment.yaml").is_file():
        raise UserError(f"{args.folder}: holds no experiment.yaml, so it is no folder of an experiment")
    import_heavy("ecgcmr.experiments.experiment")
    from ecgcmr.experiments import node_states as states_of
    from ecgcmr.experiments.cohorts import finished_cohort
    from ecgcmr.experiments.experiment import Experiment
    from ecgcmr.experiments.run_graph import run_graph
    from ecgcmr.experiments.side_by_side import jobs_of
    from ecgcmr.experiments.times import Times
    from ecgcmr.experiments.trainings import Trainings

    plan, jobs = load_plan(out / "experiment.yaml"), jobs_of(args.jobs)
    index = finished_cohort(plan, out)
    if index is None:
        states = states_of.states_without_cohort(run_graph(plan), Times.load(out))
    else:
        experiment = Experiment(plan, out, Console(quiet=True))
        experiment.index = index
        experiment.read_tasks()
        trainings = Trainings(plan, index, out, states_of.trusted_by_cards(out))
        complete = bool(marker_state(out).get("finished"))
        states = states_of.node_states(trainings, experiment.problems, experiment.counts, complete)
    if args.json:
        print(states_of.states_json(states))
        return 0
    console = Console(soft_wrap=True)
    console.print(states_of.states_table(states))
    running = "" if is_locked(out) or not any(state.open for state in states) else "; no process is at work on it"
    console.print(f"{states_of.remaining(states, jobs)}{running}", markup=False)
    return 0
