"""Which cohorts an experiment has, and which of them each stage and task uses, as its file says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgcmr.errors import UserError
from ecgcmr.experiments.plan_checks import SOURCES, check_choice, check_name

if TYPE_CHECKING:
    from ecgcmr.experiments.plan import CohortPlan, Plan

ONLY = ""
"""Name of the cohort of an experiment that has one alone."""


def listed_cohorts(stages: Mapping[str, Any]) -> None:
    """Turn the cohort of a stage that is one name into a list of it, in the entries as the file has them."""
    for stage in stages.values():
        if isinstance(stage, dict) and isinstance(stage.get("cohort"), str):
            stage["cohort"] = [stage["cohort"]]


def check_cohorts(plan: Plan, where: str) -> None:
    """Refuse cohorts of no source, names that there are not, and a stage or task of an unclear cohort.

    Args:
        plan: The experiment.
        where: Name of its file, for messages.

    Raises:
        UserError: In one line that names the entry.
    """
    given = _sources(plan.cohort)
    for each, here in ((plan.cohort, "cohort"), *((one, f"cohorts.{name}") for name, one in plan.cohorts.items())):
        for command, entry, why in _NOT_OF_A_COHORT:
            if entry in (getattr(each, command) or {}):
                raise UserError(f"{where}: {here}.{command}.{entry}: {why}; take it out")
    if not plan.cohorts:
        if len(given) != 1:
            raise UserError(f"{where}: cohort needs exactly one of {', '.join(SOURCES)}; it has {given or 'none'}")
        for entry, names in _used(plan):
            if names:
                raise UserError(f"{where}: {entry}: names {names[0]}, but there is one cohort; name several in cohorts")
        return
    if given:
        raise UserError(f"{where}: cohort and cohorts: give one of them")
    for name, cohort in plan.cohorts.items():
        here = f"{where}: cohorts.{name}"
        check_name(name, here, "a cohort")
        if len(_sources(cohort)) != 1:
            raise UserError(f"{here} needs exactly one of {', '.join(SOURCES)}; it has {_sources(cohort) or 'none'}")
    used = set[str]()
    for entry, names in _used(plan):
        for name in names:
            check_choice(name, plan.cohorts, f"{where}: {entry}")
        if len(set(names)) < len(names):
            raise UserError(f"{where}: {entry}: names a cohort twice")
        if not names and len(plan.cohorts) > 1 and entry != _INTERPRETATION:
            raise UserError(f"{where}: {entry}: is missing; name one of {', '.join(plan.cohorts)}")
        used |= {*names} or {*plan.cohorts}
    unused = [name for name in plan.cohorts if name not in used]
    if unused:
        raise UserError(f"{where}: cohorts.{unused[0]}: no stage and no task uses it; take it out")


_NOT_OF_A_COHORT = (
    ("synthesize", "out", "a cohort lies in the folder that --out of the experiment names"),
    ("prepare", "out", "a cohort lies in the folder that --out of the experiment names"),
    ("synthesize", "format", "an experiment reads shards"),
)
"""Arguments of the commands that make a cohort which are the experiment's."""
_INTERPRETATION = "interpretation.cohort"


def _used(plan: Plan) -> Iterable[tuple[str, list[str]]]:
    """Give each entry that says which cohort is used, and the names there."""
    for name, stage in plan.stages.items():
        yield f"stages.{name}.cohort", stage.cohort
    for name, task in plan.evaluation.tasks.items():
        yield f"evaluation.tasks.{name}.cohort", [task.cohort] if task.cohort else []
    if plan.interpretation is not None:
        yield _INTERPRETATION, [plan.interpretation.cohort] if plan.interpretation.cohort else []


def _sources(cohort: CohortPlan) -> list[str]:
    return [name for name in SOURCES if getattr(cohort, name) is not None]


def cohort_plans(plan: Plan) -> dict[str, CohortPlan]:
    """Return the cohorts of an experiment by name; of a single one the name is ``ONLY``."""
    return dict(plan.cohorts) if plan.cohorts else {ONLY: plan.cohort}


def stage_cohorts(plan: Plan, stage: str) -> list[str]:
    """Return the names of the cohorts that a stage is trained on."""
    return plan.stages[stage].cohort or list(cohort_plans(plan))[:1]


def task_cohort(plan: Plan, task: str) -> str:
    """Return the name of the cohort whose labels a task predicts."""
    return plan.evaluation.tasks[task].cohort or next(iter(cohort_plans(plan)))


def interpreted_cohort(plan: Plan) -> str:
    """Return the name of the cohort that a stage is explained on: where the file names none, the stage's first."""
    asked = plan.interpretation
    if asked is None:
        raise ValueError("nothing is interpreted")
    return asked.cohort or stage_cohorts(plan, asked.method)[0]


def judging_cohorts(plan: Plan, stage: str) -> list[str]:
    """Return the names of the cohorts on which a stage, or what starts from it, is judged or explained."""
    grown = {stage}
    for name, other in plan.stages.items():  # a stage stands behind those that it starts from
        if grown.intersection(other.start_from.values()):
            grown.add(name)
    return list(dict.fromkeys(cohort for name in grown for cohort in seen_cohorts(plan, name)))


def seen_cohorts(plan: Plan, stage: str) -> list[str]:
    """Return the names of the cohorts whose recordings a stage's own encoder is judged or explained on."""
    judged = stage in (*plan.evaluation.methods, plan.evaluation.teacher)  # by whatever protocol
    names = [task_cohort(plan, name) for name in plan.evaluation.tasks] if judged else []
    explained = plan.interpretation is not None and plan.interpretation.method == stage
    return list(dict.fromkeys([*names, *([interpreted_cohort(plan)] if explained else [])]))


def cohort_folder(out: Path, name: str) -> Path:
    """Return the folder of a cohort that the experiment makes."""
    return out / "cohorts" / name if name else out / "cohort"


def features_folder(plan: Plan, out: Path, features: str, task: str) -> Path:
    """Return where features of a task's cohort are kept: those of one encoder on two cohorts are two."""
    name = task_cohort(plan, task)
    return out / "features" / (features if name == ONLY else f"{features}@{name}")
