"""Whether ``fit`` will take the settings of every stage and network, told before the first stage is trained.

A misspelt setting of the last stage would else be told when those before it are done, days later. Settings are read
here, and what they describe is built once and thrown away: some values are refused by constructors alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import jsonargparse

from ecgcmr.errors import UserError
from ecgcmr.evaluation.methods import TAUGHT
from ecgcmr.experiments.chain import encoder_for_task, stage_overrides
from ecgcmr.experiments.cohort_plan import stage_cohorts
from ecgcmr.experiments.fine_tuning import ATTENTION, OF_ATTENTION
from ecgcmr.experiments.given_encoders import network_given
from ecgcmr.experiments.plan import Plan, TaskPlan
from ecgcmr.experiments.run_graph import trained_methods
from ecgcmr.experiments.stage_runs import StageRun
from ecgcmr.heavy_imports import import_heavy
from ecgcmr.interpretation.pair import CMR_FOLDER

if TYPE_CHECKING:
    from ecgcmr.experiments.trial_builds import TrialBuilds

_OF_TAUGHT = {"data.pseudo_labels": "predictions.parquet"}
"""What a taught network is given beside its task's config; the table is there when the teacher is trained."""

Settings = Any
"""A namespace of ``class_path`` and ``init_args``, defaults and overrides in place."""


@dataclass(frozen=True)
class ReadSettings:
    """What ``fit`` will read.

    Attributes:
        stages: Stage -> settings of its model.
        encoders: Supervised network, or given encoder, with an encoder of its own -> settings of that encoder.
    """

    stages: dict[str, Settings] = field(default_factory=dict)
    encoders: dict[str, Settings] = field(default_factory=dict)


def read_settings(plan: Plan) -> ReadSettings:
    """Read the settings of all stages, supervised networks and fine-tunings as ``fit`` does.

    Args:
        plan: The experiment.

    Raises:
        UserError: In one line that names file and entry, if ``fit`` would refuse one.
    """
    from ecgcmr.experiments.trial_builds import TrialBuilds

    reading, found, where = _Reading(_parser_of_fit(), TrialBuilds(), plan), ReadSettings(), plan.path.name
    for name, stage in plan.stages.items():
        with _refusals_of(f"{where}: stages.{name}"):
            found.stages[name] = reading.model(stage.config, {**_root(plan, name), **stage_overrides(plan, name)})
    _check_teacher(plan, found.stages)
    random = plan.evaluation.random_encoder_of
    of_a_stage = network_given(plan, random) if random in plan.encoders else exported(found.stages[random]).as_dict()
    for entry, network, config, overrides in _fine_tunings(plan):
        with _refusals_of(f"{where}: evaluation.{entry}"):
            if network in plan.encoders:
                named = network_given(plan, network)
            else:
                named = plan.evaluation.supervised[network].encoder if network else {}
            encoder = encoder_for_task(plan.file(config), named or of_a_stage)
            read = reading.settings(config, {"model.encoder": encoder, **overrides})
            model = read.model
            if entry.startswith("tasks."):
                task = plan.evaluation.tasks[entry.removeprefix("tasks.")]
                _check_lengths(plan, task, found.stages, (read.data.get("init_args") or {}).get("samples"))
            if entry.startswith(f"{TAUGHT}: "):
                _check_lesson(read.data.get("init_args") or {})
            if named:
                found.encoders[network] = model.init_args.encoder
    return found


def _check_teacher(plan: Plan, stages: Mapping[str, Settings]) -> None:
    """Refuse a teacher that hands on no encoder of images."""
    teacher = plan.evaluation.teacher
    if teacher is not None and CMR_FOLDER not in resolve_name(stages[teacher].class_path).exports:
        raise UserError(
            f"{plan.path.name}: evaluation.teacher: {teacher} hands on no {CMR_FOLDER}; name an alignment with images"
        )


def _check_lesson(data: Mapping[str, Any]) -> None:
    """Refuse settings by which a pupil's labelled recordings would be others than its teacher's."""
    for name in ("selection", "min_quality", "weight", "leave_out_leads", "paired"):
        if data.get(name):
            raise UserError(f"data.{name} chooses other labelled recordings than those its teacher has; leave it out")


def _root(plan: Plan, stage: str) -> dict[str, Any]:
    """Return as many folders as a stage has cohorts, which are not there yet: options are counted against them."""
    names = stage_cohorts(plan, stage)
    return {"data.root": names} if len(names) > 1 else {}


def exported(model: Settings) -> Settings:
    """Return the settings of the encoder that a stage hands on, from those of its model."""
    from ecgcmr.stages.contract_checks import exported_attribute

    return model.init_args[exported_attribute(resolve_name(model.class_path))]


