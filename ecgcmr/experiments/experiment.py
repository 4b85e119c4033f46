"""Running an experiment from cohort to table: every method, every label count, every task, scored alike."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ecgcmr.errors import UserError
from ecgcmr.evaluation.predictions import Predictions, save_predictions
from ecgcmr.evaluation.results import ResultRow, Target
from ecgcmr.experiments.baseline_methods import COVARIATES, Baselines
from ecgcmr.experiments.chain import stage_overrides
from ecgcmr.experiments.cohorts import resolve_cohort
from ecgcmr.experiments.config_checks import exported, read_settings
from ecgcmr.experiments.features import encoder_features
from ecgcmr.experiments.fine_tuning import FineTuning
from ecgcmr.experiments.given_away import check_given_away
from ecgcmr.experiments.methods import Floats, Outcome, Problem, oracle_outcome, random_encoder
from ecgcmr.experiments.plan import Plan, amount_of
from ecgcmr.experiments.scores import Line, Scores
from ecgcmr.experiments.stage_runs import StageRun, fingerprint_of, run_stage
from ecgcmr.experiments.window_checks import check_windows
from ecgcmr.metrics.survival import FEW_EVENTS, few_events_note
from ecgcmr.shards import ShardIndex
from ecgcmr.text import printable

Scored = tuple[str, Line]
"""(task name, line of its table)."""


@dataclass
class Experiment:
    """One experiment being run.

    Attributes:
        plan: The experiment file.
        out: Its folder.
        console: Where progress is told.
        workers: Processes for feature extraction.
        index: The cohort.
        rows: Of results.json.
        notes: What a reader of the tables must know.
        targets: Task -> its targets.
        scores: Task -> scores of its methods.
        counts: Task -> entry of ``labels`` -> number of labelled training subjects.
        predictions: Task and line -> seed -> predictions of the test split.
        validation: Predictions of the validation split, of classes alone.
    """

    plan: Plan
    out: Path
    console: Console
    workers: int = 2
    index: ShardIndex = field(init=False)
    rows: list[ResultRow] = field(default_factory=list, init=False)
    notes: list[str] = field(default_factory=list, init=False)
    targets: dict[str, list[Target]] = field(default_factory=dict, init=False)
    scores: dict[str, Scores] = field(default_factory=dict, init=False)
    counts: dict[str, dict[int | str, int]] = field(default_factory=dict, init=False)
    predictions: dict[Scored, dict[int, Predictions]] = field(default_factory=dict, init=False)
    validation: list[Predictions] = field(default_factory=list, init=False)
    _encoders: dict[str, Path] = field(default_factory=dict, init=False)
    _stage_fingerprints: dict[str, str] = field(default_factory=dict, init=False)
    _trusted: tuple[str, ...] = field(default=(), init=False)
    _told: dict[tuple[int | None, str], list[str]] = field(default_factory=dict, init=False)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Tell that a part starts, and how long it took."""
        start = time.perf_counter()
        self.console.print(printable(name), style="bold", markup=False)
        yield
        self._tell(f"{name}: {time.perf_counter() - start:.1f} s")

    def run(self) -> list[ResultRow]:
        """Make the cohort, train the stages, score every method.

        Returns:
            The rows of the results table.

        Raises:
            UserError: If any part does not finish.
        """
        with self.step("cohort"):
            self.index = resolve_cohort(self.plan, self.out)
        problems = [self._problem(name) for name in self.plan.evaluation.tasks]
        refuse_shared_targets(problems)
        settings = read_settings(self.plan)
        # Classes that the plan's configs name are trusted: the stages import them too.
        self._trusted = tuple(dict.fromkeys(exported(model).class_path for model in settings.stages.values()))
        check_windows(self.plan, settings, self.index)
        for name in self.plan.stages:
            with self.step(f"stage {name}"):
                self._train(name)
        like = self._encoders[self.plan.evaluation.random_encoder_of]
        for seed in dict.fromkeys([self.plan.seed, *self.plan.seeds]):
            name = self._random(seed)
            self._encoders[name] = random_encoder(like, self.out / "stages" / name, seed, self._trusted)
        for problem in problems:
            with self.step(f"task {problem.name}"):
                self._compare(problem)
        return self.rows

    def _random(self, seed: int) -> str:
        """Name the random encoder of a seed; that of the plan's own seed is also what ``scratch`` is shaped like."""
        return "random" if seed == self.plan.seed else f"random-s{seed}"

    def _problem(self, name: str) -> Problem:
        """Read a task's labels and check what it needs of the cohort, before any stage spends time."""
        evaluation = self.plan.evaluation
        task = evaluation.tasks[name]
        problem = Problem.of(name, task.task, task.targets, self.index)
        check_given_away(problem, self.plan, self.index)
        if "oracle" in evaluation.baselines and oracle_outcome(self.index, problem) is None:
            self.notes.append(f"{name}: no oracle, since that of the cohort does not tell when a disease comes")
        for baseline, labels in COVARIATES.items():
            if baseline in evaluation.baselines:
                self.index.label_columns(labels)
        available = len(problem.training(None))
        if not available:
            raise UserError(f"task {name}: no training subject has an ECG and one of its labels")
        for split in ("val", "test"):
            if not len(problem.part(split)):
                raise UserError(f"task {name}: the cohort has no ECG in split {split}, so nothing can be compared")
        if task.task == "time_to_event":
            self._check_events(problem)
        wanted = {label for label in [*evaluation.labels, *evaluation.finetune_labels] if isinstance(label, int)}
        short = sorted(count for count in wanted if count > available)
        if short:
            self.notes.append(f"{name}: {available} labelled training subjects, too few for {short} labels")
        self.counts[name] = {
            label: amount_of(label, available)
            for label in [*evaluation.labels, *evaluation.finetune_labels]
            if amount_of(label, available) <= available
        }
        parts = [f"{label} = {count:,}" for label, count in self.counts[name].items() if isinstance(label, str)]
        if any(label != "all" for label in self.counts[name] if isinstance(label, str)):
            self.notes.append(f"{name}: of {available:,} labelled training subjects, {', '.join(parts)}")
        return problem

    def _check_events(self, problem: Problem) -> None:
        """Note how many events there are, on which all depends, and refuse a cohort that has none to choose by."""
        splits = ("train", "val", "test")
        counts = np.array([np.nansum(problem.values[problem.part(split), :, 0], axis=0) for split in splits], dtype=int)
        names = [label.name for label in problem.labels]
        for split, own in zip(splits[:2], counts, strict=False):
            if not own.any():
                raise UserError(f"task {problem.name}: no subject of split {split} has an event of {', '.join(names)}")
        told = [f"{name} {'/'.join(map(str, own))}" for name, own in zip(names, counts.T, strict=True)]
        self.notes.append(f"{problem.name}: events in training/validation/test: {', '.join(told)}")
        few = [(name, int(own)) for name, own in zip(names, counts[2], strict=True) if 0 < own < FEW_EVENTS]
        self.notes += [f"{name}: {few_events_note(own)}" for name, own in few]

    def _train(self, name: str) -> None:
        stage = self.plan.stages[name]
        overrides: dict[str, Any] = {"data.root": str(self.index.root), **stage_overrides(self.plan, name)}
        inputs = {"cohort": self._cohort_fingerprint()}
        for argument, source in stage.start_from.items():
            overrides[f"model.{argument}"] = str(self._encoders[source])
            inputs[argument] = self._stage_fingerprints[source]
        run = StageRun(name, self.out / "stages" / name, self.plan.file(stage.config), overrides, inputs)
        if not run_stage(run):
            self._tell("finished earlier")
        self._encoders[name] = run.folder
        self._stage_fingerprints[name] = run.fingerprint

    def _cohort_fingerprint(self) -> str:
        return fingerprint_of([shard["sha256"] for shard in self.index.shards])

    def _compare(self, problem: Problem) -> None:
        """Score every method of the evaluation on one task."""
        evaluation = self.plan.evaluation
        test = problem.part("test")
        self.targets[problem.name] = problem.targets
        self.scores[problem.name] = Scores(
            problem.task,
            problem.targets,
            problem.values[test],
            self.index.subjects(problem.rows[test]),
            evaluation.resamples,
            self.plan.seed,  # one seed: all methods meet the same resamples
        )
        for method in evaluation.linear_probe:
            self._tell(f"linear probe: {method}")
            self._score(problem, method, "linear_probe", self._probed(problem, method))
        if evaluation.tasks[problem.name].finetune is not None:
            tuning = FineTuning(
                self.plan, self.index, self.out, self.console, self._cohort_fingerprint(), self._encoders,
                self._stage_fingerprints,
            )  # fmt: skip
            counts = self._counts(evaluation.finetune_labels or evaluation.labels, problem)
            for method in evaluation.finetune:
                found = [
                    (count, seed, tuning.outcome(problem, method, count, seed))
                    for count in counts
                    for seed in self.plan.finetune_seeds
                ]
                self._score(problem, method, "finetune", found)
        baselines = Baselines(self.index, self.out, self.workers, self._cohort_fingerprint())
        counts = self._counts(evaluation.labels, problem)
        for method in evaluation.baselines:
            self._tell(f"baseline: {method}")
            if method == "oracle":
                oracle = oracle_outcome(self.index, problem)
                if oracle is not None:
                    self._score(problem, method, None, [(None, self.plan.seed, oracle)])
                continue
            seeds = self.plan.finetune_seeds if method == "features-boosting" else self.plan.seeds
            self._score(problem, method, None, baselines.outcomes(method, problem, counts, seeds))
        self.notes += grouped(self._told)
        self._told.clear()

    def _tell(self, what: str) -> None:
        self.console.print(f"  {printable(what)}", markup=False)

    def _probed(self, problem: Problem, method: str) -> Iterator[tuple[int, int, Outcome]]:
        """Yield (labels, seed, outcome) of the linear probe on an encoder's features, extracted once.

        With all labels every seed sees the same subjects: unless the encoder differs too, one is enough.
        """
        counts, most = self._counts(self.plan.evaluation.labels, problem), len(problem.training(None))
        for seed in self.plan.seeds:
            name = self._random(seed) if method == "random" else method
            cache = self.out / "features" / name
            features = encoder_features(
                self._encoders[name], self.index, problem.rows, cache, self.plan.evaluation.windows, self._trusted
            ).astype(np.float64)
            again = method != "random" and seed != self.plan.seeds[0]
            own = [count for count in counts if not (again and count == most)]
            yield from ((count, seed, outcome) for count, outcome in problem.probe(features, own, seed).items())

    def _counts(self, labels: list[int | str], problem: Problem) -> list[int]:
        """Return the label counts that the cohort allows, without repeats; ``all`` is the number there are."""
        known = self.counts[problem.name]
        return sorted({known[label] for label in labels if label in known})

    def _score(
        self,
        problem: Problem,
        method: str,
        protocol: str | None,
        outcomes: Iterable[tuple[int | None, int, Outcome]],
    ) -> None:
        """Add a method's rows for every number of labels, and keep its predictions."""
        found: dict[int | None, dict[int, Outcome]] = {}
        for count, seed, outcome in outcomes:
            found.setdefault(count, {})[seed] = outcome
        several = len({*self.plan.seeds, *self.plan.finetune_seeds}) > 1
        for count, own in found.items():
            line = Line(method, protocol, count)
            seeds = {seed: outcome.prediction for seed, outcome in own.items()}
            self.rows += self.scores[problem.name].add(line, seeds)
            for seed, outcome in own.items():
                for note in outcome.notes:
                    self._told.setdefault((count, note), []).append(method)
                kept = self._predictions(problem, line, seed, outcome.prediction, "test")
                self.predictions.setdefault((problem.name, line), {})[seed] = kept
                name = f"{problem.name}-{method}-{protocol or 'baseline'}-{count or 'any'}"
                suffix = f"-s{seed}" if several else ""
                save_predictions(self.out / "predictions" / f"{name}{suffix}.npz", kept)
                if problem.task == "classification" and outcome.validation is not None:
                    self.validation.append(self._predictions(problem, line, seed, outcome.validation, "val"))

    def _predictions(self, problem: Problem, line: Line, seed: int, values: Floats, split: str) -> Predictions:
        rows = problem.part(split)
        return Predictions(
            subjects=tuple(self.index.subjects(problem.rows[rows])),
            targets=tuple(label.name for label in problem.labels),
            truth=problem.values[rows],
            prediction=values,
            task=problem.task,
            split=split,
            seed=seed,
            **line._asdict(),
        )


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


def grouped(told: dict[tuple[int | None, str], list[str]]) -> list[str]:
    """Return notes as lines, one for all methods that it holds for.

    Args:
        told: (number of labels, note) -> methods.
    """
    return [
        f"{'' if count is None else f'{count:,} labels, '}{note} ({', '.join(dict.fromkeys(methods))})"
        for (count, note), methods in told.items()
    ]
