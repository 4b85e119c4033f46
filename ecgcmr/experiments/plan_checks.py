"""What the entries of an experiment file must say about each other: named files, methods and label counts exist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgcmr.config_pieces import read_config
from ecgcmr.errors import UserError
from ecgcmr.interpretation.kinds import FEWEST_SUBJECTS, KINDS
from ecgcmr.metrics.named_metric import load_metrics
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.shipped_configs import close_names
from ecgcmr.text import LONGEST_NAME, printable
from ecgcmr.yaml_file import mapping_at

if TYPE_CHECKING:
    from ecgcmr.experiments.plan import EvaluationPlan, GainPlan, Plan

SOURCES = ("synthesize", "prepare", "root")
BASELINES = ("mean", "age+sex", "age+sex+size", "features", "features-boosting", "oracle")
CARD_FILE = "encoder.yaml"
"""Of a folder that holds an encoder."""
MEASURED = ("age+sex", "age+sex+size", "features", "features-boosting")
"""Baselines that learn from what is known without a network: they may be parts of a stack."""
WEIGHTS = ("encoder_weights", "ecg_encoder_weights", "cmr_encoder_weights", "measurement_encoder_weights")
"""Entries of a stage's config that take an exported encoder."""
EVERY_ENCODER = "every encoder"
"""Among methods to be compared: all under ``encoders``."""
RESERVED = ("random", "scratch", "cohort", "table", "classical", EVERY_ENCODER, *BASELINES)
"""Methods of the table, and parts and folders of an experiment, that are no stage of the file."""
_OF_A_SEED = re.compile(r"random-s-?\d+")
"""Folders of random encoders."""
SEPARATELY = ("target", "group")
FRACTION = re.compile(r"(\d+(?:\.\d+)?) ?%")
LEAST_LABELS = 2
"""Fewer labelled subjects teach nothing."""
LEAST_RESAMPLES = 10
"""What the assessment at the end of an experiment asks for."""


_ROOMS = ("model", "data", "trainer")
_OF_THE_EXPERIMENT = {
    "data.root": "name the cohort under cohort",
    "data.apart_from": "it follows from the tasks' cohorts",
    "trainer.default_root_dir": "give the folder with --out",
    **dict.fromkeys((f"model.{weights}" for weights in WEIGHTS), "name a stage under start_from"),
}
"""Settings that the experiment gives every stage -> where they belong."""
_OF_THE_TASK = {
    **_OF_THE_EXPERIMENT,
    "model.encoder_weights": "name the stage under evaluation.finetune",
    **dict.fromkeys(("data.labels", "data.diseases"), "name them under targets"),
    "data.train_labels": "write the number under evaluation.finetune_labels",
    "data.predict_split": "the test split is predicted",
    "data.pseudo_labels": "name an alignment under evaluation.teacher",
    "data.evaluation_windows": "write the number under evaluation.windows",
    **dict.fromkeys(("data.seed", "seed_everything"), "write it under evaluation.finetune_seeds"),
}
"""The same for fine-tuning: with others a row of the table would be something else than it says."""


def check_plan(plan: Plan, where: str) -> None:
    """Check what entries say about each other.

    Args:
        plan: What was read.
        where: Name of the experiment file, for messages.

    Raises:
        UserError: In one line that names file and entry.
    """
    if plan.encoder is not None:
        _check_network(plan.encoder, f"{where}: encoder")
    _check_encoders(plan, where)
    _check_stages(plan, where)
    _check_tasks(plan, where)
    _check_methods(plan, f"{where}: evaluation")
    _check_numbers(plan.evaluation, f"{where}: evaluation")
    if not 0 <= plan.seed < 2**32:
        raise UserError(f"{where}: seed is {plan.seed}; write a whole number from 0 to {2**32 - 1}")
    kinds = {task.task for task in plan.evaluation.tasks.values()}
    load_metrics(plan.evaluation.metrics, f"{where}: evaluation.metrics", kinds)
    if plan.interpretation is not None:
        _check_interpretation(plan, f"{where}: interpretation")
    if plan.evaluation.gain is not None:
        _check_gain(plan.evaluation.gain, plan.evaluation, f"{where}: evaluation.gain")


def _check_interpretation(plan: Plan, where: str) -> None:
    asked = plan.interpretation
    if asked is None:
        return
    check_choice(asked.method, list(plan.stages), f"{where}.method")
    for kind in asked.kinds:
        check_choice(kind, KINDS, f"{where}.kinds")
    if asked.subjects < FEWEST_SUBJECTS:
        raise UserError(f"{where}.subjects is {asked.subjects}; it must be at least {FEWEST_SUBJECTS}")
    if not asked.targets:
        return
    if asked.kinds and "attribution" not in asked.kinds:
        raise UserError(f"{where}.targets: names what attribution is about, which is not among the kinds")
    if asked.method not in plan.evaluation.linear_probe:
        raise UserError(
            f"{where}.targets: are outputs of linear probes; name {asked.method} in evaluation.linear_probe"
        )


