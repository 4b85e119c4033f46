"""Running an experiment from cohort to predictions: every method, every label count, every task, on the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ecgcmr.errors import UserError
from ecgcmr.evaluation.methods import LAYER_PROBE, STACK
from ecgcmr.evaluation.predictions import Predictions
from ecgcmr.evaluation.rows import Target
from ecgcmr.experiments.ahead import run_ahead
from ecgcmr.experiments.aligned_measurements import measurement_notes
from ecgcmr.experiments.baseline_methods import COVARIATES, Baselines
from ecgcmr.experiments.cohort_checks import check_preparations, leak_notes
from ecgcmr.experiments.cohort_plan import interpreted_cohort, task_cohort
from ecgcmr.experiments.cohort_set import CohortSet
from ecgcmr.experiments.cohorts import finished_cohorts, resolve_cohorts
from ecgcmr.experiments.config_checks import ReadSettings, exported, read_settings
from ecgcmr.experiments.features import CLASSICAL_FOLDER, LAYERS_FOLDER, encoder_features, encoder_layers
from ecgcmr.experiments.fine_tuning import ATTENTION
from ecgcmr.experiments.given_away import check_given_away
from ecgcmr.experiments.interpreting import check_interpretation, interpret, remove_interpretation
from ecgcmr.experiments.learnable import check_learnable, event_counts
from ecgcmr.experiments.methods import Floats, Outcome, Problem, oracle_outcome
from ecgcmr.experiments.node_states import node_states, remaining
from ecgcmr.experiments.plan import Plan, amount_of
from ecgcmr.experiments.plan_state import plan_fingerprint
from ecgcmr.experiments.run_graph import TABLE
from ecgcmr.experiments.stacks import Stacks
from ecgcmr.experiments.stage_runs import is_complete, run_stage
from ecgcmr.experiments.trainings import Trainings, known_counts
from ecgcmr.experiments.window_checks import check_windows
from ecgcmr.metrics.tasks import Task, labelled
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.contents import cohort_fingerprint
from ecgcmr.text import printable
from ecgcmr.training.prediction_tables import recording_numbers


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
    _remarks: dict[tuple[int | None, str], list[str]] = field(default_factory=dict, init=False)
    _made: dict[tuple[str, int | None, int], Outcome] = field(default_factory=dict, init=False)

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
        self.problems = [self._problem(name) for name in self.plan.evaluation.tasks]
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

    def _problem(self, name: str) -> Problem:
        """Read a task's labels and check what it needs of the cohort, before any stage spends time."""
        evaluation = self.plan.evaluation
        task, index = evaluation.tasks[name], self.cohorts.of_task(name)
        problem = Problem.of(name, task.task, task.targets, index)
        check_given_away(problem, self.plan, index)
        if "oracle" in evaluation.baselines and oracle_outcome(index, problem) is None:
            self.notes.append(f"{name}: no oracle, since that of the cohort does not tell when a disease comes")
        for baseline, labels in COVARIATES.items():
            if baseline in evaluation.baselines:
                try:
                    index.label_columns(labels)
                except UserError as error:
                    raise UserError(f"task {name}: baseline {baseline}: {error}; leave it out") from error
        labelled_rows = problem.training(None)
        available = len(labelled_rows)
        subjects = len(np.unique(index.subjects(problem.rows[labelled_rows])))
        if subjects < available:
            self.notes.append(
                f"{name}: the {available:,} labelled training recordings are of {subjects:,} subjects; numbers of "
                "labels count recordings"
            )
        check_learnable(problem)
        if problem.task.followed:
            self._note_events(problem)
        wanted = {label for label in [*evaluation.labels, *evaluation.finetune_labels] if isinstance(label, int)}
        short = sorted(count for count in wanted if count > available)
        if short:
            self.notes.append(f"{name}: {available} labelled training recordings, too few for {short} labels")
        self.counts[name] = {
            label: amount_of(label, available)
            for label in [*evaluation.labels, *evaluation.finetune_labels]
            if amount_of(label, available) <= available
        }
        parts = [f"{label} = {count:,}" for label, count in self.counts[name].items() if isinstance(label, str)]
        if any(label != "all" for label in self.counts[name] if isinstance(label, str)):
            self.notes.append(f"{name}: of {available:,} labelled training recordings, {', '.join(parts)}")
        return problem

    def _note_events(self, problem: Problem) -> None:
        """Note how many events there are, on which all depends."""
        each = [f"{name} {'/'.join(map(str, counts))}" for name, counts in event_counts(problem).items()]
        self.notes.append(f"{problem.name}: events in training/validation/test: {', '.join(each)}")

    def _predict(self, problem: Problem) -> None:
        """Let every method of the evaluation predict one task."""
        evaluation, index = self.plan.evaluation, self.cohorts.of_task(problem.name)
        recordings = Recordings.of(problem, index)
        for method in evaluation.linear_probe:
            self._show(f"linear probe: {method}")
            self._keep(recordings, method, "linear_probe", self._probed(problem, method))
        for method in evaluation.layer_probe:
            self._show(f"linear probe of each layer: {method}")
            self._keep(recordings, method, LAYER_PROBE, self._probed_by_layer(problem, method))
        for run in self.trainings.downstream(problem, self.counts[problem.name]):
            found = [(run.count, run.seed, self.trainings.outcome(run))]
            self._keep(recordings, run.method, run.protocol, found)
            if run.method in evaluation.against and found[0][2].validation is not None:
                key = problem.name, run.count, run.method
                score = problem.validation_score(found[0][2].validation)
                self.validated.setdefault(key, []).append(score)
        classical = self.cohorts.features_folder(self.out, CLASSICAL_FOLDER, problem.name).name
        cohort = self.cohorts.task_fingerprint(problem.name)
        baselines = Baselines(index, self.out, self.workers, cohort, classical)
        counts = self._counts(evaluation.labels, problem)
        for method in evaluation.baselines:
            self._show(f"baseline: {method}")
            if method == "oracle":
                oracle = oracle_outcome(index, problem)
                if oracle is not None:
                    self._keep(recordings, method, None, [(None, self.plan.seed, oracle)])
                continue
            seeds = self.plan.finetune_seeds if method == "features-boosting" else self.plan.seeds
            self._keep(recordings, method, None, baselines.outcomes(method, problem, counts, seeds))
        stacks = Stacks(self.plan, problem, baselines, self._encoder_features, self._made)
        for name in evaluation.stack:
            self._show(f"stack: {name}")
            self._keep(recordings, name, STACK, stacks.outcomes(name, counts))
        self.notes += [*grouped(self._remarks), *stacks.notes()]
        self._remarks.clear()
        self._made.clear()

    def _show(self, what: str) -> None:
        self.console.print(f"  {printable(what)}", markup=False)

    def _probed(self, problem: Problem, method: str) -> Iterator[tuple[int, int, Outcome]]:
        """Yield (labels, seed, outcome) of the linear probe on an encoder's features, extracted once.

        With all labels every seed sees the same subjects: unless the encoder differs too, one is enough.
        """
        counts, most = self._counts(self.plan.evaluation.labels, problem), len(problem.training(None))
        for seed in self.plan.seeds:
            features = self._encoder_features(problem, method, seed)
            again = method != "random" and seed != self.plan.seeds[0]
            needed = [count for count in counts if not (again and count == most)]
            yield from ((count, seed, outcome) for count, outcome in problem.probe(features, needed, seed).items())

    def _probed_by_layer(self, problem: Problem, method: str) -> Iterator[tuple[int, int, Outcome]]:
        """Yield (labels, seed, outcome) of the linear probe on the layer that reads best on the validation split."""
        trainings, windows = self.trainings, self.plan.evaluation.windows
        folder, index = trainings.folder(method), self.cohorts.of_task(problem.name)
        cache = self.cohorts.features_folder(self.out, LAYERS_FOLDER.format(method), problem.name)
        layers = encoder_layers(folder, index, problem.rows, cache, windows, trainings.trusted)
        counts, most = self._counts(self.plan.evaluation.labels, problem), len(problem.training(None))
        for seed in self.plan.seeds:
            needed = [count for count in counts if seed == self.plan.seeds[0] or count != most]
            found = [problem.probe(features.astype(np.float64), needed, seed) for features in layers]
            for count in needed:
                yield count, seed, problem.best_of([outcomes[count] for outcomes in found], "layer")

    def _encoder_features(self, problem: Problem, method: str, seed: int) -> Floats:
        """Return the features (n, D) of a problem's rows, kept on disk."""
        trainings, windows = self.trainings, self.plan.evaluation.windows
        folder = trainings.random(seed) if method == "random" else trainings.folder(method)
        cache = self.cohorts.features_folder(self.out, folder.name, problem.name)
        index = self.cohorts.of_task(problem.name)
        found = encoder_features(folder, index, problem.rows, cache, windows, trainings.trusted)
        return found.astype(np.float64)

    def _counts(self, labels: list[int | str], problem: Problem) -> list[int]:
        """Return the label counts that the cohort allows, without repeats; ``all`` is the number there are."""
        return known_counts(labels, self.counts[problem.name])

    def _keep(
        self,
        recordings: Recordings,
        method: str,
        protocol: str | None,
        outcomes: Iterable[tuple[int | None, int, Outcome]],
    ) -> None:
        """Keep what a method predicted at every number of labels and with every seed, and its remarks."""
        for count, seed, outcome in outcomes:
            for note in outcome.notes:
                self._remarks.setdefault((count, note), []).append(self.plan.shown(method))
            if protocol not in ("finetune", ATTENTION, LAYER_PROBE):
                self._made[method, count, seed] = outcome
            about = {
                "method": self.plan.shown(method),
                "protocol": protocol,
                "labels": count,
                "seed": seed,
                "ended": outcome.ended,
            }
            self.predictions.append(recordings.predictions("test", outcome.prediction, about))
            if recordings.problem.task.binary and outcome.validation is not None:
                self.predictions.append(recordings.predictions("val", outcome.validation, about))


