"""What an experiment's folder says, read for a page: plan, cohort, results, figures and stages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.evaluation.assessment_file import AssessmentFile, read_assessment
from ecgcmr.files import sha256_of
from ecgcmr.json_file import recall_json
from ecgcmr.pages.figure_files import FigureFile, read_figures
from ecgcmr.pages.interpretation_section import FOLDER as INTERPRETATION
from ecgcmr.pages.interpretation_section import interpretation_tables
from ecgcmr.pages.markup import Html
from ecgcmr.pages.overview_file import Overview, read_overview
from ecgcmr.pages.stage_folder import CARD, StageFolder, fingerprint_in, read_stage
from ecgcmr.shards import ShardIndex
from ecgcmr.yaml_file import mapping_at, read_yaml

MOST_STAGES = 60
"""Stages whose course and settings are shown: those of pre-training first. A large comparison has a thousand."""

NAME_FILE, PLAN_FILE, RESULTS, OVERVIEW = "experiment.json", "experiment.yaml", "results.json", "results.md"
_COHORT, _COHORTS = "cohort", "cohorts"


@dataclass(frozen=True)
class ExperimentFolder:
    """A finished experiment.

    Attributes:
        name: Of the folder.
        file: Name of the experiment file; "" where none is noted.
        fingerprint: Of all that went in.
        results_sha256: Of ``results.json``.
        plan: Content of ``experiment.yaml``; empty in folders of before it was written.
        overview: Its own words.
        assessments: One for each task.
        cohorts: Index of the shards of each cohort by name, "" where there is one; None where they lie elsewhere.
        figures: As they are on the disk.
        learned: Tables of what a stage learned, where the plan asked for it.
        learned_figures: Figures of the same.
        pre_training: Names of the stages of pre-training.
        stages: In the order of the plan, at most ``MOST_STAGES`` with their logs.
        further_stages: Names of the others.
    """

    name: str
    file: str
    fingerprint: str
    results_sha256: str
    plan: dict[str, Any]
    overview: Overview
    assessments: tuple[AssessmentFile, ...]
    cohorts: Mapping[str, ShardIndex | None]
    figures: tuple[FigureFile, ...]
    learned: Html
    learned_figures: tuple[FigureFile, ...]
    pre_training: tuple[str, ...]
    stages: tuple[StageFolder, ...]
    further_stages: tuple[str, ...]


def is_experiment(folder: Path) -> bool:
    """Tell whether a folder is an experiment's, finished or not."""
    return any((folder / name).is_file() for name in (NAME_FILE, PLAN_FILE)) or (folder / "stages").is_dir()


def read_experiment(folder: Path, root: Path | None = None) -> ExperimentFolder:
    """Read the folder of a finished experiment.

    Args:
        folder: As ``ecgcmr experiment`` wrote it.
        root: The cohort's shards, where they lie elsewhere; None takes ``cohort/`` in the folder.

    Raises:
        UserError: The experiment has not finished, or a file is missing or damaged.
    """
    if not (folder / RESULTS).is_file():
        raise UserError(
            f"{folder}: has no {RESULTS}, so the experiment has not finished; run 'ecgcmr experiment' again"
        )
    assessed = sorted(folder.glob("evaluation/*/results.json"), key=_natural)
    if not assessed:
        raise UserError(f"{folder}: has no evaluation/TASK/results.json; run 'ecgcmr experiment' again")
    plan_file = folder / PLAN_FILE
    plan = read_yaml(plan_file, what="experiment", root=dict) if plan_file.is_file() else {}
    tasks = [str(name) for name in mapping_at(plan, "evaluation", "tasks")]
    assessed.sort(key=lambda path: tasks.index(path.parent.name) if path.parent.name in tasks else len(tasks))
    first, names = _stage_names(folder, plan)
    named = recall_json(folder / NAME_FILE)
    file = named.get("file") if isinstance(named, dict) else None
    return ExperimentFolder(
        name=folder.resolve().name,
        file=file if isinstance(file, str) else "",
        fingerprint=fingerprint_in(folder),
        results_sha256=sha256_of(folder / RESULTS),
        plan=plan,
        overview=read_overview(folder / OVERVIEW),
        assessments=tuple(read_assessment(path) for path in assessed),
        cohorts=_cohorts(folder, root, [str(name) for name in mapping_at(plan, "cohorts")]),
        figures=_figures(folder, "figures"),
        learned=interpretation_tables(folder),
        learned_figures=_figures(folder, INTERPRETATION),
        pre_training=tuple(first),
        stages=tuple(read_stage(folder / "stages" / name) for name in names[:MOST_STAGES]),
        further_stages=tuple(names[MOST_STAGES:]),
    )


def _figures(folder: Path, room: str) -> tuple[FigureFile, ...]:
    return read_figures(sorted(folder.glob(f"{room}/*.png"), key=_natural))


def _cohorts(folder: Path, root: Path | None, names: list[str]) -> dict[str, ShardIndex | None]:
    """Return the cohorts by name; of several none can be said to lie at ``root``.

    Raises:
        UserError: There are several, and a root.
    """
    if root is not None and names:
        raise UserError(f"--root: the experiment has the cohorts {', '.join(names)}; leave it out")
    if root is not None:
        return {"": ShardIndex.load(root, check_files=False)}
    places = {name: folder / _COHORTS / name for name in names} or {"": folder / _COHORT}
    return {
        name: ShardIndex.load(place, check_files=False) if (place / "index.json").is_file() else None
        for name, place in places.items()
    }


def _stage_names(folder: Path, plan: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of the stages of pre-training as they ran, and those of all, the others by name."""
    paths = sorted((folder / "stages").glob("*/"), key=_natural)
    found = [path.name for path in paths if (path / "config.yaml").is_file() or (path / CARD).is_file()]
    planned = [str(name) for name in mapping_at(plan, "stages")]
    # Without a plan, fine-tunings are known by the number of labels at the end of their names.
    first = [name for name in planned if name in found] or [name for name in found if not re.search(r"-\d+$", name)]
    return first, [*first, *(name for name in found if name not in first)]


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort names with the numbers in them as numbers."""
    parts = re.findall(r"(\d+)|(\D+)", path.as_posix())
    return [(0, int(digits[:100]), "") if digits else (1, 0, words) for digits, words in parts]