def _check_encoders(plan: Plan, where: str) -> None:
    compared = {*plan.evaluation.methods, plan.evaluation.random_encoder_of}
    compared |= {source for stage in plan.stages.values() for source in stage.start_from.values()}
    for name, given in plan.encoders.items():
        here = f"{where}: encoders.{name}"
        check_name(name, here, "an encoder")
        if name in (*plan.stages, *plan.evaluation.supervised):
            raise UserError(f"{here}: '{name}' is a stage or a network too; one method, one name")
        if given.encoder:
            _check_network(given.encoder, f"{here}.encoder")
        elif given.weights is None:
            raise UserError(f"{here}: name an encoder, or a folder of weights")
        if "${" in str(given.encoder):
            raise UserError(
                f"{here}.encoder: refers to a setting of a stage, which there is none of here; write a value"
            )
        if given.weights is not None and not (plan.file(given.weights) / CARD_FILE).is_file():
            raise UserError(
                f"{here}.weights: there is no {CARD_FILE} in {printable(plan.file(given.weights))}; give a folder of "
                "ecgcmr import-weights, or a run folder"
            )
        _check_set(given.set, _OF_THE_TASK, f"{here}.set")
        if name not in compared:
            raise UserError(f"{here}: nothing compares it; name it in evaluation.linear_probe, or take it out")


def _check_stages(plan: Plan, where: str) -> None:
    earlier: list[str] = list(plan.encoders)
    for name, stage in plan.stages.items():
        here = f"{where}: stages.{name}"
        check_name(name, here, "a stage")
        _check_file(plan, stage.config, f"{here}.config")
        _check_set(stage.set, _OF_THE_EXPERIMENT, f"{here}.set")
        if stage.encoder:
            _check_network(stage.encoder, f"{here}.encoder")
        for argument, source in stage.start_from.items():
            check_choice(argument, WEIGHTS, f"{here}.start_from")
            check_choice(source, earlier, f"{here}.start_from.{argument}")
        earlier.append(name)


def _check_tasks(plan: Plan, where: str) -> None:
    for name, task in plan.evaluation.tasks.items():
        here = f"{where}: evaluation.tasks.{name}"
        if not is_folder_name(name):
            raise UserError(f"{here}: the name of a task becomes a folder; '{printable(name, 60)}' cannot be one")
        check_choice(task.task, TASKS, f"{here}.task")
        if task.finetune:
            _check_file(plan, task.finetune, f"{here}.finetune")
            _check_target_entry(plan, task.finetune, task.task, f"{here}.finetune")
        elif task.set or task.separately is not None:
            entry = "set" if task.set else "separately"
            raise UserError(f"{here}.{entry} belongs to fine-tuning; name a config in {here.split(': ')[-1]}.finetune")
        _check_set(task.set, _OF_THE_TASK, f"{here}.set")
        for method in (*plan.evaluation.finetune, *plan.evaluation.taught, *plan.evaluation.attention_probe):
            taken = [stage for stage in plan.stages if stage.startswith(f"{name}-{method}-")]
            if taken:
                raise UserError(
                    f"{where}: stages.{taken[0]}: a run of task {name} bears such a name; choose another one"
                )
        if task.separately is not None:
            check_choice(task.separately, SEPARATELY, f"{here}.separately")
    for trained in (plan.evaluation.finetune, plan.evaluation.taught, plan.evaluation.attention_probe):
        runs: dict[str, str] = {}
        for name, method in product(plan.evaluation.tasks, trained):
            own = f"{method} of task {name}"
            other = runs.setdefault(f"{name}-{method}", own)
            if other != own:
                raise UserError(
                    f"{where}: runs of {own} would have the names of those of {other}; give one task another name"
                )


def _check_set(settings: Mapping[str, Any], reserved: Mapping[str, str], where: str) -> None:
    """Refuse overrides of what the experiment itself gives a stage or a fine-tuning."""
    for setting, value in settings.items():
        if setting in _ROOMS and isinstance(value, dict):
            entry = next(iter(value), "...")
            raise UserError(
                f"{where}: {setting} holds entries; write each by its dotted name, such as {setting}.{entry}"
            )
        plain = str(setting).replace(".init_args", "")
        for name, entry in reserved.items():
            if name == plain or name.startswith(f"{plain}."):
                raise UserError(f"{where}: {setting} is given by the experiment; {entry}")


