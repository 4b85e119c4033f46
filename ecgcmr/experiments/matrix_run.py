"""All experiments of a matrix: one cohort, trainings side by side, equal ones once, then the tables."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ecgcmr.errors import UserError
from ecgcmr.experiments.ahead import LOGS, parts_of
from ecgcmr.experiments.cohort_plan import ONLY, cohort_plans
from ecgcmr.experiments.cohorts import cohort_root, finished_cohorts, resolve_cohorts
from ecgcmr.experiments.command import shown, words_of
from ecgcmr.experiments.experiment import Experiment
from ecgcmr.experiments.matrix_plan import Cell
from ecgcmr.experiments.matrix_table import write_record, write_table
from ecgcmr.experiments.node_states import NodeState, expected_seconds, node_states, states_without_cohort
from ecgcmr.experiments.out_folder import claim_folder
from ecgcmr.experiments.plan import CohortPlan, Plan
from ecgcmr.experiments.plan_state import is_whole
from ecgcmr.experiments.run_graph import run_graph
from ecgcmr.experiments.side_by_side import SideBySide, jobs_of
from ecgcmr.experiments.stage_runs import is_complete
from ecgcmr.experiments.times import Times
from ecgcmr.experiments.whole_run import begun, finish, run_parts
from ecgcmr.locks import FolderLock
from ecgcmr.text import duration, printable

CELLS, COHORT = "cells", "cohort"


def run_matrix(file: Path, cells: Sequence[Cell], out: Path, console: Console, args: argparse.Namespace) -> int:
    """Run the experiments of a matrix, or those of it that ``--only`` names; returns 0.

    Raises:
        UserError: An experiment cannot be carried out.
    """
    if args.begin_at:
        raise UserError("--from: is of one experiment; give it the experiment.yaml of a cell's folder, with --out")
    names = {COHORT, *(cell.name for cell in cells)}
    unknown = [name for name in args.only if name not in names]
    if unknown:
        known = ", ".join(cell.name for cell in cells[:6])
        raise UserError(f"--only {printable(unknown[0], 80)}: the matrix has no such cell; it has {known}, ...")
    matrix = Matrix(file, list(cells), out, console, args.workers, jobs_of(args.jobs))
    if args.dry_run:
        matrix.show()
        return 0
    # Some cells alone may be run by several calls at once, as jobs of a cluster: each holds its cells' folders.
    with nullcontext() if args.only else FolderLock(out, "experiment"):
        claim_folder(out, file, overwrite=args.overwrite)
        write_record(out, cells)
        matrix.make_cohort(make=not args.only or COHORT in args.only)
        if COHORT in args.only:
            matrix.make_cohorts(overwrite=args.overwrite)
        chosen = [cell for cell in cells if not args.only or cell.name in args.only]
        matrix.run(chosen, words_of(args), overwrite=args.overwrite)
        done = [cell for cell in cells if matrix.is_whole(cell)]
        if not done:  # the cohort alone was asked for
            return 0
        table = write_table(out, done, len(cells))
    console.print(f"table: {printable(shown(table))}   cells: {printable(shown(out / CELLS))}", markup=False)
    return 0


@dataclass
class Matrix:
    """A matrix of experiments in its folder.

    Attributes:
        file: Of the matrix.
        cells: Its experiments.
        out: Its folder.
        console: Where progress is shown.
        workers: Processes for preparation.
        jobs: Parts that run side by side.
    """

    file: Path
    cells: list[Cell]
    out: Path
    console: Console
    workers: int
    jobs: int

    def folder(self, cell: Cell) -> Path:
        """Return the folder of a cell."""
        return self.out / CELLS / cell.name

    def check(self) -> None:
        """Check every cell before anything is made.

        Raises:
            UserError: One cannot be carried out.
        """
        shared = self._shared_cohort()
        known = shared is not None and finished_cohorts(shared, self.out) is not None
        for cell in self.cells:
            self._experiment(cell, shared if known else None).begin(make=False)

    def make_cohorts(self, *, overwrite: bool) -> None:
        """Make the cohorts that cells have for themselves, each in its cell's folder; arguments as of ``run``.

        Raises:
            UserError: One cannot be made.
        """
        if self._shared_cohort() is None:
            for cell in self.cells:
                self._show(f"{cell.name}: {COHORT}")
                run_parts(self._experiment(cell, None), self.file, [COHORT], overwrite=overwrite)

    def make_cohort(self, *, make: bool) -> None:
        """Make the cohort that all cells share; where each has its own it is made with the cell.

        Raises:
            UserError: It cannot be made, or is not there and may not be made.
        """
        shared = self._shared_cohort()
        if shared is not None and make:
            resolve_cohorts(shared, self.out)
        elif shared is not None and finished_cohorts(shared, self.out) is None:
            raise UserError("--only: the cohort of this matrix is not there yet; run it with --only cohort first")

    def is_whole(self, cell: Cell) -> bool:
        """Return whether the results of a cell, as the file has it now, lie in its folder."""
        experiment = self._experiment(cell, self._shared_cohort())
        return is_whole(experiment.plan, experiment.out)

    def run(self, cells: Sequence[Cell], words: Sequence[str], *, overwrite: bool) -> None:
        """Run some experiments of the matrix; arguments as of ``whole_run.begun``.

        Raises:
            UserError: One cannot be carried out, or a part of it fails.
        """
        shared = self._shared_cohort()
        experiments = {cell.name: self._experiment(cell, shared) for cell in cells}
        left = {name: each for name, each in experiments.items() if not is_whole(each.plan, each.out)}
        held = {name: ExitStack() for name in left}
        with ExitStack() as all_held:
            for name, experiment in left.items():
                all_held.push(held[name])
                held[name].enter_context(begun(experiment, self.file, words, overwrite=overwrite))
            self._train(left)
            for name, experiment in left.items():
                experiment.jobs = 1  # there is nothing left to train
                experiment.train()
                finish(experiment)
                held[name].close()
                self._show(f"{name}: finished")

    def _train(self, experiments: dict[str, Experiment]) -> None:
        """Train what all experiments need, equal parts once."""
        times = {name: Times.load(experiment.out) for name, experiment in experiments.items()}

        def record(name: str, seconds: float) -> None:
            cell, _, part = name.partition("/")
            times[cell].record(part, seconds)

        parts = [
            replace(
                part,
                name=f"{name}/{part.name}",
                needs=tuple(f"{name}/{need}" for need in part.needs),
                prefix=f"{name}/",
            )
            for name, each in experiments.items()
            for part in parts_of(each.trainings, each.problems, each.counts, times[name])
        ]
        SideBySide(self.jobs, self.out / LOGS, self._show, record).run(parts)

    def show(self) -> None:
        """Print each cell, what of it is finished or taken over from another, and what is left."""
        shared = self._shared_cohort()
        known = shared is None or finished_cohorts(shared, self.out) is not None
        table = Table(box=None, pad_edge=False)
        for name in ("cell", "parts", "finished", "taken over", "left"):
            table.add_column(name, justify="left" if name == "cell" else "right")
        seen, left = set[str](), list[NodeState]()
        for cell in self.cells:
            experiment = self._experiment(cell, shared if known else None)
            states, again = self._states(experiment, seen)
            finished = sum(not state.open for state in states)
            rest = [state for state in states if state.open and state.node.name not in again]
            left += [replace(state, node=replace(state.node, needs=())) for state in rest]
            table.add_row(cell.name, *map(str, (len(states), finished, len(again), len(rest))))
        self.console.print(table)
        seconds = expected_seconds(left, self.jobs)
        unknown = sum(state.seconds is None for state in left)
        line = f"{len(left)} parts left in {len(self.cells)} cells, {self.jobs} side by side"
        line += f", about {duration(seconds)}" if seconds else ""
        self.console.print(line + (f"; {unknown} that nobody has timed" if unknown and left else ""), markup=False)

    def _states(self, experiment: Experiment, seen: set[str]) -> tuple[list[NodeState], set[str]]:
        """Return the parts of a cell, and the names of its stages that an earlier cell trains already."""
        if not experiment.begin(make=False):
            return states_without_cohort(run_graph(experiment.plan), Times.load(experiment.out)), set()
        complete = is_whole(experiment.plan, experiment.out)
        states = node_states(experiment.trainings, experiment.problems, experiment.counts, complete)
        again = set()
        for name in experiment.plan.stages:
            run = experiment.trainings.stage(name)
            if run.fingerprint in seen and not is_complete(run):
                again.add(name)
            seen.add(run.fingerprint)
        return states, again

    def _experiment(self, cell: Cell, shared: Plan | None) -> Experiment:
        plan = cell.plan if shared is None else _with_cohort(cell.plan, shared, self.out)
        beside = tuple(self.folder(other) for other in self.cells if other.name != cell.name)
        return Experiment(plan, self.folder(cell), Console(quiet=True), self.workers, beside=beside)

    def _shared_cohort(self) -> Plan | None:
        """Return a plan whose cohorts are those of every cell; None where they differ."""
        first = self.cells[0].plan
        return first if all(cohort_plans(cell.plan) == cohort_plans(first) for cell in self.cells) else None

    def _show(self, what: str) -> None:
        self.console.print(printable(what), markup=False)


def _with_cohort(plan: Plan, shared: Plan, out: Path) -> Plan:
    """Return a cell's plan on the cohorts of the whole matrix."""
    roots = {name: CohortPlan(root=str(cohort_root(shared, name, out))) for name in cohort_plans(shared)}
    return replace(plan, cohort=roots[ONLY]) if ONLY in roots else replace(plan, cohorts=roots)
