"""Whether the results of a plan lie in a folder, known without torch: a finished experiment answers at once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ecgcmr import __version__
from ecgcmr.config_pieces import read_config
from ecgcmr.experiments.cohort_plan import ONLY, cohort_plans
from ecgcmr.experiments.cohorts import is_prepared_from_others
from ecgcmr.experiments.plan import CohortPlan, Plan
from ecgcmr.experiments.plan_checks import CARD_FILE
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished
from ecgcmr.own_code import own_code_of, own_code_of_names
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.contents import contents_of
from ecgcmr.yaml_file import read_yaml


def is_whole(plan: Plan, out: Path) -> bool:
    """Return whether a folder holds the finished results of a plan, of the raw files as they are."""
    return (
        is_finished(out, plan_fingerprint(plan))
        and all((out / name).is_file() for name in ("results.json", "results.md"))
        and not is_prepared_from_others(plan, out)
    )


def plan_fingerprint(plan: Plan) -> str:
    """SHA-256 of what the results depend on: plan, configs that it names, metrics of the user's own, the cohort."""
    configs = [stage.config for stage in plan.stages.values()]
    configs += [task.finetune for task in plan.evaluation.tasks.values() if task.finetune]
    settings = {name: value for name, value in asdict(plan).items() if name not in ("path", "cohort", "cohorts")}
    contents = {name: read_config(plan.file(name)) for name in sorted(set(configs))}
    code = own_code_of([settings, contents])
    return fingerprint_of(
        {
            "plan": settings,
            "configs": contents,
            **({"code": code} if code else {}),
            **_weights(plan),
            **_cohorts(plan),
            "metrics": own_code_of_names(plan.evaluation.metrics),
            "version": __version__,
        }
    )


def _weights(plan: Plan) -> dict[str, Any]:
    """Return what recognises the weights that encoders are given, whatever folder they lie in."""
    folders = {name: plan.file(given.weights) for name, given in plan.encoders.items() if given.weights is not None}
    cards = {
        name: read_yaml(folder / CARD_FILE, what="encoder card", root=dict).get("sha256")
        for name, folder in folders.items()
    }
    return {"weights": cards} if cards else {}


def _cohorts(plan: Plan) -> dict[str, Any]:
    found = {name: _cohort(plan, cohort) for name, cohort in cohort_plans(plan).items()}
    return {"cohort": found[ONLY]} if ONLY in found else {"cohorts": found}


def _cohort(plan: Plan, cohort: CohortPlan) -> Any:
    """Return what recognises a cohort: what is in it where it is given, else how it is made."""
    if cohort.root is not None:
        return contents_of(ShardIndex.load(plan.file(cohort.root)))
    if cohort.synthesize is not None:
        return {name: value for name, value in cohort.synthesize.items() if name != "workers"}  # it changes no result
    return str(cohort.prepare)
