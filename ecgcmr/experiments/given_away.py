"""Whether a baseline or a covariate holds the answer: a target that it contains, or that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ecgcmr.config_pieces import read_config
from ecgcmr.errors import UserError
from ecgcmr.experiments.baseline_methods import COVARIATES
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan import Plan
from ecgcmr.probes.ecg_features import MEASURED
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.label_choice import check_covariates, determined
from ecgcmr.yaml_file import mapping_at

_CLASSICAL = ("features", "features-boosting")


def check_given_away(problem: Problem, plan: Plan, index: ShardIndex) -> None:
    """Refuse baselines and covariates that contain or determine a target of a task.

    Args:
        problem: The task.
        plan: The experiment.
        index: The cohort.

    Raises:
        UserError: In one line that names task, baseline or covariate, and target.
    """
    targets = [label.name for label in problem.labels]
    for baseline in plan.evaluation.baselines:
        known = determined(_labels_in(baseline), targets)
        if known:
            raise UserError(
                f"{plan.path.name}: task {problem.name}: the baseline {baseline} is given the target "
                f"{', '.join(known)}, or what it follows from; take one of them out"
            )
    for where, covariates in _covariates(problem.name, plan):
        try:
            check_covariates(index, covariates, targets)
        except UserError as error:
            raise UserError(f"{plan.path.name}: {where}: {error}") from error


def _labels_in(baseline: str) -> tuple[str, ...]:
    """Return the labels that a baseline is computed from, or that are among its features."""
    return MEASURED if baseline in _CLASSICAL else COVARIATES.get(baseline, ())


def _covariates(name: str, plan: Plan) -> Iterable[tuple[str, list[str]]]:
    """Give the covariates of each fine-tuning of a task: those of its config, or what overrides them."""
    task = plan.evaluation.tasks[name]
    if task.finetune is None:
        return
    config = read_config(plan.file(task.finetune))
    of_config = mapping_at(config, "data", "init_args").get("covariates")
    of_task = task.set.get("data.covariates", of_config)
    yield f"tasks.{name}", _names(of_task)
    for method, network in plan.evaluation.supervised.items():
        yield f"supervised.{method} in task {name}", _names(network.set.get("data.covariates", of_task))
    for method, given in plan.encoders.items():
        yield f"encoders.{method} in task {name}", _names(given.set.get("data.covariates", of_task))


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []
