"""Running an experiment from cohort to table: every method, every label count, every task, scored alike."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from data_modules import ShardIndex, read_labels
from ecgcmr.errors import UserError
from ecgcmr.evaluation.baselines import age_sex_columns
from ecgcmr.evaluation.predictions import Predictions, save_predictions
from ecgcmr.evaluation.results import ResultRow, Target, evaluate
from ecgcmr.experiments.cohorts import resolve_cohort
from ecgcmr.experiments.features import classical_features, encoder_features
from ecgcmr.experiments.methods import (
    Floats,
    Outcome,
    Problem,
    downstream_config,
    oracle_outcome,
    random_encoder,
)
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.stage_runs import StageRun, fingerprint_of, run_stage

Scored = tuple[str, str, str | None, int | None]
"""(task name, method, protocol, number of labels)."""


@dataclass
class Experiment:
    """One experiment being run.

    Attributes:
        plan: The experiment file.
        out: Its folder.
        console: Where progress is told.
        workers: Processes for feature extraction.
    """

    plan: Plan
    out: Path
    console: Console
    workers: int = 2
    index: ShardIndex = field(init=False)
    rows: list[ResultRow] = field(default_factory=list, init=False)
    notes: list[str] = field(default_factory=list, init=False)
    targets: dict[str, list[Target]] = field(default_factory=dict, init=False)
    predictions: dict[Scored, Predictions] = field(default_factory=dict, init=False)
    _encoders: dict[str, Path] = field(default_factory=dict, init=False)
    _stage_fingerprints: dict[str, str] = field(default_factory=dict, init=False)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        self.console.print(f"[bold]{name}[/bold]")
        yield
        self.console.print(f"  {name}: {time.perf_counter() - start:.1f} s")

    def run(self) -> list[ResultRow]:
        """Make the cohort, train the stages, score every method.

        Returns:
            The rows of the results table.

        Raises:
            UserError: If any part does not finish.
        """
        with self._step("cohort"):
            self.index = resolve_cohort(self.plan, self.out)
        problems = [self._problem(name) for name in self.plan.evaluation.tasks]
        for name in self.plan.stages:
            with self._step(f"stage {name}"):
                self._train(name)
        like = self._encoders[self.plan.evaluation.random_encoder_of]
        self._encoders["random"] = random_encoder(like, self.out / "stages" / "random", self.plan.seed)
        for problem in problems:
            with self._step(f"task {problem.name}"):
                self._compare(problem)
        return self.rows

    def _problem(self, name: str) -> Problem:
        """Read a task's labels and check what it needs of the cohort, before any stage spends time."""
        evaluation = self.plan.evaluation
        task = evaluation.tasks[name]
        problem = Problem.of(name, task.task, task.targets, self.index, self.plan.seed)
        if "oracle" in evaluation.baselines:
            oracle_outcome(self.index, problem)
        if "age+sex" in evaluation.baselines:
            self.index.label_columns(["age", "sex"])
        available = len(problem.training(None))
        if not available:
            raise UserError(f"task {name}: no training subject has an ECG and one of its labels")
        wanted = {count for count in [*evaluation.labels, *evaluation.finetune_labels] if isinstance(count, int)}
        short = sorted(count for count in wanted if count > available)
        if short:
            self.notes.append(f"{name}: {available} labelled training subjects, too few for {short} labels")
        return problem

    def _train(self, name: str) -> None:
        stage = self.plan.stages[name]
        overrides: dict[str, Any] = {"data.root": str(self.index.root), "seed_everything": self.plan.seed, **stage.set}
        inputs = {"cohort": self._cohort_fingerprint()}
        for argument, source in stage.start_from.items():
            overrides[f"model.{argument}"] = str(self._encoders[source])
            inputs[argument] = self._stage_fingerprints[source]
        run = StageRun(name, self.out / "stages" / name, self.plan.file(stage.config), overrides, inputs)
        if not run_stage(run):
            self.console.print("  finished earlier")
        self._encoders[name] = run.folder
        self._stage_fingerprints[name] = run.fingerprint

    def _cohort_fingerprint(self) -> str:
        return fingerprint_of([shard["sha256"] for shard in self.index.shards])

    def _compare(self, problem: Problem) -> None:
        """Score every method of the evaluation on one task."""
        evaluation = self.plan.evaluation
        self.targets[problem.name] = problem.targets
        for method in evaluation.linear_probe:
            cache = self.out / "features" / method
            features = encoder_features(self._encoders[method], self.index, problem.rows, cache).astype(np.float64)
            for count in self._counts(evaluation.labels, problem):
                self._score(problem, method, "linear_probe", count, problem.probe(features, count))
        if evaluation.tasks[problem.name].finetune is not None:
            for method in evaluation.finetune:
                for count in self._counts(evaluation.finetune_labels or evaluation.labels, problem):
                    self._score(problem, method, "finetune", count, self._finetune(problem, method, count))
        for method in evaluation.baselines:
            if method == "oracle":
                self._score(problem, method, None, None, oracle_outcome(self.index, problem))
                continue
            values = self._baseline_features(method, problem)
            for count in self._counts(evaluation.labels, problem):
                self._score(problem, method, None, count, problem.probe(values, count))

    def _counts(self, labels: list[int | str], problem: Problem) -> list[int]:
        """Return the label counts that the cohort allows, without repeats; ``all`` is the number there are."""
        available = len(problem.training(None))
        counts = dict.fromkeys(available if label == "all" else int(label) for label in labels)
        return [count for count in counts if count <= available]

    def _baseline_features(self, method: str, problem: Problem) -> Floats:
        if method == "age+sex":
            age, sex = read_labels(self.index, ["age", "sex"], problem.rows).T
            return age_sex_columns(age, sex)
        cache = self.out / "features" / "classical"
        return classical_features(self.index, problem.rows, cache, self.workers).astype(np.float64)

    def _finetune(self, problem: Problem, method: str, count: int) -> Outcome:
        """Fine-tune an encoder, or train it from random weights, and return its predictions on the test split."""
        task = self.plan.evaluation.tasks[problem.name]
        source = self._encoders["random" if method == "scratch" else method]
        folder = self.out / "stages" / f"{problem.name}-{method}-{count}"
        self.console.print(f"  fine-tuning: {method}, {count} labels")
        base, written = self.plan.file(task.finetune or ""), self.out / "configs" / f"{folder.name}.yaml"
        config = downstream_config(base, source, written)
        overrides: dict[str, Any] = {
            "data.root": str(self.index.root),
            "data.labels": [label.name for label in problem.labels],
            "data.train_labels": count,
            "data.seed": problem.seed,
            "seed_everything": self.plan.seed,
            **task.set,
        }
        inputs = {"cohort": self._cohort_fingerprint()}
        if method != "scratch":
            overrides["model.encoder_weights"] = str(source)
            inputs["encoder"] = self._stage_fingerprints[method]
        run_stage(StageRun(folder.name, folder, config, overrides, inputs), then_predict=True)
        with np.load(folder / "predictions.npz", allow_pickle=False) as stored:
            wanted = problem.rows[problem.part("test")]
            order = np.searchsorted(stored["row"], wanted)
            return Outcome(stored["prediction"][order].astype(np.float64))

    def _score(self, problem: Problem, method: str, protocol: str | None, count: int | None, outcome: Outcome) -> None:
        """Add a method's rows for one label count, and keep its predictions."""
        test = problem.part("test")
        subjects = self.index.subjects(problem.rows[test])
        scored: dict[str, Any] = {"method": method, "protocol": protocol, "labels": count}
        self.rows += evaluate(
            problem.values[test],
            outcome.prediction,
            problem.targets,
            problem.task,
            **scored,
            generator=np.random.default_rng(self.plan.seed),  # one seed: all methods meet the same resamples
            subjects=subjects,
            resamples=self.plan.evaluation.resamples,
        )
        self.notes += [f"{method}, {count} labels, {note}" for note in outcome.notes]
        predictions = Predictions(
            subjects=tuple(subjects),
            targets=tuple(label.name for label in problem.labels),
            truth=problem.values[test],
            prediction=outcome.prediction,
            task=problem.task,
            split="test",
            seed=self.plan.seed,
            **scored,
        )
        name = f"{problem.name}-{method}-{protocol or 'baseline'}-{count or 'any'}.npz"
        save_predictions(self.out / "predictions" / name, predictions)
        self.predictions[(problem.name, method, protocol, count)] = predictions
