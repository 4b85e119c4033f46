"""The cohorts of an experiment, open: which of them a stage is trained on and a task is read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgcmr.experiments.cohort_plan import (
    ONLY,
    cohort_plans,
    features_folder,
    judging_cohorts,
    stage_cohorts,
    task_cohort,
)
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.stage_runs import fingerprint_of
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.contents import cohort_fingerprint
from ecgcmr.shards.joint_index import joined, leaks_into
from ecgcmr.shards.same_recordings import not_comparable


@dataclass(frozen=True)
class CohortSet:
    """The cohorts of an experiment by name; ``ONLY`` is the name of a single one.

    Attributes:
        plan: The experiment.
        indices: Name -> cohort.
    """

    plan: Plan
    indices: Mapping[str, ShardIndex]
    _leaks: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = field(default_factory=dict, repr=False)

    @classmethod
    def of_one(cls, plan: Plan, index: ShardIndex) -> CohortSet:
        """Return the set of an experiment with one cohort."""
        return cls(plan, dict.fromkeys(cohort_plans(plan), index))

    def of_task(self, task: str) -> ShardIndex:
        """Return the cohort that a task is read from."""
        return self.indices[task_cohort(self.plan, task)]

    def of_stage(self, stage: str) -> list[ShardIndex]:
        """Return the cohorts that a stage is trained on."""
        return [self.indices[name] for name in stage_cohorts(self.plan, stage)]

    def task_fingerprint(self, task: str) -> str:
        """Return the fingerprint of a task's cohort."""
        return cohort_fingerprint(self.of_task(task))

    def stage_inputs(self, stage: str) -> dict[str, str]:
        """Return what a stage's result depends on of its cohorts: their contents, and the rows that it leaves out."""
        prints = [cohort_fingerprint(index) for index in self.of_stage(stage)]
        inputs = {"cohort": prints[0] if len(prints) == 1 else fingerprint_of(prints)}
        rows = self.left_out(stage)
        return {**inputs, "left_out": fingerprint_of(rows)} if rows else inputs

    def stage_settings(self, stage: str) -> dict[str, Any]:
        """Return the settings of a stage's data that name its cohorts."""
        roots = [str(index.root) for index in self.of_stage(stage)]
        settings: dict[str, Any] = {"data.root": roots[0] if len(roots) == 1 else roots}
        if self.left_out(stage):
            settings["data.apart_from"] = [str(self.indices[name].root) for name in self._apart(stage)]
        return settings

    def left_out(self, stage: str) -> list[int]:
        """Return the rows of a stage's cohorts, counted through, that a cohort which judges it tests or validates.

        The same subject is found by an equal recording.
        """
        trained_on, others = tuple(stage_cohorts(self.plan, stage)), self._apart(stage)
        if (trained_on, others) not in self._leaks:
            judges = [self.indices[name] for name in others]
            self._leaks[trained_on, others] = leaks_into(joined(self.of_stage(stage)), judges)
        return self._leaks[trained_on, others]

    def not_comparable(self, stage: str) -> list[str]:
        """Return the cohorts of a stage, or judging it, whose recordings are stored otherwise: no copies are found."""
        names = [*stage_cohorts(self.plan, stage), *self._apart(stage)]
        return [names[number] for number in not_comparable([self.indices[name] for name in names])]

    def _apart(self, stage: str) -> tuple[str, ...]:
        trained_on = stage_cohorts(self.plan, stage)
        return tuple(name for name in judging_cohorts(self.plan, stage) if name not in trained_on)

    def features_folder(self, out: Path, features: str, task: str) -> Path:
        """Return where features of a task's cohort are kept."""
        return features_folder(self.plan, out, features, task)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of all of them together; that of a single one is simply that."""
        prints = {name: cohort_fingerprint(index) for name, index in self.indices.items()}
        return prints[ONLY] if ONLY in prints else fingerprint_of(prints)

    @property
    def of_tasks(self) -> Sequence[str]:
        """Names of the cohorts that any task is read from."""
        return list(dict.fromkeys(task_cohort(self.plan, name) for name in self.plan.evaluation.tasks))
