"""``published`` of an experiment: scores of others that its tables show beside its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ecgcmr.errors import UserError
from ecgcmr.evaluation.published import PublishedRow
from ecgcmr.experiments.plan_checks import FRACTION, is_amount
from ecgcmr.metrics.tasks import TASKS, Task
from ecgcmr.text import LONGEST_NAME, printable

if TYPE_CHECKING:
    from ecgcmr.experiments.plan import Plan, PublishedPlan

_ALL = "all"


def check_published(plan: Plan, where: str) -> None:
    """Refuse scores of no task, without a source, or that their metric cannot have.

    Args:
        plan: The experiment.
        where: Name of its file, for messages.

    Raises:
        UserError: In one line that names the entry.
    """
    seen = set[tuple[str, str, str]]()
    for number, entry in enumerate(plan.published):
        here = f"{where}: published[{number}]"
        for name in ("method", "source"):
            text = getattr(entry, name)
            if not text.strip() or printable(text, LONGEST_NAME) != text:
                raise UserError(f"{here}.{name}: write a line of at most {LONGEST_NAME} characters")
        if not entry.scores:
            raise UserError(f"{here}.scores: is empty; write TASK: value, such as {_example(plan)}: 0.9")
        for name, score in entry.scores.items():
            if score == {}:
                raise UserError(f"{here}.scores.{printable(name, 60)}: is empty; write a score, or null for none")
        for name, asked, value in scores_in(entry):
            key = f"{here}.scores.{name}"
            if name not in plan.evaluation.tasks:
                raise UserError(f"{key}: '{printable(name, 60)}' is no task; one of {', '.join(plan.evaluation.tasks)}")
            if not is_amount(asked):
                raise UserError(
                    f"{key}: '{printable(asked, 60)}' is no number of labels; write the score, or scores by entries of "
                    "labels, such as {all: 0.9, 10 %: 0.8}"
                )
            _check_value(TASKS[plan.evaluation.tasks[name].task], value, key)
            if (entry.method, name, _same(asked)) in seen:
                raise UserError(f"{key}: {entry.method} has a score of {name} at {asked} labels twice; keep one")
            seen.add((entry.method, name, _same(asked)))


def _example(plan: Plan) -> str:
    return next(iter(plan.evaluation.tasks), "TASK")


def _check_value(task: Task, value: Any, where: str) -> None:
    metric = task.metric(task.primary)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not metric.low <= value <= metric.high:
        raise UserError(
            f"{where} is {printable(repr(value), 40)}; it is a mean {metric.title} over the targets of the task, from "
            f"{metric.low:g} to {metric.high:g}; null where none is published"
        )


def _same(asked: int | str) -> str:
    """Return an entry of ``labels`` in one spelling: ``10%`` and ``10.0 %`` are ``10 %``."""
    part = FRACTION.fullmatch(str(asked))
    return str(asked) if part is None else f"{float(part[1]):g} %"


def scores_in(entry: PublishedPlan) -> Iterator[tuple[str, int | str, Any]]:
    """Give (task, entry of ``labels``, value) of each score; null says that there is none."""
    for task, value in entry.scores.items():
        by_labels = value if isinstance(value, Mapping) else {_ALL: value}
        yield from ((task, asked, one) for asked, one in by_labels.items() if one is not None)


def published_rows(plan: Plan, task: Task, counts: Mapping[int | str, int]) -> list[PublishedRow]:
    """Return what others have published of a task.

    Args:
        plan: The experiment.
        task: Of its own, under its name.
        counts: Entry of ``labels`` -> number of labelled training recordings, of those that were run.
    """
    run = {_same(asked): count for asked, count in counts.items()}
    return [
        PublishedRow(
            entry.method,
            entry.source,
            task.kind,
            task.name,
            task.primary,
            _same(asked),
            run.get(_same(asked)),
            float(value),
        )
        for entry in plan.published
        for name, asked, value in scores_in(entry)
        if name == task.name
    ]
