"""All that takes long in an experiment, run ahead of its table over several processes.

What is computed here lies in the experiment's folder under fingerprints, where the tables find it finished.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

from ecgcmr.experiments.baseline_methods import BOOSTING, Baselines
from ecgcmr.experiments.features import CLASSICAL_FOLDER, classical_fingerprint, encoder_fingerprint
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.requests import BoostingRequest, FeaturesRequest, TrainRequest
from ecgcmr.experiments.run_graph import dependents, run_graph
from ecgcmr.experiments.side_by_side import Part, SideBySide
from ecgcmr.experiments.stage_runs import is_complete, is_finished
from ecgcmr.experiments.times import Times
from ecgcmr.experiments.trainings import DownstreamRun, Trainings, known_counts

LOGS = "logs"
_FEATURES = "features of {}"
_LEAST_WEIGHT = 1e-3
"""Of what nothing else waits for and nobody has timed."""


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
        counts: Task -> entry of ``labels`` -> number of labelled training subjects.
        jobs: Processes.
        only: Names of the nodes of the graph that are run, whose needs must be finished; None: all, and features.

    Raises:
        UserError: A part failed.
    """
    times = Times.load(trainings.out)
    scheduler = SideBySide(jobs, trainings.out / LOGS, trainings.show, times.record)
    parts = _parts(trainings, problems, counts, times)
    scheduler.run([part for part in parts if only is None or part.name in only])


def _parts(
    trainings: Trainings, problems: Sequence[Problem], counts: Mapping[str, Mapping[int | str, int]], times: Times
) -> Iterator[Part]:
    plan = trainings.plan
    nodes = run_graph(plan, counts)

    def weight(name: str, follows: Sequence[str] = ()) -> float:
        """Return how long a part takes with all that waits for it, so that the longest chain is never kept waiting."""
        return _LEAST_WEIGHT + sum(times.expected(each, counts) or 0.0 for each in (name, *follows))

    for name, stage in plan.stages.items():
        needs = tuple(stage.start_from.values())
        yield Part(name, needs, partial(_stage, trainings, name), weight(name, dependents(nodes, name)))
    for problem in problems:
        for run in trainings.downstream(problem, counts[problem.name]):
            yield Part(run.name, (run.source,), partial(_downstream, trainings, run), weight(run.name))
    yield from _features(trainings, problems, counts)


def _stage(trainings: Trainings, name: str) -> list[TrainRequest]:
    return _unfinished([TrainRequest(trainings.stage(name))])


def _downstream(trainings: Trainings, run: DownstreamRun) -> list[TrainRequest]:
    trainings.make_ready(run)
    pieces = trainings.pieces(run)
    return _unfinished(TrainRequest(piece.run, piece.predict) for piece in pieces if piece.run is not None)


def _unfinished(requests: Iterable[TrainRequest]) -> list[TrainRequest]:
    return [request for request in requests if not is_complete(request.run, request.predict)]


def _features(
    trainings: Trainings, problems: Sequence[Problem], counts: Mapping[str, Mapping[int | str, int]]
) -> Iterator[Part]:
    """Give the features of encoders and the classical ones, and boosting on these."""
    evaluation, out, root = trainings.plan.evaluation, trainings.out, str(trainings.index.root)
    rows = trainings.index.positions(None, ("ecg",))

    def embedded(name: str, seed: int | None = None) -> list[FeaturesRequest]:
        encoder = trainings.folder(name) if seed is None else trainings.random(seed)
        cache = out / "features" / encoder.name
        if is_finished(cache, encoder_fingerprint(encoder, trainings.index, rows, evaluation.windows)):
            return []
        return [FeaturesRequest(root, str(cache), str(encoder), evaluation.windows, trainings.trusted)]

    def measured() -> list[FeaturesRequest]:
        cache = out / "features" / CLASSICAL_FOLDER
        known = is_finished(cache, classical_fingerprint(trainings.index, rows))
        return [] if known else [FeaturesRequest(root, str(cache))]

    for method in evaluation.linear_probe:
        if method != "random":
            yield Part(_FEATURES.format(method), (method,), partial(embedded, method))
            continue
        for seed in trainings.plan.seeds:
            name = trainings.random_name(seed)
            yield Part(_FEATURES.format(name), (evaluation.random_encoder_of,), partial(embedded, name, seed))
    if not {"features", BOOSTING}.intersection(evaluation.baselines):
        return
    classical = _FEATURES.format(CLASSICAL_FOLDER)
    yield Part(classical, (), measured)
    if BOOSTING not in evaluation.baselines:
        return
    for problem in problems:
        task = evaluation.tasks[problem.name]
        most = len(problem.training(None))
        for count in known_counts(evaluation.labels, counts[problem.name]):
            for seed in trainings.plan.finetune_seeds:
                if count == most and seed != trainings.plan.finetune_seeds[0]:
                    continue
                request = BoostingRequest(
                    root, str(out), problem.name, task.task, tuple(task.targets), trainings.cohort, count, seed
                )
                yield Part(request.name, (classical,), partial(_unboosted, trainings, problem, request))


def _unboosted(trainings: Trainings, problem: Problem, request: BoostingRequest) -> list[BoostingRequest]:
    known = Baselines(trainings.index, trainings.out, 1, trainings.cohort).is_boosted
    return [] if known(problem, request.count, request.seed) else [request]
