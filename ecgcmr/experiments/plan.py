"""The experiment file: what it may say, checked before anything runs.

A plan is read once into typed objects; a typo raises an error that names the entry and the closest valid name.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from ecgcmr.errors import UserError

SOURCES = ("synthesize", "prepare", "root")
BASELINES = ("age+sex", "features", "oracle")
TASKS = ("regression", "classification")
WEIGHTS = ("encoder_weights", "ecg_encoder_weights", "cmr_encoder_weights")
"""Entries of a stage's config that take an exported encoder."""
RESERVED = ("random", "scratch", *BASELINES)
"""Methods of the table that are no stage of the file."""

T = TypeVar("T")


@dataclass(frozen=True)
class CohortPlan:
    """Where the shards come from: exactly one entry is given.

    Attributes:
        synthesize: Arguments of ``ecgcmr synthesize`` without ``--out`` and ``--format``, such as ``{subjects: 2000}``.
        prepare: Arguments of ``ecgcmr prepare`` without ``--out``, such as ``{ecg: DIR, table: [CSV]}``.
        root: Folder of shards that are there already.
    """

    synthesize: dict[str, Any] | None = None
    prepare: dict[str, Any] | None = None
    root: str | None = None


@dataclass(frozen=True)
class StagePlan:
    """One pre-training stage.

    Attributes:
        config: Config file for ``ecgcmr fit``, relative to the experiment file.
        start_from: Config entry (such as ``ecg_encoder_weights``) -> name of the stage whose encoder goes there.
        set: Overrides, dotted as on the command line: ``{trainer.max_epochs: 10}``.
    """

    config: str
    start_from: dict[str, str] = field(default_factory=dict)
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskPlan:
    """What is predicted from the ECG.

    Attributes:
        task: ``regression`` or ``classification``.
        targets: Label names or groups of them as declared in the shards' index, such as ``LV`` or ``cad_ever``.
        finetune: Config file of the downstream stage, relative to the experiment file; None: no fine-tuning.
        set: Overrides of that config.
    """

    task: str
    targets: list[str]
    finetune: str | None = None
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationPlan:
    """How encoders are compared.

    Attributes:
        tasks: Name -> task.
        labels: Numbers of labelled training subjects, or ``all``.
        linear_probe: Methods probed: ``random`` or names of stages.
        finetune: Methods fine-tuned: ``scratch`` (random weights) or names of stages.
        finetune_labels: Numbers of labels fine-tuning is run with; the same as ``labels`` if empty.
        baselines: Any of ``age+sex``, ``features``, ``oracle``.
        random_encoder_of: Stage whose encoder config, with random weights, is the ``random`` and ``scratch`` encoder.
        resamples: Bootstrap resamples behind each interval.
    """

    tasks: dict[str, TaskPlan]
    labels: list[int | str]
    linear_probe: list[str] = field(default_factory=list)
    finetune: list[str] = field(default_factory=list)
    finetune_labels: list[int | str] = field(default_factory=list)
    baselines: list[str] = field(default_factory=list)
    random_encoder_of: str = "mae"
    resamples: int = 1000


@dataclass(frozen=True)
class Plan:
    """A whole experiment.

    Attributes:
        path: The experiment file; relative paths in it start from its folder.
        cohort: Where the shards come from.
        stages: Name -> pre-training stage, in the order they run.
        evaluation: How encoders are compared.
        seed: Seed of subsets, random encoders, probes and bootstrap.
        description: One line for the head of the results.
    """

    path: Path
    cohort: CohortPlan
    stages: dict[str, StagePlan]
    evaluation: EvaluationPlan
    seed: int = 0
    description: str = ""

    def file(self, name: str) -> Path:
        """Return a path named in the plan, relative to the plan's own folder."""
        return (self.path.parent / name).resolve()


def load_plan(path: Path, *, root: Path | None = None, data: Path | None = None) -> Plan:
    """Read and check an experiment file.

    Args:
        path: The file.
        root: Prepared shards that replace the file's cohort.
        data: Raw ECG folder that replaces ``cohort.prepare.ecg``.

    Raises:
        UserError: If the file is missing, not YAML, or says something that is not understood.
    """
    if not path.is_file():
        raise UserError(f"there is no experiment file {path}")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())[:200]}") from error
    where = path.name
    if not isinstance(content, dict):
        raise UserError(f"{where}: an experiment file is a mapping with cohort, stages and evaluation")
    content = dict(content)
    content["cohort"] = _replaced(_typed(CohortPlan, content.get("cohort"), f"{where}: cohort"), root, data, where)
    content["stages"] = {
        name: _typed(StagePlan, entry, f"{where}: stages.{name}")
        for name, entry in _mapping(content.get("stages"), f"{where}: stages").items()
    }
    evaluation = _mapping(content.get("evaluation"), f"{where}: evaluation")
    evaluation["tasks"] = {
        name: _typed(TaskPlan, entry, f"{where}: evaluation.tasks.{name}")
        for name, entry in _mapping(evaluation.get("tasks"), f"{where}: evaluation.tasks").items()
    }
    content["evaluation"] = _typed(EvaluationPlan, evaluation, f"{where}: evaluation")
    plan = _typed(Plan, {"path": path.resolve(), **content}, where)
    _check(plan, where)
    return plan