def _check_target_entry(plan: Plan, config: str, task: str, where: str) -> None:
    """Refuse a config whose targets are of the other kind: else this is told when the stages are trained already."""
    given = mapping_at(read_config(plan.file(config)), "data", "init_args")
    right, other = ("diseases", "labels") if TASKS[task].followed else ("labels", "diseases")
    if given.get(other):
        raise UserError(f"{where}: {config} has data.{other}; a {task} is fine-tuned by a config with data.{right}")


def _check_methods(plan: Plan, where: str) -> None:
    evaluation = plan.evaluation
    if evaluation.windows < 1:
        raise UserError(f"{where}.windows is {evaluation.windows}; it must be at least 1")
    if not evaluation.methods:
        raise UserError(f"{where} compares nothing; name methods in linear_probe, finetune or baselines")
    for name, network in evaluation.supervised.items():
        here = f"{where}.supervised.{name}"
        if name != "scratch":
            check_name(name, here, "a network")
            if name in plan.stages:
                raise UserError(f"{here}: '{name}' is a stage too; one method, one name")
        if network.encoder:
            _check_network(network.encoder, f"{here}.encoder")
        _check_set(network.set, _OF_THE_TASK, f"{here}.set")
        if name not in (*evaluation.finetune, *evaluation.taught):
            raise UserError(f"{here}: name it in evaluation.finetune (or taught) too, or it is never trained")
    given = [*plan.stages, *plan.encoders]
    trained = dict.fromkeys(["scratch", *evaluation.supervised, *given])
    for method in evaluation.linear_probe:
        check_choice(method, ["random", *given], f"{where}.linear_probe")
    for entry in ("layer_probe", "attention_probe"):
        for method in getattr(evaluation, entry):
            check_choice(method, given, f"{where}.{entry}")
    for method in evaluation.against:
        check_choice(method, evaluation.finetune, f"{where}.against")
    if evaluation.against and evaluation.gain is not None:
        raise UserError(f"{where}.against: gain names what is compared already; keep one of the two")
    for entry in ("finetune", "taught"):
        for method in getattr(evaluation, entry):
            check_choice(method, trained, f"{where}.{entry}")
    _check_finetune(evaluation, where)
    _check_taught(plan, where)
    every = ("linear_probe", "layer_probe", "attention_probe", "finetune", "taught_probe", "taught")
    for entry in (*every, "baselines", "against"):
        names = getattr(evaluation, entry)
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise UserError(f"{where}.{entry} names {twice[0]} twice; a method is run once")
    for baseline in evaluation.baselines:
        check_choice(baseline, BASELINES, f"{where}.baselines")
    check_choice(evaluation.random_encoder_of, given, f"{where}.random_encoder_of")
    _check_stacks(plan, f"{where}.stack")


def _check_stacks(plan: Plan, where: str) -> None:
    """Refuse a stack that is no combination of methods of the table: beside it stand its parts."""
    evaluation = plan.evaluation
    able = [*evaluation.linear_probe, *(baseline for baseline in evaluation.baselines if baseline in MEASURED)]
    for name, parts in evaluation.stack.items():
        here = f"{where}.{name}"
        check_name(name, here, "a stack")
        if name in (*plan.stages, *plan.encoders, *evaluation.supervised):
            raise UserError(f"{here}: '{name}' is a stage or a network too; one method, one name")
        if len(set(parts)) < max(2, len(parts)):
            raise UserError(f"{here} is {parts}; name two or more different methods")
        for part in parts:
            if part not in able:
                raise UserError(
                    f"{here}: '{part}' is not one of {', '.join(able) or 'none so far'}; a stack combines methods "
                    f"under evaluation.linear_probe, and of evaluation.baselines {', '.join(MEASURED)}"
                )


def _check_network(network: Mapping[str, Any], where: str) -> None:
    if "class_path" not in network or set(network) - {"class_path", "init_args"}:
        raise UserError(f"{where}: expected class_path and init_args, found {', '.join(network) or 'nothing'}")


def _check_finetune(evaluation: EvaluationPlan, where: str) -> None:
    """Refuse methods to be fine-tuned where no task says how: nothing would be trained."""
    entry = "finetune" if evaluation.finetune else "attention_probe"
    methods = evaluation.finetune or evaluation.attention_probe
    if methods and not any(task.finetune for task in evaluation.tasks.values()):
        raise UserError(
            f"{where}.{entry} names {', '.join(methods)}, but no task has a config; name one in "
            f"evaluation.tasks.{next(iter(evaluation.tasks), 'TASK')}.finetune, or leave the methods out"
        )