def _check_lengths(plan: Plan, task: TaskPlan, stages: Mapping[str, Settings], samples: int | None) -> None:
    """Check that the stages' encoders that a task trains take as many samples as its config cuts out.

    Those whose arguments do not tell a length are checked when they are trained.

    Raises:
        UserError: One takes another number.
    """
    trained = {method for method, _ in trained_methods(plan.evaluation, task)}
    if trained & {"scratch", "random"}:
        trained.add(plan.evaluation.random_encoder_of)
    for name in [name for name in stages if name in trained]:
        takes = (exported(stages[name]).get("init_args") or {}).get("samples")
        if isinstance(takes, int) and isinstance(samples, int) and takes != samples:
            raise UserError(
                f"the encoder of stage {name} takes {takes} samples and the data gives {samples}; give all stages that "
                f"are fine-tuned the same number, and the task set: {{data.samples: {takes}}}"
            )


def _fine_tunings(plan: Plan) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Give each kind of fine-tuning: entry of the evaluation, network of its own or "", config and overrides."""
    supervised = {name: own for name, own in plan.evaluation.supervised.items() if name in plan.evaluation.finetune}
    for name, task in plan.evaluation.tasks.items():
        if task.finetune is None or not trained_methods(plan.evaluation, task):
            continue
        yield f"tasks.{name}", "", task.finetune, task.set
        for network, own in supervised.items():
            yield f"supervised.{network} in task {name}", network, task.finetune, {**task.set, **own.set}
        for method, protocol in trained_methods(plan.evaluation, task):
            own_set = plan.encoders[method].set if method in plan.encoders else {}
            if protocol == TAUGHT and method in plan.evaluation.supervised:
                own_set = plan.evaluation.supervised[method].set
            further = OF_ATTENTION if protocol == ATTENTION else _OF_TAUGHT if protocol == TAUGHT else {}
            if own_set or further:
                network = method if method in (*plan.encoders, *plan.evaluation.supervised) else ""
                where = f"{protocol}: {method} in task {name}"
                yield where, network, task.finetune, {**task.set, **own_set, **further}


def _parser_of_fit() -> Any:
    import_heavy("ecgcmr.training.stage_cli")
    from ecgcmr.training.stage_cli import StageCLI

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the command line is another one: here it is the experiment's
        return jsonargparse.capture_parser(StageCLI, ["fit"])


@dataclass(frozen=True)
class _Reading:
    """How the configs of a plan are read.

    Attributes:
        parser: That of ``fit``.
        builds: Of what was read.
        plan: Names the configs.
    """

    parser: Any
    builds: TrialBuilds
    plan: Plan

    def model(self, config: str, overrides: Mapping[str, Any]) -> Settings:
        """Return the settings of a config's model."""
        return self.settings(config, overrides).model

    def settings(self, config: str, overrides: Mapping[str, Any]) -> Settings:
        """Return the settings of a config."""
        from ecgcmr.training.candidates import candidates_of

        run = StageRun("", self.plan.path.parent, self.plan.file(config), {"data.root": "", **overrides}, {})
        read = self._parsed(run.arguments())
        _check_encoders(read.model)
        self.builds.check(read)
        for candidate in candidates_of(read.search or []) if read.search is not None else ():
            with _refusals_of(f"search: candidate {candidate.name}"):
                self.builds.check(self._parsed([*run.arguments(), *candidate.words(), "--search=null"]))
        return read

    def _parsed(self, words: list[str]) -> Settings:
        from ecgcmr.training.config_files import Composition

        composition = Composition("fit", words)
        with composition.parsing():
            read = self.parser.parse_args(["fit", *composition.arguments()]).fit
        _check_values(read)
        return read


def _check_encoders(model: Settings) -> None:
    """Refuse an encoder that its stage cannot train, such as a network without tokens under masked pre-training."""
    from ecgcmr.stages.contract_checks import check_encoder_classes

    arguments = vars(model.init_args)  # .items() of such settings goes down to their leaves
    given = {name: value for name, value in arguments.items() if hasattr(value, "class_path")}
    classes = {name: resolve_name(str(value.class_path)) for name, value in given.items()}
    check_encoder_classes(resolve_name(model.class_path), classes)


def _check_values(read: Settings) -> None:
    """Check the numbers that ``fit`` checks when it begins: a parser knows their types alone.

    Raises:
        UserError: One of them is refused.
    """
    from ecgcmr.stages.optimisation import OptimiserSettings
    from ecgcmr.training.budget_checks import check_budget
    from ecgcmr.training.settings_checks import check_seed, check_trainer

    check_seed(read.seed_everything)
    check_trainer("fit", read.trainer)
    check_budget(read)
    optimiser = (read.model.get("init_args") or {}).get("optimiser")
    if optimiser is not None:
        OptimiserSettings(**optimiser.as_dict())


@contextmanager
def _refusals_of(where: str) -> Iterator[None]:
    """Tell what a parser refuses as a UserError that starts with ``where``."""
    from ecgcmr.training.messages import one_line

    try:
        yield
    except jsonargparse.ArgumentError as error:
        raise UserError(f"{where}: {one_line(error)}") from error
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
