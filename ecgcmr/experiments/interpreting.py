"""The last part of an experiment: what one of its stages learned, in ``interpretation/``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from pkgutil import resolve_name

from ecgcmr.errors import UserError
from ecgcmr.experiments.cohort_plan import interpreted_cohort, task_cohort
from ecgcmr.experiments.config_checks import Settings
from ecgcmr.experiments.export_choices import Choices
from ecgcmr.experiments.export_experiment import export_experiment
from ecgcmr.experiments.plan import InterpretationPlan, Plan
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, marker_state, write_marker
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_folder import ModelFolder
from ecgcmr.interpretation.explain import ExplainOptions, explain, on_device
from ecgcmr.interpretation.explained_targets import readout_of
from ecgcmr.interpretation.trained_folder import TrainedFolder, open_trained
from ecgcmr.locks import remove_all
from ecgcmr.shards import ShardIndex
from ecgcmr.text import printable

FOLDER = "interpretation"


def check_interpretation(plan: Plan, model: Settings, targets: Collection[str]) -> None:
    """Refuse, before anything is trained, what a stage cannot be given and targets that nothing predicts.

    Args:
        plan: Its ``interpretation`` is given.
        model: Settings of the stage, with ``class_path`` and ``init_args``.
        targets: Names of all labels that the experiment predicts.

    Raises:
        UserError: In one line that names the entry.
    """
    asked, where = plan.interpretation, f"{plan.path.name}: interpretation"
    if asked is None:
        return
    if model.init_args.get("modality") == "cmr":
        raise UserError(f"{where}.method: {asked.method} trains an encoder of images; name a stage of ECGs")
    if "cmr_encoder" not in resolve_name(model.class_path).exports:
        paired = [kind for kind in asked.kinds if kind in ("localisation", "retrieval")]
        paired += [] if asked.targets else [kind for kind in asked.kinds if kind == "attribution"]
        if paired:
            remedy = "name a stage of alignment" + (", or targets" if paired == ["attribution"] else "")
            raise UserError(
                f"{where}.kinds: {paired[0]} cannot be had of {asked.method}, which sees no images; {remedy}"
            )
    unknown = [name for name in asked.targets if name not in targets]
    if unknown:
        which = f" on cohort {interpreted_cohort(plan)}" if plan.cohorts else ""
        raise UserError(f"{where}.targets: {printable(unknown[0], 60)} is no target of this experiment's tasks{which}")


def interpret(
    plan: Plan,
    index: ShardIndex,
    out: Path,
    inputs: Mapping[str, str],
    trusted: tuple[str, ...],
    show: Callable[[str], None],
) -> None:
    """Carry out the analyses that a plan asks for, unless they are finished.

    Args:
        plan: Its ``interpretation`` is given.
        index: The cohort.
        out: Folder of the experiment, whose results are written.
        inputs: Fingerprints of the cohort and of the stage.
        trusted: Classes of encoders beside this package's that the plan's configs name.
        show: Prints a line.

    Raises:
        UserError: The stage cannot be given what is asked for.
    """
    asked = plan.interpretation
    if asked is None:
        return
    folder = out / FOLDER
    windows = plan.evaluation.windows
    fingerprint = fingerprint_of({**asdict(asked), **inputs, "windows": windows, "seed": plan.seed})
    if is_finished(folder, fingerprint):
        show("finished earlier")
        return
    folder.mkdir(exist_ok=True)
    remove_all(folder)
    write_marker(folder, fingerprint, finished=False)
    options = on_device(
        ExplainOptions(tuple(asked.kinds), tuple(asked.targets), asked.subjects, seed=plan.seed), "auto"
    )
    trained = replace(open_trained(out / "stages" / asked.method, trusted), windows=windows)
    if asked.targets:
        trained = _with_probe(trained, plan, out, index, asked, trusted)
    explain(trained, index, folder, options, show)
    write_marker(folder, fingerprint, finished=True)


def _with_probe(
    trained: TrainedFolder,
    plan: Plan,
    out: Path,
    index: ShardIndex,
    asked: InterpretationPlan,
    trusted: tuple[str, ...],
) -> TrainedFolder:
    """Return a stage with the outputs of the linear probes on it, fitted again and compared with the table."""
    task = next(name for name in plan.evaluation.tasks if task_cohort(plan, name) == interpreted_cohort(plan))
    choices = Choices(asked.method, task=task, trusted=trusted, calibrate=False)
    exported = export_experiment(out, index.root, choices)
    model = Model.of(ModelFolder(trained.folder, exported.description, exported.tensors), trusted)
    return replace(trained, readout=readout_of(model))


def remove_interpretation(out: Path) -> None:
    """Remove what an earlier state of the plan asked for."""
    folder = out / FOLDER
    if marker_state(folder):
        remove_all(folder)
        folder.rmdir()