def _check_taught(plan: Plan, where: str) -> None:
    """Refuse pupils without a teacher, a teacher without pupils, and pupils without a lesson."""
    evaluation = plan.evaluation
    if evaluation.teacher is None:
        for entry in ("taught_probe", "taught", "taught_labels"):
            if getattr(evaluation, entry):
                raise UserError(f"{where}.{entry}: name the alignment that teaches under {where}.teacher")
        return
    check_choice(evaluation.teacher, plan.stages, f"{where}.teacher")
    for method in evaluation.taught_probe:
        check_choice(method, evaluation.linear_probe, f"{where}.taught_probe")
    if not evaluation.taught_probe and not evaluation.taught:
        raise UserError(f"{where}.teacher teaches nobody; name methods in taught_probe or taught, or leave it out")
    lessons = [task for task in evaluation.tasks.values() if task.task == "regression"]
    if not lessons:
        raise UserError(f"{where}.teacher: numbers alone are taught; no task is one of regression")
    trained = evaluation.finetune_labels or evaluation.labels
    for pupils, labels in ((evaluation.taught_probe, evaluation.labels), (evaluation.taught, trained)):
        if pupils and not evaluation.lessons(labels):
            raise UserError(
                f"{where}.labels names all of them alone; if the cohort has images without a label beside those, write "
                "taught_labels: [all], else name a smaller number"
            )
    if evaluation.taught and not any(task.finetune for task in lessons):
        raise UserError(f"{where}.taught: no task of regression names a config in finetune")


def _check_numbers(evaluation: EvaluationPlan, where: str) -> None:
    if evaluation.resamples < LEAST_RESAMPLES:
        raise UserError(f"{where}.resamples is {evaluation.resamples}; at least {LEAST_RESAMPLES} are needed")
    if not evaluation.labels:
        raise UserError(f"{where}.labels is empty; name how many labelled subjects methods learn from, such as [all]")
    for entry in ("labels", "finetune_labels", "taught_labels"):
        for label in getattr(evaluation, entry):
            if not is_amount(label):
                raise UserError(
                    f"{where}.{entry} holds {label!r}; write numbers of subjects from {LEAST_LABELS}, parts such as "
                    "'10 %' (above 0, at most 100), or 'all'"
                )
    for entry in ("seeds", "finetune_seeds"):
        seeds = getattr(evaluation, entry)
        if len(set(seeds)) < len(seeds) or any(not 0 <= seed < 2**32 for seed in seeds):
            raise UserError(f"{where}.{entry} is {seeds}; write different whole numbers from 0 to {2**32 - 1}")


def is_amount(label: Any) -> bool:
    """Tell whether an entry of ``labels`` is a number of subjects, a part of them or ``all``."""
    if isinstance(label, int):
        return not isinstance(label, bool) and label >= LEAST_LABELS
    part = FRACTION.fullmatch(str(label))
    return label == "all" or (part is not None and 0 < float(part[1]) <= 100)


def _check_gain(gain: GainPlan, evaluation: EvaluationPlan, where: str) -> None:
    untaught = replace(evaluation, taught=[])  # what images teach is no rival without them
    rivals = [method for method in untaught.methods if method != "oracle"]
    for method in [gain.method, *gain.over]:
        check_choice(method, rivals, where)
    if not gain.over or gain.method in gain.over:
        raise UserError(f"{where}.over: name the methods that {gain.method} is compared with, not itself")
    check_choice(gain.task, evaluation.tasks, f"{where}.task")
    if TASKS[evaluation.tasks[gain.task].task].primary != "r2":
        raise UserError(f"{where}.task: '{gain.task}' is no regression; the gain is one in mean R2")
    check_choice(gain.labels, evaluation.labels, f"{where}.labels")


def check_name(name: Any, where: str, what: str) -> None:
    """Refuse a name of the user's own that cannot be a folder, or that something else bears already."""
    if name in RESERVED or _OF_A_SEED.fullmatch(str(name)) or not is_folder_name(name):
        raise UserError(
            f"{where}: the name of {what} becomes a folder and a method; '{printable(name, 60)}' cannot be one"
        )
    if "@" in str(name):
        raise UserError(f"{where}: @ marks what an experiment makes of a method, such as mae@taught; leave it out")


def is_folder_name(name: Any) -> bool:
    """Tell whether a name of the user's own can be a folder, apart from options and values of a command."""
    text = str(name)
    hides = text.startswith((".", "-")) or text != text.strip() or "=" in text
    return Path(text).name == name and printable(name, LONGEST_NAME) == name and not hides


def check_choice(value: Any, choices: Iterable[Any], where: str) -> None:
    """Refuse what is none of some choices."""
    if value not in choices:
        raise UserError(f"{where}: '{value}' is not one of {', '.join(map(str, choices)) or 'none so far'}")


def _check_file(plan: Plan, name: str, where: str) -> None:
    if not plan.file(name).is_file():
        raise UserError(f"{where}: there is no file {name} beside the experiment file{close_names(name)}")
