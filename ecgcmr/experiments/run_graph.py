"""What an experiment trains, and what each training needs first, as far as its file says it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ecgcmr.errors import UserError
from ecgcmr.evaluation.methods import TAUGHT
from ecgcmr.experiments.fine_tuning import ATTENTION, run_name, trained_as
from ecgcmr.experiments.plan import EvaluationPlan, Plan, TaskPlan
from ecgcmr.text import printable

COHORT, TABLE = "cohort", "table"
"""Names of the first node and of the last one; no stage can be called so."""


@dataclass(frozen=True)
class GraphNode:
    """A part of an experiment that is run as one.

    Attributes:
        name: ``cohort``, a stage, a downstream run such as ``phenotypes-mae-10%``, or ``table``.
        needs: Names of the nodes that must be finished.
    """

    name: str
    needs: tuple[str, ...]


def run_graph(plan: Plan, counts: Mapping[str, Mapping[int | str, int]] | None = None) -> list[GraphNode]:
    """Return the nodes of an experiment in an order in which they can be run.

    Args:
        plan: The experiment.
        counts: Task -> entry of ``labels`` -> number of subjects, where the cohort is known: downstream runs then bear
            the numbers of their folders, and entries that the cohort is too small for are left out.
    """
    nodes = [GraphNode(COHORT, ())]
    nodes += [
        GraphNode(name, tuple(dict.fromkeys([COHORT, *(source_of(plan, one) for one in stage.start_from.values())])))
        for name, stage in plan.stages.items()
    ]
    evaluation = plan.evaluation
    for name, task in plan.evaluation.tasks.items():
        if task.finetune is None:
            continue
        for method, protocol in trained_methods(evaluation, task):
            entries = entries_of(evaluation, protocol)
            amounts: Iterable[int | str] = dict.fromkeys(entries)
            if counts is not None:
                amounts = sorted({counts[name][entry] for entry in entries if entry in counts[name]})
            trained = trained_as(method, protocol)
            nodes += [
                GraphNode(run_name(plan, name, trained, amount, seed), sources_of(plan, method, protocol))
                for amount in amounts
                for seed in plan.finetune_seeds
            ]
    return [*nodes, GraphNode(TABLE, tuple(node.name for node in nodes))]


def trained_methods(evaluation: EvaluationPlan, task: TaskPlan) -> list[tuple[str, str]]:
    """Return (method, protocol) of all that is trained on a task's labels step by step, in the order of the plan."""
    probed = [(method, ATTENTION) for method in evaluation.attention_probe]
    taught = [(method, TAUGHT) for method in evaluation.taught] if is_lesson(task) else []
    return [*probed, *((method, "finetune") for method in evaluation.finetune), *taught]


def is_lesson(task: TaskPlan) -> bool:
    """Return whether a task is one that a teacher teaches: of numbers."""
    return task.task == "regression"


def entries_of(evaluation: EvaluationPlan, protocol: str) -> list[int | str]:
    """Return the entries of labels that what is trained under a protocol is run with."""
    trained = evaluation.finetune_labels or evaluation.labels
    return evaluation.lessons(trained) if protocol == TAUGHT else trained


def probe_entries(evaluation: EvaluationPlan) -> list[int | str]:
    """Return the entries of labels that probes which a teacher taught are fitted with."""
    return evaluation.lessons(evaluation.labels)


def sources_of(plan: Plan, method: str, protocol: str) -> tuple[str, ...]:
    """Return the nodes that must be finished for a method under a protocol."""
    teachers = [source_of(plan, plan.evaluation.teacher)] if protocol == TAUGHT and plan.evaluation.teacher else []
    return tuple(dict.fromkeys([source_of(plan, method), *teachers]))


def source_of(plan: Plan, method: str) -> str:
    """Return the node that must be finished for a method: a stage, or the cohort where the encoder is given."""
    source = method if method in (*plan.stages, *plan.encoders) else plan.evaluation.random_encoder_of
    return COHORT if source in plan.encoders else source


def chosen(names: Iterable[str], plan: Plan, counts: Mapping[str, Mapping[int | str, int]], flag: str) -> list[str]:
    """Return nodes that a user names, as the graph with numbers names them.

    Args:
        names: As ``run_graph`` names them, with or without ``counts``.
        plan: The experiment.
        counts: As of ``run_graph``.
        flag: Of the command line, for the message.

    Raises:
        UserError: There is no such node; the nearest names are in the message.
    """
    known = {node.name: node.name for node in run_graph(plan, counts)}
    for task, amounts in counts.items():
        for method in (trained_as(*each) for each in trained_methods(plan.evaluation, plan.evaluation.tasks[task])):
            for seed in plan.finetune_seeds:
                for entry, count in amounts.items():
                    name = run_name(plan, task, method, count, seed)
                    if name in known:
                        known[run_name(plan, task, method, entry, seed)] = name
    found = []
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3) or list(known)[:6]
            raise UserError(
                f"{flag} {printable(name, 80)}: the experiment has no such part; it has {', '.join(close)}, ...: "
                "--dry-run shows all"
            )
        found.append(known[name])
    return list(dict.fromkeys(found))


def dependents(nodes: Collection[GraphNode], name: str) -> list[str]:
    """Return the names of all nodes that build on one, near or far, in their order."""
    found = {name}
    for node in nodes:
        if found.intersection(node.needs):
            found.add(node.name)
    return [node.name for node in nodes if node.name in found and node.name != name]
