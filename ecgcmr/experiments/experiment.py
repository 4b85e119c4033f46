"""Running an experiment from cohort to predictions: every method, every label count, every task, on the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rich.console import Console

from ecgcmr.errors import UserError
from ecgcmr.evaluation.predictions import Predictions
from ecgcmr.evaluation.rows import Target
from ecgcmr.experiments.ahead import run_ahead
from ecgcmr.experiments.aligned_measurements import measurement_notes
from ecgcmr.experiments.cohort_checks import check_preparations, leak_notes
from ecgcmr.experiments.cohort_plan import interpreted_cohort, task_cohort
from ecgcmr.experiments.cohort_set import CohortSet
from ecgcmr.experiments.cohorts import finished_cohorts, resolve_cohorts
from ecgcmr.experiments.config_checks import ReadSettings, exported, read_settings
from ecgcmr.experiments.interpreting import check_interpretation, interpret, remove_interpretation
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.node_states import node_states, remaining
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.plan_state import plan_fingerprint
from ecgcmr.experiments.run_graph import TABLE
from ecgcmr.experiments.stage_runs import is_complete, run_stage
from ecgcmr.experiments.task_prediction import TaskPrediction
from ecgcmr.experiments.task_reading import read_task, refuse_shared_targets
from ecgcmr.experiments.trainings import Trainings
from ecgcmr.experiments.window_checks import check_windows
from ecgcmr.metrics.tasks import Task, labelled
from ecgcmr.shards.contents import cohort_fingerprint
from ecgcmr.text import printable


@dataclass
class Experiment:
    """One experiment being run.

    Attributes:
        plan: The experiment file.
        out: Its folder.
        console: Where progress is shown.
        workers: Processes for feature extraction.
        jobs: Trainings, and computations of features, that run side by side in processes of their own.
        beside: Folders of experiments on the same cohort, whose finished parts are taken over where they are the same.
        after_step: Called when a part has ended.
        cohorts: What it is trained on, and judged.
        notes: What a reader of the tables must know.
        problems: The tasks on their cohorts.
        tasks: In the order of tables.
        targets: Of all tasks.
        counts: Task -> entry of ``labels`` -> number of labelled training recordings.
        trainings: What is trained, and where it lies.
        predictions: Of the test split, and of classes of the validation split too, on which thresholds are chosen.
        validated: (task, number of labels, method) -> score on the validation split for each seed, of the methods among
            which a reference is chosen.
    """

    plan: Plan
    out: Path
    console: Console
    workers: int = 2
    jobs: int = 1
    beside: tuple[Path, ...] = ()
    after_step: Callable[[], None] = lambda: None
    cohorts: CohortSet = field(init=False)
    notes: list[str] = field(default_factory=list, init=False)
    problems: list[Problem] = field(default_factory=list, init=False)
    tasks: list[Task] = field(default_factory=list, init=False)
    targets: list[Target] = field(default_factory=list, init=False)
    counts: dict[str, dict[int | str, int]] = field(default_factory=dict, init=False)
    predictions: list[Predictions] = field(default_factory=list, init=False)
    validated: dict[tuple[str, int, str], list[float]] = field(default_factory=dict, init=False)
    trainings: Trainings = field(init=False)

    @cached_property
    def settings(self) -> ReadSettings:
        """What the plan's configs say.

        Raises:
            UserError: One of them cannot be carried out.
        """
        return read_settings(self.plan)

    @cached_property
    def fingerprint(self) -> str:
        """That of the plan and its cohorts, as they were when it was first asked for: what changes later is not run."""
        return plan_fingerprint(self.plan)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show that a part starts, and how long it took."""
        start = time.perf_counter()
        self.console.print(printable(name), style="bold", markup=False)
        yield
        self._show(f"{name}: {time.perf_counter() - start:.1f} s")
        self.after_step()

    def begin(self, make: bool = True) -> bool:
        """Check the plan, make or open the cohort and read the tasks, before anything is trained.

        Args:
            make: Whether a cohort that is not there is made.

        Returns:
            Whether there is a cohort.

        Raises:
            UserError: If the plan cannot be carried out.
        """
        settings = self.settings  # refused before a cohort is made, which may take hours
        if make:
            with self.step("cohort"):
                self.cohorts = resolve_cohorts(self.plan, self.out)
        else:
            found = finished_cohorts(self.plan, self.out)
            if found is None:
                return False
            self.cohorts = found
        check_preparations(self.plan, settings, self.cohorts)
        self.read_tasks()
        self.notes += measurement_notes(self.plan, self.problems, self.cohorts, settings.stages)
        # Classes that the plan's configs name are trusted: the stages import them too.
        named = [exported(model).class_path for model in settings.stages.values()]
        if self.plan.evaluation.teacher is not None:
            named.append(settings.stages[self.plan.evaluation.teacher].init_args["cmr_encoder"].class_path)
        named += [given.encoder["class_path"] for given in self.plan.encoders.values() if given.encoder]
        trusted = tuple(dict.fromkeys(named))
        self.trainings = Trainings(self.plan, self.cohorts, self.out, trusted, self._show, self.beside)
        for name in self.cohorts.of_tasks:
            check_windows(self.plan, settings, self.cohorts.indices[name], name)
        self.notes += leak_notes(self.cohorts)
        if self.plan.interpretation is not None:
            cohort = interpreted_cohort(self.plan)
            there = [problem for problem in self.problems if task_cohort(self.plan, problem.name) == cohort]
            names = {label.name for problem in there for label in problem.labels}
            check_interpretation(self.plan, settings.stages[self.plan.interpretation.method], names)
        return True

    def read_tasks(self) -> None:
        """Read the labels of all tasks.

        Raises:
            UserError: The cohort lacks what one needs.
        """
        read = [read_task(self.plan, name, self.cohorts.of_task(name)) for name in self.plan.evaluation.tasks]
        self.problems = [task.problem for task in read]
        self.counts = {task.problem.name: task.counts for task in read}
        self.notes += [note for task in read for note in task.notes]
        refuse_shared_targets(self.problems)
        self.tasks = labelled(problem.task for problem in self.problems)
        self.targets = [target for problem in self.problems for target in problem.targets]

    def train_only(self, only: Collection[str]) -> None:
        """Train some parts alone, after ``begin``.

        Args:
            only: Names of stages and downstream runs; what they need must be finished, or among them.

        Raises:
            UserError: It is not, or a part fails.
        """
        self.trainings.make_given()
        states = node_states(self.trainings, self.problems, self.counts, finished=False)
        finished = {state.node.name for state in states if not state.open}
        for state in states:
            if state.node.name not in only or state.node.name == TABLE:
                continue
            missing = [need for need in state.node.needs if need not in finished and need not in only]
            if missing:
                raise UserError(
                    f"--only {state.node.name}: it needs {', '.join(missing)}, not finished in this folder; run "
                    "that first, or name it too"
                )
        run_ahead(self.trainings, self.problems, self.counts, self.jobs, only)

    def train(self) -> None:
        """Train all stages and networks, after ``begin``; with one job, networks are trained where they predict.

        Raises:
            UserError: If any part does not finish.
        """
        if self.plan.encoders:
            with self.step("encoders that are given"):
                self.trainings.make_given()
        if self.jobs > 1:
            with self.step(f"training, {self.jobs} side by side"):
                self._show(
                    remaining(node_states(self.trainings, self.problems, self.counts, finished=False), self.jobs)
                )
                run_ahead(self.trainings, self.problems, self.counts, self.jobs)
        for name in self.plan.stages:
            with self.step(f"stage {name}"):
                run = self.trainings.stage(name)
                with self.trainings.timed(name, is_complete(run)):
                    if not run_stage(run):
                        self._show("finished earlier")

    def predict(self) -> None:
        """Let every method predict, after ``train``.

        Raises:
            UserError: If a method does not.
        """
        for problem in self.problems:
            with self.step(f"task {problem.name}"):
                self._predict(problem)

    def interpret(self) -> None:
        """Show what a stage learned, where the plan asks for it; after the results, since it takes the probes of one.

        Raises:
            UserError: The stage cannot be given what is asked for.
        """
        asked = self.plan.interpretation
        if asked is None:
            remove_interpretation(self.out)
            return
        with self.step("interpretation"):
            trainings, index = self.trainings, self.cohorts.indices[interpreted_cohort(self.plan)]
            inputs = {"cohort": cohort_fingerprint(index), "stage": trainings.fingerprint(asked.method)}
            interpret(self.plan, index, self.out, inputs, trainings.trusted, self._show)

    def _predict(self, problem: Problem) -> None:
        """Let every method of the evaluation predict one task."""
        counts = self.counts[problem.name]
        task = TaskPrediction(
            self.plan, problem, self.cohorts, self.trainings, self.out, self.workers, counts, self._show
        )
        task.predict()
        self.predictions += task.predictions
        self.validated |= task.validated
        self.notes += task.notes

    def _show(self, what: str) -> None:
        self.console.print(f"  {printable(what)}", markup=False)
