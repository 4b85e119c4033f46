"""A whole experiment in its folder: claimed, begun, trained, compared and reported, each as a step of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.experiments.cohorts import plan_record
from ecgcmr.experiments.experiment import Experiment
from ecgcmr.experiments.node_states import node_states, remaining, states_table, states_without_cohort
from ecgcmr.experiments.noted import noted
from ecgcmr.experiments.out_folder import RECORD, claim_folder
from ecgcmr.experiments.plan_state import is_whole
from ecgcmr.experiments.report import write_results
from ecgcmr.experiments.run_graph import COHORT, TABLE, chosen, dependents, run_graph
from ecgcmr.experiments.stage_runs import is_finished, marker_state, write_marker
from ecgcmr.experiments.times import Times
from ecgcmr.files import remove_paths, remove_unfinished, write_atomically
from ecgcmr.locks import FolderLock, is_locked, remove_all


@contextmanager
def begun(experiment: Experiment, file: Path, words: Sequence[str], *, overwrite: bool) -> Iterator[None]:
    """Hold the folder of an experiment that is about to be run, with its note and its cohort.

    Args:
        experiment: New.
        file: Of its plan, whose name the folder bears.
        words: Of the command line, after ``ecgcmr``.
        overwrite: Results of another experiment may be replaced.

    Raises:
        UserError: Another process works there, the folder is something else, or the plan cannot be carried out.
    """
    out = experiment.out
    with FolderLock(out, "experiment"):
        claim_folder(out, file, overwrite=overwrite)
        remove_unfinished(out, below=True)  # features, tables, figures: none is locked by itself
        write_plan(experiment)
        _remove_derived(out)
        with noted(experiment, words):
            experiment.begin()
            yield


def finish(experiment: Experiment) -> None:
    """Let every method predict and write the tables, after ``begun`` and ``Experiment.train``.

    Raises:
        UserError: A method does not predict, or nothing was compared.
    """
    out, start, known = experiment.out, time.perf_counter(), set(experiment.trainings.spent)
    experiment.predict()
    if not experiment.predictions:
        raise UserError(f"{experiment.plan.path.name}: nothing was compared; name methods under evaluation")
    try:
        with experiment.step("tables and figures"):
            write_results(experiment)
        experiment.interpret()
    except BaseException:  # a full disk, a signal: half of the tables are no result
        (out / "results.json").unlink(missing_ok=True)
        raise
    # with one job networks are trained where they predict
    trained = sum(seconds for name, seconds in experiment.trainings.spent.items() if name not in known)
    Times.load(out).record(TABLE, time.perf_counter() - start - trained)
    write_marker(out, experiment.fingerprint, finished=True)


def run_parts(experiment: Experiment, file: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Run some parts alone; several such calls may work in one folder, as jobs of a cluster do.

    Args:
        experiment: New.
        file: Of its plan.
        names: Parts, see ``run_graph``.
        overwrite: Results of another experiment may be replaced.

    Raises:
        UserError: There is no such part, what it needs is not finished, or it fails.
    """
    out = experiment.out
    if TABLE in names:
        raise UserError("--only table: the tables are made by the whole command, without --only, once all is trained")
    changed = marker_state(out).get("fingerprint") != experiment.fingerprint
    if changed and is_locked(out):
        raise UserError(
            f"--only: {out} is being written by a run of other settings; wait for it or choose another --out"
        )
    claim_folder(out, file, overwrite=overwrite)
    if not is_finished(out, experiment.fingerprint):
        write_plan(experiment)
    if COHORT in names:
        with FolderLock(out / f"{COHORT}.making", "experiment"):
            experiment.begin()
    elif not experiment.begin(make=False):
        raise UserError("--only: the cohort of this experiment is not there yet; run it with --only cohort first")
    known = chosen(names, experiment.plan, experiment.counts, "--only")
    experiment.train_only([name for name in known if name != COHORT])


def forget(experiment: Experiment, names: Sequence[str]) -> None:
    """Let parts run anew, and all that builds on them, after ``begun``.

    Raises:
        UserError: There is no such part.
    """
    nodes = run_graph(experiment.plan, experiment.counts)
    for name in chosen(names, experiment.plan, experiment.counts, "--from"):
        if name == COHORT:
            raise UserError("--from cohort: the cohort is the same each time; choose another --out to begin with it")
        for each in (name, *dependents(nodes, name)):
            for folder in experiment.trainings.folders(each, experiment.problems, experiment.counts):
                if folder.is_dir():
                    with FolderLock(folder, "experiment"):
                        remove_all(folder)


def show_plan(experiment: Experiment) -> None:
    """Print the parts of an experiment, what is finished and what is left; nothing is written.

    Raises:
        UserError: The plan cannot be carried out.
    """
    if experiment.begin(make=False):
        complete = is_whole(experiment.plan, experiment.out)
        states = node_states(experiment.trainings, experiment.problems, experiment.counts, complete)
    else:
        states = states_without_cohort(run_graph(experiment.plan), Times.load(experiment.out))
    experiment.console.print(states_table(states))
    experiment.console.print(remaining(states, experiment.jobs), markup=False)


def write_plan(experiment: Experiment) -> None:
    """Note what is being run; the table of an earlier plan goes.

    Raises:
        UserError: A config of the plan is refused, which leaves the folder as it was.
    """
    out, plan = experiment.out, experiment.plan
    _ = experiment.settings  # read before anything is written
    write_marker(out, experiment.fingerprint, finished=False)
    (out / "results.json").unlink(missing_ok=True)  # a table stands for a finished experiment
    write_atomically(out / RECORD, plan_record(plan, out).encode())


def _remove_derived(out: Path) -> None:
    """Remove figures and assessments, which are made anew: none of a task or method that is gone stays."""
    assessed = [path.parent for path in out.glob("evaluation/*/results.md")]
    remove_paths([*out.glob("figures/*.png"), *assessed])