def _replaced(cohort: CohortPlan, root: Path | None, data: Path | None, where: str) -> CohortPlan:
    """Return the cohort with what the command line says in its place."""
    if root is not None:
        return CohortPlan(root=str(root.resolve()))
    if data is None:
        return cohort
    if cohort.prepare is None:
        raise UserError(f"{where}: --data replaces cohort.prepare.ecg, but the cohort is not prepared from raw files")
    return CohortPlan(prepare={**cohort.prepare, "ecg": str(data.resolve())})


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected a mapping, found {type(value).__name__}")
    return dict(value)


def _typed(kind: type[T], value: Any, where: str) -> T:
    """Make a plan object from a mapping, refusing unknown and missing entries."""
    entries = _mapping(value, where)
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    for name in entries:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; it may hold {', '.join(known)}"
            raise UserError(f"{where}: unknown entry '{name}'{hint}")
    hints = get_type_hints(kind)
    for entry in fields(kind):  # type: ignore[arg-type]
        if entry.name in entries and not _fits(entries[entry.name], hints[entry.name]):
            raise UserError(f"{where}: {entry.name} is {entries[entry.name]!r}; expected {entry.type}")
    try:
        return kind(**entries)
    except TypeError as error:
        missing = str(error).rsplit(":", 1)[-1].strip()
        raise UserError(f"{where}: missing {missing}") from error


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value is of a declared type: a class, a union, or a list or dict of such."""
    inner = get_args(hint)
    if hint is Any:
        return True
    if get_origin(hint) is UnionType:
        return any(_fits(value, choice) for choice in inner)
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    if get_origin(hint) is dict:
        return isinstance(value, dict) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def _check(plan: Plan, where: str) -> None:
    """Check what entries say about each other."""
    given = [name for name in SOURCES if getattr(plan.cohort, name) is not None]
    if len(given) != 1:
        raise UserError(f"{where}: cohort needs exactly one of {', '.join(SOURCES)}; it has {given or 'none'}")
    _check_stages(plan, where)
    _check_tasks(plan, where)
    evaluation = plan.evaluation
    if not (evaluation.linear_probe or evaluation.finetune or evaluation.baselines):
        raise UserError(f"{where}: evaluation compares nothing; name methods in linear_probe, finetune or baselines")
    for method in evaluation.linear_probe:
        _check_choice(method, ["random", *plan.stages], f"{where}: evaluation.linear_probe")
    for method in evaluation.finetune:
        _check_choice(method, ["scratch", *plan.stages], f"{where}: evaluation.finetune")
    for baseline in evaluation.baselines:
        _check_choice(baseline, BASELINES, f"{where}: evaluation.baselines")
    _check_choice(evaluation.random_encoder_of, list(plan.stages), f"{where}: evaluation.random_encoder_of")
    for count in [*evaluation.labels, *evaluation.finetune_labels]:
        if count != "all" and not (isinstance(count, int) and count > 0):
            raise UserError(f"{where}: evaluation.labels holds {count!r}; write numbers of subjects or 'all'")


def _check_stages(plan: Plan, where: str) -> None:
    earlier: list[str] = []
    for name, stage in plan.stages.items():
        here = f"{where}: stages.{name}"
        if name in RESERVED or Path(name).name != name:
            raise UserError(f"{here}: a stage's name becomes a folder and a method; '{name}' cannot be one")
        _check_file(plan, stage.config, f"{here}.config")
        for argument, source in stage.start_from.items():
            _check_choice(argument, WEIGHTS, f"{here}.start_from")
            _check_choice(source, earlier, f"{here}.start_from.{argument}")
        earlier.append(name)


def _check_tasks(plan: Plan, where: str) -> None:
    kinds: dict[str, str] = {}
    for name, task in plan.evaluation.tasks.items():
        here = f"{where}: evaluation.tasks.{name}"
        _check_choice(task.task, TASKS, f"{here}.task")
        if task.task in kinds:  # their means over targets would be one row of the table
            raise UserError(f"{here}: '{kinds[task.task]}' is a {task.task} too; give one task the targets of both")
        kinds[task.task] = name
        if task.finetune:
            _check_file(plan, task.finetune, f"{here}.finetune")


def _check_choice(value: str, choices: Any, where: str) -> None:
    if value not in choices:
        raise UserError(f"{where}: '{value}' is not one of {', '.join(choices) or 'none so far'}")


def _check_file(plan: Plan, name: str, where: str) -> None:
    if not plan.file(name).is_file():
        raise UserError(f"{where}: there is no file {name} beside the experiment file")
