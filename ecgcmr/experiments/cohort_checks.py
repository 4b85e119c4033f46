"""Whether encoders meet, on every cohort of an experiment, recordings like those that they were trained on.

Known before the first stage is trained: a cohort's recipe stands in its index.
"""

from __future__ import annotations

from collections.abc import Iterator

from ecgcmr.config_pieces import read_config
from ecgcmr.errors import UserError
from ecgcmr.experiments.cohort_plan import seen_cohorts, stage_cohorts, task_cohort
from ecgcmr.experiments.cohort_set import CohortSet
from ecgcmr.experiments.config_checks import ReadSettings
from ecgcmr.experiments.plan import Plan
from ecgcmr.shards.joint_index import JointIndex
from ecgcmr.shards.recipe import compare_recipes, recipe_of

_ACCEPTED = "accept_other_preparation"


def check_preparations(plan: Plan, settings: ReadSettings, cohorts: CohortSet) -> None:
    """Refuse cohorts that an encoder is handed between and that were prepared otherwise.

    Args:
        plan: The experiment.
        settings: Of its stages.
        cohorts: Its cohorts.

    Raises:
        UserError: In one line that names stage, cohort and remedy.
    """
    if not plan.cohorts:
        return
    for name in plan.stages:
        if len(cohorts.of_stage(name)) > 1:
            JointIndex(cohorts.of_stage(name))  # refused if they are no one training set
    for stage, cohort, modality, use in _handed_over(plan, settings):
        first = stage_cohorts(plan, stage)[0]
        recipes = [recipe_of(cohorts.indices[name].layout, modality) for name in (first, cohort)]
        if not all(recipes):
            continue  # said by whoever looks for such recordings there
        differences = compare_recipes(recipes[0], recipes[1], modality).differences
        if differences:
            raise UserError(
                f"{plan.path.name}: stages.{stage} is trained on cohort {first}, but {use} gives it cohort {cohort}, "
                f"which was prepared otherwise: {'; '.join(differences)}; prepare {cohort} like {first}, or name "
                "another cohort there"
            )


def _handed_over(plan: Plan, settings: ReadSettings) -> Iterator[tuple[str, str, str, str]]:
    """Give (stage, another cohort that its encoder sees, modality, which entry says so)."""
    for name, stage in plan.stages.items():
        if stage.set.get(_ACCEPTED, read_config(plan.file(stage.config)).get(_ACCEPTED)):
            continue
        for argument, source in stage.start_from.items():
            if argument not in ("encoder_weights", "ecg_encoder_weights", "cmr_encoder_weights"):
                continue  # no recordings go in: the stage itself compares
            if source in plan.encoders:
                continue  # checked by the stage that takes it
            modality = "cmr" if argument == "cmr_encoder_weights" or _of_images(settings, source) else "ecg"
            for cohort in stage_cohorts(plan, name):
                yield source, cohort, modality, f"stages.{name}.start_from.{argument}"
    for name in plan.stages:
        if not _of_images(settings, name):
            yield from ((name, cohort, "ecg", _task_on(plan, cohort)) for cohort in seen_cohorts(plan, name))


def _of_images(settings: ReadSettings, stage: str) -> bool:
    return bool(settings.stages[stage].init_args.get("modality") == "cmr")


def _task_on(plan: Plan, cohort: str) -> str:
    tasks = (f"evaluation.tasks.{name}" for name in plan.evaluation.tasks if task_cohort(plan, name) == cohort)
    return next(tasks, "interpretation")


def leak_notes(cohorts: CohortSet) -> list[str]:
    """Say of each stage how many recordings it leaves out for cohorts on which it is judged, and what is not known."""
    notes = []
    for stage in cohorts.plan.stages:
        rows = cohorts.left_out(stage)
        if rows:
            notes.append(
                f"stage {stage}: {len(rows):,} recordings of its cohort are left out, for their subjects stand in the "
                "validation or test split of a cohort on which it is judged"
            )
        unknown = cohorts.not_comparable(stage)
        if unknown:
            notes.append(
                f"stage {stage}: recordings of {', '.join(unknown)} are stored in another length or type, or were "
                "prepared otherwise, than those it is trained on; whether a recording is in both is not known"
            )
    return notes
