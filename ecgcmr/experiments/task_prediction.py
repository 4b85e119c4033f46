"""Letting every method of an experiment predict one task: probes, trained networks, baselines, stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ecgcmr.evaluation.methods import FINETUNE, LAYER_PROBE, STACK, TAUGHT, TAUGHT_PROBE
from ecgcmr.evaluation.predictions import Predictions
from ecgcmr.experiments.baseline_methods import BOOSTING, Baselines
from ecgcmr.experiments.cohort_set import CohortSet
from ecgcmr.experiments.features import CLASSICAL_FOLDER, LAYERS_FOLDER, encoder_features, encoder_layers
from ecgcmr.experiments.fine_tuning import ATTENTION
from ecgcmr.experiments.methods import Floats, Outcome, Problem, oracle_outcome
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.problem_recordings import Recordings
from ecgcmr.experiments.run_graph import probe_entries
from ecgcmr.experiments.stacks import Stacks
from ecgcmr.experiments.trainings import Trainings, known_counts

_OF: dict[str | None, str] = {
    ATTENTION: " (attention probe)",
    **dict.fromkeys((TAUGHT_PROBE, TAUGHT), " (taught by images)"),
}
"""What notes add to a method's name under a protocol; they tell a linear probe from fine-tuning in their own words."""


