"""With which supervised network an experiment compares all others: the one that reads best on the validation split."""

from __future__ import annotations

import math

from ecgcmr.experiments.experiment import Experiment


def chosen_references(experiment: Experiment) -> tuple[tuple[tuple[str, int, str], ...], list[str]]:
    """Return (task, number of labels, method) of each reference, and a note on how it was chosen.

    Args:
        experiment: After ``predict``.
    """
    means: dict[tuple[str, int], dict[str, float]] = {}
    for (task, count, method), scores in experiment.validated.items():
        if all(map(math.isfinite, scores)):
            means.setdefault((task, count), {})[method] = sum(scores) / len(scores)
    found, notes = [], list[str]()
    metrics = {problem.name: problem.task.metric(problem.task.primary) for problem in experiment.problems}
    for (task, count), of_methods in means.items():
        best = max(of_methods, key=lambda method: of_methods[method])  # the first of equals
        shown = experiment.plan.shown
        found.append((task, count, shown(best)))
        metric = metrics[task]
        rivals = ", ".join(f"{shown(method)} {value:.{metric.digits}f}" for method, value in of_methods.items())
        notes.append(
            f"{task}, {count:,} labels: differences are to {shown(best)}, the best of evaluation.against by mean "
            f"{metric.title} on the validation split ({rivals})"
        )
    return tuple(found), notes
