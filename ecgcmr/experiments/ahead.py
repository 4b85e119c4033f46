"""All that takes long in an experiment, run ahead of its table over several processes.

What is computed here lies in the experiment's folder under fingerprints, where the tables find it finished.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ecgcmr.evaluation.methods import TAUGHT
from ecgcmr.experiments.baseline_methods import BOOSTING
from ecgcmr.experiments.cohort_plan import task_cohort
from ecgcmr.experiments.features import CLASSICAL_FOLDER, IMAGES_FOLDER, LAYERS_FOLDER
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.requests import BoostingRequest, FeaturesRequest, TrainRequest
from ecgcmr.experiments.run_graph import COHORT, dependents, is_lesson, run_graph, source_of
from ecgcmr.experiments.side_by_side import Part, SideBySide
from ecgcmr.experiments.times import Times
from ecgcmr.experiments.trainings import DownstreamRun, Trainings, known_counts
from ecgcmr.interpretation.pair import CMR_FOLDER

LOGS = "logs"
_FEATURES = "features of {}"
_LAYERS = "layers of {}"
_IMAGES = "images of {}"
_LEAST_WEIGHT = 1e-3
"""Seconds that count for what nobody has timed, and for each label that it is trained on: more labels take longer."""


def run_ahead(
    trainings: Trainings,
    problems: Sequence[Problem],
    counts: Mapping[str, Mapping[int | str, int]],
    jobs: int,
    only: Collection[str] | None = None,
) -> None:
    """Train all stages and networks and compute all features of encoders, independent ones side by side.

    Args:
        trainings: What is trained.
        problems: The tasks.
        counts: Task -> entry of ``labels`` -> number of labelled training recordings.
        jobs: Processes.
        only: Names of the nodes of the graph that are run, whose needs must be finished; None: all, and features.

    Raises:
        UserError: A part failed.
    """
    times = Times.load(trainings.out)
    scheduler = SideBySide(jobs, trainings.out / LOGS, trainings.show, times.record)
    parts = parts_of(trainings, problems, counts, times)
    scheduler.run([part for part in parts if only is None or part.name in only])


def parts_of(
    trainings: Trainings, problems: Sequence[Problem], counts: Mapping[str, Mapping[int | str, int]], times: Times
) -> Iterator[Part]:
    """Give all that takes long, in the order of the plan; arguments as of ``run_ahead``."""
    plan = trainings.plan
    nodes = run_graph(plan, counts)
    downstream = [run for problem in problems for run in trainings.downstream(problem, counts[problem.name])]
    labels = {run.name: run.count for run in downstream}

    def likely(name: str) -> float:
        expected = times.expected(name)
        return _LEAST_WEIGHT * (1 + labels.get(name, 0)) if expected is None else expected

    def weight(name: str, follows: Sequence[str] = ()) -> float:
        """Return how long a part takes with all that waits for it, so that the longest chain is never kept waiting."""
        return _LEAST_WEIGHT + sum(map(likely, (name, *follows)))

    for name, stage in plan.stages.items():
        needs = tuple(source for source in stage.start_from.values() if source in plan.stages)
        yield Part(name, needs, partial(_stage, trainings, name), weight(name, dependents(nodes, name)))
    for run in downstream:
        needs = _parts_among(run.source)
        if run.protocol == TAUGHT:
            needs = (*needs, _IMAGES.format(plan.evaluation.teacher))
        yield Part(run.name, needs, partial(_downstream, trainings, run), weight(run.name))
    lessons = [run.name for run in downstream if run.protocol == TAUGHT]
    images = _IMAGES.format(plan.evaluation.teacher)
    features = list(_features(trainings, problems, counts))
    for part in features:
        follow = [other.name for other in features if part.name in other.needs]
        yield replace(part, weight=weight(part.name, lessons if part.name == images else follow))


def _parts_among(source: str) -> tuple[str, ...]:
    """Return a source as what a part needs; the cohort is no part, it is there."""
    return () if source == COHORT else (source,)


def _stage(trainings: Trainings, name: str) -> list[TrainRequest]:
    return [TrainRequest(trainings.stage(name), lenders=trainings.lenders("stages"))]


def _downstream(trainings: Trainings, run: DownstreamRun) -> list[TrainRequest]:
    trainings.make_ready(run)
    pieces, lenders = trainings.pieces(run), trainings.lenders("stages")
    return [TrainRequest(piece.run, piece.predict, lenders) for piece in pieces if piece.run is not None]


def _features(
    trainings: Trainings, problems: Sequence[Problem], counts: Mapping[str, Mapping[int | str, int]]
) -> Iterator[Part]:
    """Give the features of encoders and the classical ones on each cohort of a task, and boosting on these."""
    evaluation, out, cohorts = trainings.plan.evaluation, trainings.out, trainings.cohorts
    lenders = trainings.lenders("features")
    first = {task_cohort(trainings.plan, name): name for name in reversed(evaluation.tasks)}  # cohort -> a task of it

    def request(task: str, name: str, encoder: str | None = None) -> FeaturesRequest:
        root, cache = str(cohorts.of_task(task).root), str(cohorts.features_folder(out, name, task))
        if encoder is None:
            return FeaturesRequest(root, cache, lenders=lenders)
        return FeaturesRequest(root, cache, encoder, evaluation.windows, trainings.trusted, lenders)

    def embedded(name: str, seed: int | None = None) -> list[FeaturesRequest]:
        encoder = trainings.folder(name) if seed is None else trainings.random(seed)
        return [request(task, encoder.name, str(encoder)) for task in first.values()]

    def layered(name: str) -> list[FeaturesRequest]:
        found = [request(task, LAYERS_FOLDER.format(name), str(trainings.folder(name))) for task in first.values()]
        return [replace(each, layers=True) for each in found]

    def pictured(name: str) -> list[FeaturesRequest]:
        encoder = str(trainings.folder(name) / CMR_FOLDER)
        lessons = {
            task_cohort(trainings.plan, each): each for each, task in evaluation.tasks.items() if is_lesson(task)
        }
        found = [request(task, IMAGES_FOLDER.format(name), encoder) for task in lessons.values()]
        return [replace(each, images=True) for each in found]

    if evaluation.teacher is not None:
        needs = _parts_among(source_of(trainings.plan, evaluation.teacher))
        yield Part(_IMAGES.format(evaluation.teacher), needs, partial(pictured, evaluation.teacher))
    for method in evaluation.linear_probe:
        if method != "random":
            needs = _parts_among(source_of(trainings.plan, method))
            yield Part(_FEATURES.format(method), needs, partial(embedded, method))
            continue
        for seed in trainings.plan.seeds:
            name = trainings.random_name(seed)
            needs = _parts_among(source_of(trainings.plan, "random"))
            yield Part(_FEATURES.format(name), needs, partial(embedded, name, seed))
    for method in evaluation.layer_probe:
        needs = _parts_among(source_of(trainings.plan, method))
        yield Part(_LAYERS.format(method), needs, partial(layered, method))
    if not {"features", BOOSTING}.intersection(evaluation.baselines):
        return
    classical = {cohort: request(task, CLASSICAL_FOLDER) for cohort, task in first.items()}
    for each in classical.values():
        yield Part(each.name, (), partial(list, [each]))
    if BOOSTING not in evaluation.baselines:
        return
    for problem in problems:
        task, features = evaluation.tasks[problem.name], classical[task_cohort(trainings.plan, problem.name)]
        root, cohort = features.root, cohorts.task_fingerprint(problem.name)
        most = len(problem.training(None))
        for count in known_counts(evaluation.labels, counts[problem.name]):
            for seed in trainings.plan.finetune_seeds:
                if count == most and seed != trainings.plan.finetune_seeds[0]:
                    continue
                targets = tuple(task.targets)
                boosting = BoostingRequest(
                    root, str(out), problem.name, task.task, targets, cohort, count, seed, lenders,
                    Path(features.cache).name,
                )  # fmt: skip
                yield Part(boosting.name, (features.name,), partial(list, [boosting]))