@dataclass(frozen=True)
class Recordings:
    """The recordings of a problem, whose they are and which of theirs; all predictions share these arrays.

    Attributes:
        problem: The task on its cohort.
        subjects: (n,) subject of each of the problem's rows.
        numbers: (n,) number of each row's recording among those of its subject.
        targets: The problem's targets.
    """

    problem: Problem
    subjects: NDArray[np.str_]
    numbers: NDArray[np.int64]
    targets: tuple[Target, ...]

    @classmethod
    def of(cls, problem: Problem, index: ShardIndex) -> Recordings:
        """Look up the subjects of a problem's rows."""
        subjects = np.asarray(index.subjects(problem.rows), dtype=str)
        return cls(problem, subjects, recording_numbers(subjects), tuple(problem.targets))

    def predictions(self, split: str, values: Floats, about: dict[str, Any]) -> Predictions:
        """Return what a method, described by ``about``, predicted for a split."""
        rows, problem = self.problem.part(split), self.problem
        return Predictions(
            problem.task, self.targets, self.subjects[rows], self.numbers[rows], problem.values[rows], values, split,
            **about,
        )  # fmt: skip


def refuse_shared_targets(problems: Sequence[Problem]) -> None:
    """Raise a UserError where two tasks have a target of one name: in a table of predictions it is of one kind."""
    owner: dict[str, str] = {}
    for problem in problems:
        for label in problem.labels:
            if label.name in owner:
                raise UserError(
                    f"task {problem.name}: {label.name} is a target of task {owner[label.name]} too; take it out of one"
                )
            owner[label.name] = problem.name


def grouped(remarks: dict[tuple[int | None, str], list[str]]) -> list[str]:
    """Return notes as lines, one for all methods that it holds for.

    Args:
        remarks: (number of labels, note) -> methods.
    """
    return [
        f"{'' if count is None else f'{count:,} labels, '}{note} ({', '.join(dict.fromkeys(methods))})"
        for (count, note), methods in remarks.items()
    ]
