"""Reading evaluation/TASK/results.json back: targets, scores, subgroups and differences, every entry checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from ecgcmr.errors import UserError
from ecgcmr.evaluation.costs import CostRow
from ecgcmr.evaluation.published import PublishedRow
from ecgcmr.evaluation.result_file import FORMAT
from ecgcmr.evaluation.result_rows import CHECKS, result_rows, shown
from ecgcmr.evaluation.rows import DifferenceRow, ScoreRow, SubgroupRow
from ecgcmr.json_file import finite_number, read_json
from ecgcmr.metrics.catalogue import METRICS, Metric
from ecgcmr.metrics.tasks import Task, labelled, task_for

R = TypeVar("R")
_INFINITE = float("inf")


@dataclass(frozen=True)
class TargetFacts:
    """What an assessment says of a target.

    Attributes:
        name: Column name.
        group: Its group.
        kind: Of its task.
        task_name: Name of its task.
        n_test: Test subjects whose truth is known.
        n_missing: Those whose truth is not.
        positives: Test subjects with the disease or event; None of a number.
        unit: "" if it has none.
        title: "" if it has none.
        undefined: Why it cannot be scored; "" if it can.
    """

    name: str
    group: str
    kind: str
    task_name: str
    n_test: int
    n_missing: int
    positives: int | None = None
    unit: str = ""
    title: str = ""
    undefined: str = ""


@dataclass(frozen=True)
class AssessmentFile:
    """The content of a results.json of ``ecgcmr evaluate``, or of one task of an experiment.

    Attributes:
        split: The split that was scored.
        resamples: Bootstrap resamples behind each interval.
        level: Coverage of the intervals.
        focus: Method compared with every other; None: all pairs.
        notes: What a reader must know.
        tasks: In the order of tables.
        targets: In the order of the file.
        scores: All of them.
        subgroups: All of them.
        differences: All of them.
        published: Scores of others beside them.
        costs: Of networks among the methods.
    """

    split: str
    resamples: int
    level: float
    focus: str | None
    notes: tuple[str, ...]
    tasks: tuple[Task, ...]
    targets: tuple[TargetFacts, ...]
    scores: tuple[ScoreRow, ...]
    subgroups: tuple[SubgroupRow, ...]
    differences: tuple[DifferenceRow, ...]
    published: tuple[PublishedRow, ...]
    costs: tuple[CostRow, ...]


def read_assessment(path: Path) -> AssessmentFile:
    """Read a results.json that ``write_assessment`` wrote; null becomes NaN where a number belongs.

    A metric that this program does not know, one of the user's own, is called by its key, and neither way is better.

    Args:
        path: The file.

    Raises:
        UserError: The file is missing, no sound JSON, of another format, or an entry is not what it should be.
    """
    content = read_json(path, what="assessment")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: no assessment of the format {FORMAT}; write it again with 'ecgcmr evaluate'")
    settings = content.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    for name, (is_right, wanted) in _SETTINGS.items():
        if not is_right(settings.get(name)):
            raise UserError(f"{path}: settings: {name} is {shown(settings.get(name))}; it must be {wanted}")
    notes = content.get("notes")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise UserError(f"{path}: notes must be a list of texts")
    scores = content.get("scores")
    own = _unknown_metrics(scores)
    plain = result_rows(scores, path, own)  # checks bounds and repetitions, too
    kinds = dict.fromkeys((row.task, row.task_name) for row in plain)
    found = AssessmentFile(
        **{name: settings[name] for name in _SETTINGS},
        notes=tuple(notes),
        tasks=tuple(labelled(task_for(*kind).with_metrics(own) for kind in kinds)),
        targets=tuple(_rows(TargetFacts, content.get("targets"), f"{path}: target", _TARGET)),
        scores=tuple(_rows(ScoreRow, scores, f"{path}: row", _SCORE)),
        subgroups=tuple(_rows(SubgroupRow, content.get("subgroups"), f"{path}: subgroup", _SUBGROUP)),
        differences=tuple(_rows(DifferenceRow, content.get("differences"), f"{path}: difference", _DIFFERENCE)),
        published=tuple(_rows(PublishedRow, content.get("published", []), f"{path}: published score", _PUBLISHED)),
        costs=tuple(_rows(CostRow, content.get("costs", []), f"{path}: cost", _COST)),
    )
    scored = {(row.task, row.task_name, row.metric) for row in plain}
    others: tuple[SubgroupRow | DifferenceRow | PublishedRow, ...]
    others = (*found.subgroups, *found.differences, *found.published)
    for row in others:
        if (row.task, row.task_name, row.metric) not in scored:
            raise UserError(f"{path}: has {shown(row.metric)} of {shown(row.task_name)} without scores of it")
    return found


def _unknown_metrics(records: Any) -> list[Metric]:
    """Return a metric of any range for every key that is not built in."""
    rows = [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []
    found = dict.fromkeys((row.get("metric"), row.get("task")) for row in rows)
    return [
        Metric(key, key, kind, -_INFINITE, _INFINITE, None)
        for key, kind in found
        if isinstance(key, str) and isinstance(kind, str) and key not in METRICS
    ]


Check = tuple[Callable[[Any], bool], str]


def _rows(kind: type[R], records: Any, where: str, checks: Mapping[str, Check]) -> Iterable[R]:
    """Make one object of ``kind`` of each record; entries that the files of earlier versions lack take a default."""
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise UserError(f"{where}s: no list of entries; the file is damaged, write it again")
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    defaults = {field.name: field.default for field in fields(kind) if field.default is not MISSING}  # type: ignore[arg-type]
    for number, record in enumerate(records, start=1):
        named = record.get("task", record.get("kind"))
        given = {"task_name": named, **_EARLIER, **defaults, **record}
        for name in names:
            is_right, wanted = checks[name]
            if not is_right(given.get(name)):
                raise UserError(f"{where} {number}: {name} is {shown(given.get(name))}; it must be {wanted}")
        yield kind(**{name: _number(name, given[name]) for name in names})


_EARLIER = {"n_seeds": 1, "seed_sd": None, "reason": ""}
_FLOATS = ("value", "ci_low", "ci_high", "seed_sd", "p", "p_holm")


def _number(name: str, value: Any) -> Any:
    if name not in _FLOATS:
        return value
    return float("nan") if value is None else float(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_TEXT: Check = (lambda value: isinstance(value, str), "a text")
_COUNT: Check = (_is_count, "a whole number from 0")
_COUNT_OR_NULL: Check = (lambda value: value is None or _is_count(value), "a whole number from 0 or null")
_NUMBER: Check = (lambda value: value is None or finite_number(value), "a number or null")
_SETTINGS: dict[str, Check] = {
    "split": _TEXT,
    "resamples": _COUNT,
    "level": (finite_number, "a number"),
    "focus": (lambda value: value is None or isinstance(value, str), "a text or null"),
}
_TARGET: dict[str, Check] = {
    **{name: CHECKS[name] for name in ("group", "task_name")},
    "name": CHECKS["target"],
    "kind": CHECKS["task"],
    "n_test": _COUNT,
    "n_missing": _COUNT,
    "positives": _COUNT_OR_NULL,
    **dict.fromkeys(("unit", "title", "undefined"), _TEXT),
}
_SCORE: dict[str, Check] = {**CHECKS, "n_seeds": _COUNT, "seed_sd": _NUMBER, "reason": _TEXT}
_SUBGROUP: dict[str, Check] = {
    **CHECKS,
    "n_test": _COUNT_OR_NULL,
    **dict.fromkeys(("attribute", "subgroup", "reason"), _TEXT),
}
_DIFFERENCE: dict[str, Check] = {
    **CHECKS,
    "reference": CHECKS["method"],
    "reference_protocol": CHECKS["protocol"],
    "p": _NUMBER,
    "p_holm": _NUMBER,
    "family": _COUNT,
}
_COST: dict[str, Check] = {
    "method": CHECKS["method"],
    **dict.fromkeys(("parameters", "operations", "batch"), _COUNT),
    "recordings_per_s": (finite_number, "a number"),
    "measured_on": _TEXT,
}
_PUBLISHED: dict[str, Check] = {
    **{name: CHECKS[name] for name in ("method", "task", "task_name", "metric", "labels")},
    **dict.fromkeys(("source", "asked"), CHECKS["target"]),
    "value": (finite_number, "a number"),
}
