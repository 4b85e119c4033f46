"""The trainings of an experiment on its cohorts: stages, random encoders and downstream runs, with their folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgcmr.evaluation.methods import TAUGHT
from ecgcmr.experiments.chain import stage_overrides
from ecgcmr.experiments.cohort_set import CohortSet
from ecgcmr.experiments.features import IMAGES_FOLDER
from ecgcmr.experiments.fine_tuning import FineTuning, Piece, run_name, trained_as
from ecgcmr.experiments.given_encoders import check_given, given_fingerprint, make_given
from ecgcmr.experiments.methods import Outcome, Problem, random_encoder
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.run_graph import entries_of, source_of, trained_methods
from ecgcmr.experiments.stage_runs import StageRun, is_complete
from ecgcmr.experiments.teachers import Teacher
from ecgcmr.experiments.times import Times
from ecgcmr.interpretation.pair import CMR_FOLDER


@dataclass(frozen=True)
class DownstreamRun:
    """A method that is trained on a number of labels of one task, in one run or, with models apart, in several.

    Attributes:
        name: See ``run_name``, without a part.
        problem: The task.
        method: What is trained.
        protocol: ``finetune``, ``taught`` or ``attention_probe``.
        count: Labelled training recordings.
        seed: Of their choice, and of the training.
        source: What must be finished: the stage whose encoder it is, or whose encoder's shape it has; ``cohort`` for an
            encoder that is given.
    """

    name: str
    problem: Problem
    method: str
    protocol: str
    count: int
    seed: int
    source: str

    @property
    def trained_as(self) -> str:
        """Return the name of what is trained, of which there may be two: an encoder, and a probe of its tokens."""
        return trained_as(self.method, self.protocol)


@dataclass(frozen=True)
class Trainings:
    """What is trained, and where it lies.

    Attributes:
        plan: The experiment file.
        cohorts: What it is trained on, and judged.
        out: Folder of the experiment.
        trusted: Classes beside this package's encoders that the plan's configs name.
        show: Prints a line.
        beside: Folders of experiments that may have done the same already.
        fingerprints: Of the stages that were asked for.
        spent: Part -> seconds that it has taken in this process.
    """

    plan: Plan
    cohorts: CohortSet
    out: Path
    trusted: tuple[str, ...] = ()
    show: Callable[[str], None] = print
    beside: tuple[Path, ...] = ()
    fingerprints: dict[str, str] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict, init=False)

    def stage(self, name: str) -> StageRun:
        """Return the run of a pre-training stage, and remember its fingerprint for what builds on it."""
        stage = self.plan.stages[name]
        overrides: dict[str, Any] = {**self.cohorts.stage_settings(name), **stage_overrides(self.plan, name)}
        inputs = self.cohorts.stage_inputs(name)
        for argument, source in stage.start_from.items():
            overrides[f"model.{argument}"] = str(self.folder(source))
            inputs[argument] = self.fingerprint(source)
        run = StageRun(name, self.folder(name), self.plan.file(stage.config), overrides, inputs)
        self.fingerprints[name] = run.fingerprint
        return run

    def fingerprint(self, stage: str) -> str:
        """Return the fingerprint of a pre-training stage, or of an encoder that is given."""
        if stage in self.plan.encoders:
            return given_fingerprint(self.plan, stage)
        return self.fingerprints[stage] if stage in self.fingerprints else self.stage(stage).fingerprint

    def make_given(self) -> None:
        """Put the encoders that are given into their folders, and compare them with the cohorts that judge them.

        Raises:
            UserError: One cannot be built, or does not fit a cohort.
        """
        for name in self.plan.encoders:
            folder = make_given(self.plan, name, self.folder(name), self.trusted)
            for cohort in self.cohorts.of_tasks:
                check_given(self.plan, name, folder, self.cohorts.indices[cohort])

    def lenders(self, kind: str) -> tuple[str, ...]:
        """Return the folders ``kind`` (stages, features) of the experiments beside this one."""
        return tuple(str(other / kind) for other in self.beside)

    def folder(self, encoder: str) -> Path:
        """Return the folder of an encoder: of a stage, or one of random weights."""
        return self.out / "stages" / encoder

    def folders(
        self, part: str, problems: Iterable[Problem], counts: Mapping[str, Mapping[int | str, int]]
    ) -> list[Path]:
        """Return the run folders of a part of the experiment, as its graph names it.

        Args:
            part: A stage or a downstream run.
            problems: The tasks.
            counts: Task -> entry of ``labels`` -> number of labelled training recordings.
        """
        for problem in problems:
            separately = self.plan.evaluation.tasks[problem.name].separately
            for run in self.downstream(problem, counts[problem.name]):
                if run.name == part:
                    names = (
                        run_name(self.plan, problem.name, run.trained_as, run.count, run.seed, piece)
                        for piece in problem.columns_of(separately)
                    )
                    return [self.folder(name) for name in names]
        return [self.folder(part)] if part in self.plan.stages else []

    def random_name(self, seed: int) -> str:
        """Name the random encoder of a seed; that of the plan's own seed is also what ``scratch`` is shaped like."""
        return "random" if seed == self.plan.seed else f"random-s{seed}"

    def random(self, seed: int) -> Path:
        """Return the folder of the random encoder of a seed, made if need be; its stage must be finished."""
        like = self.folder(self.plan.evaluation.random_encoder_of)
        return random_encoder(like, self.folder(self.random_name(seed)), seed, self.trusted)

    def _fine_tuning(self, task: str) -> FineTuning:
        folders = {name: self.folder(name) for name in ["random", *self.plan.stages, *self.plan.encoders]}
        fingerprints = {name: self.fingerprint(name) for name in [*self.plan.stages, *self.plan.encoders]}
        cohorts = self.cohorts.of_task(task), self.cohorts.task_fingerprint(task)
        return FineTuning(
            self.plan, cohorts[0], self.out, cohorts[1], folders, fingerprints, self.trusted, self.show
        )  # fmt: skip

    def pieces(self, run: DownstreamRun) -> Iterator[Piece]:
        """Give the runs that a method takes; its stage must be finished, and ``make_ready`` have been called."""
        return self._fine_tuning(run.problem.name).pieces(run.problem, run.trained_as, run.count, run.seed)

    def outcome(self, run: DownstreamRun) -> Outcome:
        """Train a method, unless that is finished, and return what it predicts."""
        self.make_ready(run)
        pieces = [piece for piece in self.pieces(run) if piece.run is not None]
        with self.timed(run.name, all(piece.run is None or is_complete(piece.run, piece.predict) for piece in pieces)):
            return self._fine_tuning(run.problem.name).outcome(run.problem, run.trained_as, run.count, run.seed)

    @contextmanager
    def timed(self, name: str, finished: bool) -> Iterator[None]:
        """Remember how long a part takes, unless it was finished before."""
        start = time.perf_counter()
        yield
        if not finished:
            self.spent[name] = time.perf_counter() - start
            Times.load(self.out).record(name, self.spent[name])

    def make_ready(self, run: DownstreamRun) -> None:
        """Make what a run needs beside stages: a random encoder's shape, and what a teacher says of its recordings."""
        if run.method not in (*self.plan.stages, *self.plan.encoders):
            self.random(self.plan.seed)
        if run.protocol == TAUGHT:
            teacher = self.teacher(run.problem.name)
            for piece in self.pieces(run):
                if piece.run is not None:
                    count = int(piece.run.overrides["data.train_labels"])
                    path = Path(piece.run.overrides["data.pseudo_labels"])
                    teacher.write(piece.problem, count, run.seed, path)

    def teacher(self, task: str) -> Teacher:
        """Return the teacher of a task's cohort; the stage that it is of must be finished."""
        name = str(self.plan.evaluation.teacher)
        cache = self.cohorts.features_folder(self.out, IMAGES_FOLDER.format(name), task)
        return Teacher(self.folder(name) / CMR_FOLDER, self.cohorts.of_task(task), cache, self.trusted)

    def downstream(self, problem: Problem, known: Mapping[int | str, int]) -> Iterator[DownstreamRun]:
        """Give every method that is trained on a task, in the order of the plan.

        Args:
            problem: The task.
            known: Entry of ``labels`` -> number of labelled training recordings.
        """
        evaluation = self.plan.evaluation
        if evaluation.tasks[problem.name].finetune is None:
            return
        for method, protocol in trained_methods(evaluation, evaluation.tasks[problem.name]):
            source = source_of(self.plan, method)
            for count in known_counts(entries_of(evaluation, protocol), known):
                for seed in self.plan.finetune_seeds:
                    name = run_name(self.plan, problem.name, trained_as(method, protocol), count, seed)
                    yield DownstreamRun(name, problem, method, protocol, count, seed, source)


def known_counts(labels: Iterable[int | str], known: Mapping[int | str, int]) -> list[int]:
    """Return the numbers of labels that a cohort allows, without repeats.

    Args:
        labels: Entries of the plan.
        known: Entry -> number of subjects, of those that the cohort is large enough for.
    """
    return sorted({known[label] for label in labels if label in known})