@dataclass
class TaskPrediction:
    """The methods of one task, at every number of labels and with every seed.

    Attributes:
        plan: The experiment file.
        problem: The task on its cohort.
        cohorts: All of the experiment.
        trainings: What is trained, and where it lies.
        out: Folder of the experiment.
        workers: Processes for feature extraction.
        amounts: Entry of ``labels`` -> number of labelled training subjects.
        show: Prints a line.
        predictions: Of the test split, and of classes of the validation split too, on which thresholds are chosen.
        validated: (task, number of labels, method) -> score on the validation split for each seed, of the methods among
            which a reference is chosen.
        notes: What a reader of the tables must know.
    """

    plan: Plan
    problem: Problem
    cohorts: CohortSet
    trainings: Trainings
    out: Path
    workers: int
    amounts: Mapping[int | str, int]
    show: Callable[[str], None]
    predictions: list[Predictions] = field(default_factory=list, init=False)
    validated: dict[tuple[str, int, str], list[float]] = field(default_factory=dict, init=False)
    notes: list[str] = field(default_factory=list, init=False)
    _remarks: dict[tuple[int | None, str], list[str]] = field(default_factory=dict, init=False)
    _made: dict[tuple[str, int | None, int], Outcome] = field(default_factory=dict, init=False)
    _said: dict[tuple[int, int], Floats] = field(default_factory=dict, init=False)
    _recordings: Recordings = field(init=False)

    def __post_init__(self) -> None:
        """Look up whose the recordings are."""
        self._recordings = Recordings.of(self.problem, self.cohorts.of_task(self.problem.name))

    def predict(self) -> None:
        """Let every method predict.

        Raises:
            UserError: One does not.
        """
        evaluation = self.plan.evaluation
        for method in evaluation.linear_probe:
            self.show(f"linear probe: {method}")
            self._keep(method, "linear_probe", self._probed(method))
        for method in evaluation.layer_probe:
            self.show(f"linear probe of each layer: {method}")
            self._keep(method, LAYER_PROBE, self._probed_by_layer(method))
        for method in evaluation.taught_probe if self.problem.task.kind == "regression" else ():
            self.show(f"linear probe taught by images: {method}")
            self._keep(method, TAUGHT_PROBE, self._taught(method))
        self._let_trained_predict()
        baselines = self._baselines()
        for method in evaluation.baselines:
            self.show(f"baseline: {method}")
            self._keep(method, None, self._of_baseline(baselines, method))
        stacks = Stacks(self.plan, self.problem, baselines, self._encoder_features, self._made)
        for name in evaluation.stack:
            self.show(f"stack: {name}")
            self._keep(name, STACK, stacks.outcomes(name, self._counts))
        self.notes += [*grouped(self._remarks), *stacks.notes()]

    @property
    def _counts(self) -> list[int]:
        """The label counts that the cohort allows, without repeats; ``all`` is the number there are."""
        return known_counts(self.plan.evaluation.labels, self.amounts)

    def _let_trained_predict(self) -> None:
        """Take what trained networks predict, and of those among which a reference is chosen their validation score."""
        for run in self.trainings.downstream(self.problem, self.amounts):
            outcome = self.trainings.outcome(run)
            self._keep(run.method, run.protocol, [(run.count, run.seed, outcome)])
            judged = run.protocol == FINETUNE and run.method in self.plan.evaluation.against
            if judged and outcome.validation is not None:
                key = self.problem.name, run.count, run.method
                self.validated.setdefault(key, []).append(self.problem.validation_score(outcome.validation))

    def _baselines(self) -> Baselines:
        name = self.problem.name
        classical = self.cohorts.features_folder(self.out, CLASSICAL_FOLDER, name).name
        index, fingerprint = self.cohorts.of_task(name), self.cohorts.task_fingerprint(name)
        return Baselines(index, self.out, self.workers, fingerprint, classical)

    def _of_baseline(self, baselines: Baselines, method: str) -> Iterable[tuple[int | None, int, Outcome]]:
        """Return (labels, seed, outcome) of a baseline; nothing of an oracle that the cohort does not have."""
        if method == "oracle":
            oracle = oracle_outcome(baselines.index, self.problem)
            return [] if oracle is None else [(None, self.plan.seed, oracle)]
        seeds = self.plan.finetune_seeds if method == BOOSTING else self.plan.seeds
        return baselines.outcomes(method, self.problem, self._counts, seeds)

    def _probed(self, method: str) -> Iterator[tuple[int, int, Outcome]]:
        """Yield (labels, seed, outcome) of the linear probe on an encoder's features, extracted once.

        With all labels every seed sees the same subjects: unless the encoder differs too, one is enough.
        """
        problem, counts = self.problem, self._counts
        most = len(problem.training(None))
        for seed in self.plan.seeds:
            features = self._encoder_features(problem, method, seed)
            again = method != "random" and seed != self.plan.seeds[0]
            needed = [count for count in counts if not (again and count == most)]
            yield from ((count, seed, outcome) for count, outcome in problem.probe(features, needed, seed).items())

    def _probed_by_layer(self, method: str) -> Iterator[tuple[int, int, Outcome]]:
        """Yield (labels, seed, outcome) of the linear probe on the layer that reads best on the validation split."""
        problem, trainings, windows = self.problem, self.trainings, self.plan.evaluation.windows
        folder, index = trainings.folder(method), self.cohorts.of_task(problem.name)
        cache = self.cohorts.features_folder(self.out, LAYERS_FOLDER.format(method), problem.name)
        layers = encoder_layers(folder, index, problem.rows, cache, windows, trainings.trusted)
        counts, most = self._counts, len(problem.training(None))
        for seed in self.plan.seeds:
            needed = [count for count in counts if seed == self.plan.seeds[0] or count != most]
            found = [problem.probe(features.astype(np.float64), needed, seed) for features in layers]
            for count in needed:
                yield count, seed, problem.best_of([outcomes[count] for outcomes in found], "layer")

    def _taught(self, method: str) -> Iterator[tuple[int, int, Outcome]]:
        """Yield (labels, seed, outcome) of the linear probe on labels and on what the teacher says of the others."""
        problem, teacher = self.problem, self.trainings.teacher(self.problem.name)
        counts, most = known_counts(probe_entries(self.plan.evaluation), self.amounts), len(problem.training(None))
        for seed in self.plan.seeds:
            features = self._encoder_features(problem, method, seed)
            again = method != "random" and seed != self.plan.seeds[0]
            for count in counts:
                if not (again and count == most):
                    if (count, seed) not in self._said:  # the same for every method
                        self._said[count, seed] = teacher.said(problem, count, seed)
                    yield count, seed, problem.taught_probe(features, self._said[count, seed], count, seed)

    def _encoder_features(self, problem: Problem, method: str, seed: int) -> Floats:
        """Return the features (n, D) of a problem's rows, kept on disk."""
        trainings, windows = self.trainings, self.plan.evaluation.windows
        folder = trainings.random(seed) if method == "random" else trainings.folder(method)
        cache = self.cohorts.features_folder(self.out, folder.name, problem.name)
        index = self.cohorts.of_task(problem.name)
        found = encoder_features(folder, index, problem.rows, cache, windows, trainings.trusted)
        return found.astype(np.float64)

    def _keep(self, method: str, protocol: str | None, outcomes: Iterable[tuple[int | None, int, Outcome]]) -> None:
        """Keep what a method predicted at every number of labels and with every seed, and its remarks."""
        for count, seed, outcome in outcomes:
            for note in outcome.notes:
                self._remarks.setdefault((count, note), []).append(self.plan.shown(method) + _OF.get(protocol, ""))
            if protocol not in (FINETUNE, TAUGHT, TAUGHT_PROBE, ATTENTION, LAYER_PROBE):
                self._made[method, count, seed] = outcome
            about = {
                "method": self.plan.shown(method),
                "protocol": protocol,
                "labels": count,
                "seed": seed,
                "ended": outcome.ended,
            }
            self.predictions.append(self._recordings.predictions("test", outcome.prediction, about))
            if self.problem.task.binary and outcome.validation is not None:
                self.predictions.append(self._recordings.predictions("val", outcome.validation, about))


def grouped(remarks: dict[tuple[int | None, str], list[str]]) -> list[str]:
    """Return notes as lines, one for all methods that it holds for.

    Args:
        remarks: (number of labels, note) -> methods.
    """
    return [
        f"{'' if count is None else f'{count:,} labels, '}{note} ({', '.join(dict.fromkeys(methods))})"
        for (count, note), methods in remarks.items()
    ]
