"""A fine-tuned or taught method of an experiment as a model: one task, for each task has an encoder of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.evaluation.methods import method_title
from ecgcmr.experiments.export_choices import FINETUNE, TAUGHT, Choices, made_by
from ecgcmr.experiments.export_metrics import test_metrics
from ecgcmr.experiments.export_stage import export_stage
from ecgcmr.experiments.fine_tuning import run_name, trained_as
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan import Plan, amount_of
from ecgcmr.experiments.run_graph import entries_of, is_lesson
from ecgcmr.inference.export_run import Exported
from ecgcmr.shards import ShardIndex


def export_fine_tuned(out: Path, plan: Plan, index: ShardIndex, choices: Choices) -> Exported:
    """Return a fine-tuned method, or one that was taught by images, as a model.

    Args:
        out: Folder of the experiment.
        plan: Of it.
        index: Its cohort.
        choices: What is exported.

    Raises:
        UserError: The method is not fine-tuned, the task is not clear, or was learnt by several networks.
    """
    method, protocol, evaluation = choices.method, choices.protocol or FINETUNE, plan.evaluation
    trained = evaluation.taught if protocol == TAUGHT else evaluation.finetune
    if method is None or method not in trained:
        raise UserError(
            f"--protocol {protocol}: the methods are {', '.join(trained) or 'none'}; name one with --method"
        )
    name = _task(plan, choices.task, protocol)
    task = plan.evaluation.tasks[name]
    if task.separately is not None:
        raise UserError(
            f"--task {name}: each {task.separately} was fine-tuned in a network of its own; export one of their run "
            f"folders, {out}/stages/{name}-{trained_as(method, protocol)}-..."
        )
    problem = Problem.of(name, task.task, task.targets, index)
    available = len(problem.training(None))
    wanted = entries_of(evaluation, protocol)
    counts = sorted({amount_of(label, available) for label in wanted} & set(range(available + 1)))
    if not counts or choices.labels not in (None, *counts):
        raise UserError(f"--labels {choices.labels}: task {name} was run with {', '.join(map(str, counts))}")
    count, seed = choices.labels or counts[-1], plan.finetune_seeds[0]
    folder = out / "stages" / run_name(plan, name, trained_as(method, protocol), count, seed)
    exported = export_stage(folder, index.root, choices.trusted, calibrate=choices.calibrate)
    described = exported.description
    about = {"method": method, "protocol": protocol, "labels": count}
    metrics = test_metrics(out, problem.task, about, described.target_names)
    labels = {label.name: label for label in problem.labels}
    targets = [
        replace(entry, metrics=metrics[entry.name], title=labels[entry.name].title, group=labels[entry.name].group)
        for entry in described.targets
    ]
    training = replace(
        described.training,
        experiment=out.resolve().name,
        method=method,
        labels=count,
        seed=seed,
        stages=[*made_by(plan, method), folder.name],
        choice=f"{method_title((method, protocol))}, for {name}, as asked for",
    )
    return replace(exported, description=replace(described, name=method, targets=targets, training=training))


def _task(plan: Plan, asked: str | None, protocol: str) -> str:
    tasks = {name: task for name, task in plan.evaluation.tasks.items() if task.finetune is not None}
    names = [name for name, task in tasks.items() if protocol != TAUGHT or is_lesson(task)]
    if asked is None and len(names) == 1:
        return names[0]
    if asked not in names:
        raise UserError(f"--task {asked}: each task has an encoder of its own; choose one of {', '.join(names)}")
    return asked
