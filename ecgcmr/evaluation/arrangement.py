"""From a table of predictions to arrays: one truth for all methods, and each method's predictions on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.evaluation.methods import method_order, method_title
from ecgcmr.evaluation.rows import Target
from ecgcmr.evaluation.training_ends import ENDS
from ecgcmr.metrics.catalogue import Metric
from ecgcmr.metrics.tasks import Task, labelled, task_for
from ecgcmr.phenotypes import phenotype_positions, phenotypes
from ecgcmr.text import printable

Floats = NDArray[np.float64]

_COVARIATE_DECIMALS = 3
_SAME = 1e-5  # truths that differ by less, relatively, were rounded differently (float32)


@dataclass(frozen=True, order=True)
class Variant:
    """One line of a table.

    Attributes:
        method: Such as "mae+alignment".
        protocol: "linear_probe", "layer_probe", "attention_probe", "finetune", "taught_probe",
            "taught", "stack" or None.
        labels: Labelled training recordings, or None.
    """

    method: str
    protocol: str | None
    labels: int | None

    @property
    def line(self) -> tuple[str, str | None]:
        """Method and protocol, without the number of labels."""
        return self.method, self.protocol


def title_of(variant: Variant) -> str:
    """Return "mae, linear probe, 400 labels" and the like."""
    labels = "" if variant.labels is None else f", {variant.labels:,} labels"
    return f"{method_title(variant.line)}{labels}"


@dataclass(frozen=True)
class SplitData:
    """One split of a table of predictions; n recordings, K targets.

    Attributes:
        subjects: (n,) subject of each recording, sorted; several recordings may share one.
        truth: (n, K) numbers, 0/1, or whether the event came; NaN missing.
        time: (n, K) time to the event or to censoring; NaN where the target is of another kind.
        predictions: Variant -> seed -> (n, K), NaN where the method predicted nothing.
        covariates: Name -> (n,) of ``sex``, ``age``, ``heart_rate`` and ``signal_quality``, those that the table has.
        asked: Variant -> (K,): of which targets the table has rows.
        ended: Variant -> (K,): how training ended, the worst over seeds, as a position in ``ENDS``.
    """

    subjects: NDArray
    truth: Floats
    time: Floats
    predictions: dict[Variant, dict[int, Floats]]
    covariates: dict[str, NDArray] = field(default_factory=dict)
    asked: dict[Variant, NDArray[np.bool_]] = field(default_factory=dict)
    ended: dict[Variant, NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Arrangement:
    """A table of predictions as arrays.

    Attributes:
        targets: K targets: those that ``arrange`` was given in their order, then those with a declared phenotype in its
            order, then others by name.
        task_of_target: (K,) the task of each target.
        test: The split that is scored.
        validation: The split on which thresholds are chosen; it may have no rows.
    """

    targets: tuple[Target, ...]
    task_of_target: tuple[Task, ...]
    test: SplitData
    validation: SplitData

    @property
    def tasks(self) -> list[Task]:
        """The tasks in the order of tables: by kind, then as their targets stand."""
        return labelled(self.task_of_target)

    def columns(self, task: Task) -> NDArray[np.intp]:
        """Return the columns of a task's targets."""
        return np.array([k for k, found in enumerate(self.task_of_target) if found == task], dtype=np.intp)

    @property
    def observed(self) -> NDArray[np.bool_]:
        """(n, K): where the test truth is known."""
        followed = np.array([task.followed for task in self.task_of_target], dtype=bool)
        return np.isfinite(self.test.truth) & (np.isfinite(self.test.time) | ~followed)

    def truth(self, task: Task, rows: NDArray[np.intp]) -> Floats:
        """Return the test truth of a task's targets as its ``score`` takes it, of some rows."""
        at = np.ix_(rows, self.columns(task))
        truth = self.test.truth[at]
        return np.stack([truth, self.test.time[at]], axis=2) if task.followed else truth

    def one_seed(self, variant: Variant) -> Floats:
        """Return the test predictions (n, K) of a variant's first seed: what one trained model says."""
        seeds = self.test.predictions[variant]
        return seeds[min(seeds)]

    def ended(self, task: Task, places: Sequence[int], *variants: Variant) -> str:
        """Return how training ended: the worst over variants and some of a task's targets, one of ``ENDS``."""
        columns = self.columns(task)[places]
        return ENDS[max(int(self.test.ended[variant][columns].max(initial=0)) for variant in variants)]

    @property
    def variants(self) -> list[Variant]:
        """Return the variants in the order of tables: method, protocol, number of labels."""
        found = list(self.test.predictions)
        lines = method_order(variant.line for variant in found)
        return sorted(found, key=lambda v: (lines.index(v.line), -1 if v.labels is None else v.labels))

    def variants_in(self, task: Task) -> list[Variant]:
        """Return those of the variants that the table has rows of in a task."""
        columns = self.columns(task)
        return [variant for variant in self.variants if self.test.asked[variant][columns].any()]


def arrange(
    table: pd.DataFrame,
    name: str,
    *,
    split: str = "test",
    targets: Sequence[Target] = (),
    tasks: Sequence[Task] = (),
    metrics: Sequence[Metric] = (),
) -> Arrangement:
    """Turn a checked table into arrays.

    Args:
        table: From ``read_prediction_table``.
        name: For messages.
        split: The split to score; "val" serves as validation where it is not that.
        targets: Order and titles of the targets that are known to who asks.
        tasks: Labels of the tasks that are known to who asks.
        metrics: Of the user's own, for the tasks of their kind.

    Raises:
        UserError: If the split has no rows, or two methods were given different truths.
    """
    parts = dict(list(table.groupby("split", observed=True)))
    if split not in parts:
        raise UserError(f"{name}: no rows of split {split}; it has {', '.join(sorted(map(str, parts)))}")
    names = _ordered(table["target"].cat.categories, targets)
    _refuse_scattered(table, name)
    declared, found = _declared(table, names, name, {target.name: target.title for target in targets})
    known = {task: task for task in tasks}
    found = tuple(known.get(task, task).with_metrics(metrics) for task in found)
    empty = table.iloc[:0]
    validation = empty if split == "val" else parts.get("val", empty)
    test, chosen = (_split_data(rows, names, found, name) for rows in (parts[split], validation))
    return Arrangement(declared, found, test, chosen)


_MOST_CELLS = 200_000_000
_LEAST_FILLED = 0.01


def _refuse_scattered(table: pd.DataFrame, name: str) -> None:
    """Refuse a table whose rows would fill next to nothing of an array of subjects by targets by methods.

    Raises:
        UserError: The array would be larger than the memory of a machine, and nearly empty.
    """
    lines = table[["method", "protocol", "labels", "seed"]].drop_duplicates()
    subjects, targets = (len(table[column].cat.categories) for column in ("subject", "target"))
    cells = subjects * targets * (len(lines) + 3)
    if cells > _MOST_CELLS and len(table) < _LEAST_FILLED * cells:
        raise UserError(
            f"{name}: {len(table):,} rows for {subjects:,} subjects, {targets:,} targets and {len(lines):,} "
            "methods and seeds; a table of predictions has nearly every combination, is a column in the wrong place?"
        )


def _ordered(names: pd.Index, given: Sequence[Target]) -> list[str]:
    known = dict.fromkeys([*(target.name for target in given), *phenotype_positions()])
    place = {name: k for k, name in enumerate(known)}
    return sorted(map(str, names), key=lambda name: (place.get(name, len(place)), name))


def _declared(
    table: pd.DataFrame, names: list[str], where: str, titles: Mapping[str, str]
) -> tuple[tuple[Target, ...], tuple[Task, ...]]:
    """Say what each target is: from the table's columns, else from the declared phenotypes, else from its values."""
    targets, tasks = [], dict[str, Task]()
    for name, rows in sorted(table.groupby("target", observed=True), key=lambda item: names.index(str(item[0]))):
        columns = ("unit", "group", "kind", "task")
        given = {column: _single(rows[column], column, str(name), where) for column in columns}
        position = phenotype_positions().get(str(name))
        phenotype = None if position is None else phenotypes()[position]
        task = task_for(given["kind"] or _guessed_kind(rows, known=phenotype is not None), given["task"] or "")
        other = next((known.kind for known in tasks.values() if known.name == task.name and known != task), None)
        if other is not None:
            raise UserError(
                f"{where}: task '{printable(task.name, 60)}' has a target that is a {task.kind} and one of "
                f"{other}; name a task for each"
            )
        if task.binary and not rows["truth"].dropna().isin((0.0, 1.0)).all():
            raise UserError(f"{where}: {printable(name, 60)} is a classification, but its truth is not 0 and 1 alone")
        group = given["group"] or (phenotype.group if phenotype else "other" if task.grouped else "disease")
        unit = given["unit"] or (phenotype.unit if phenotype else "")
        title = titles.get(str(name), "") or (phenotype.title if phenotype else "")
        targets.append(Target(str(name), group, unit, title))
        tasks[str(name)] = task
    return tuple(targets), tuple(tasks.values())


def _single(values: pd.Series, column: str, target: str, where: str) -> str | None:
    found = values.dropna().unique().tolist()
    if len(found) > 1:
        raise UserError(f"{where}: {column} of {target} is both '{found[0]}' and '{found[1]}'")
    return str(found[0]) if found else None


def _guessed_kind(rows: pd.DataFrame, *, known: bool) -> str:
    truth = rows["truth"].dropna()
    if truth.empty and rows["event"].notna().any() and rows["time"].notna().any():
        return "time_to_event"
    binary = not truth.empty and bool(truth.isin((0.0, 1.0)).all())
    return "classification" if binary and not known else "regression"


def _split_data(rows: pd.DataFrame, names: list[str], tasks: Sequence[Task], where: str) -> SplitData:
    subject = rows["subject"].cat.remove_unused_categories().cat  # sorted by name
    numbers, number = np.unique(rows["recording"].to_numpy(), return_inverse=True)
    recordings, row = np.unique(subject.codes.to_numpy(np.int64) * len(numbers) + number, return_inverse=True)
    subjects = subject.categories.to_numpy(dtype=str)[recordings // max(len(numbers), 1)]
    place = {name: k for k, name in enumerate(names)}
    column = np.array([place[str(name)] for name in rows["target"].cat.categories], dtype=np.intp)
    column = column[rows["target"].cat.codes.to_numpy()]
    shape = (len(subjects), len(names))
    followed = np.array([task.followed for task in tasks], dtype=bool)[column]
    known = rows["event"].where(followed, rows["truth"]), rows["time"].where(followed)
    truth, time = (_one_truth(values.to_numpy(dtype=np.float64), row, column, shape, names, where) for values in known)
    predictions: dict[Variant, dict[int, Floats]] = {}
    asked: dict[Variant, NDArray[np.bool_]] = {}
    ended: dict[Variant, NDArray[np.int64]] = {}
    ends = np.array([*map(ENDS.index, rows["ended"].cat.categories), 0], dtype=np.int64)
    ends = ends[rows["ended"].cat.codes.to_numpy()]  # the code of no text is -1, the last
    values = rows["prediction"].to_numpy(dtype=np.float64)
    keys = rows[["method", "protocol", "labels", "seed"]].astype({"method": object, "protocol": object})
    positions = keys.groupby(["method", "protocol", "labels", "seed"], dropna=False, sort=True).indices
    for (method, protocol, labels, seed), at in positions.items():
        variant = Variant(method, None if pd.isna(protocol) else protocol, None if pd.isna(labels) else int(labels))
        matrix = np.full(shape, np.nan)
        matrix[row[at], column[at]] = values[at]
        predictions.setdefault(variant, {})[int(seed)] = matrix
        asked.setdefault(variant, np.zeros(len(names), dtype=bool))[column[at]] = True
        np.maximum.at(ended.setdefault(variant, np.zeros(len(names), dtype=np.int64)), column[at], ends[at])
    covariates = {
        what: _per_recording(rows[what], row, len(subjects), what, where)
        for what in ("sex", "age", "heart_rate", "signal_quality")
        if rows[what].notna().any()
    }
    return SplitData(subjects, truth, time, predictions, covariates, asked, ended)


def _one_truth(
    values: Floats, row: NDArray, column: NDArray, shape: tuple[int, int], names: list[str], where: str
) -> Floats:
    """Gather (n, K) from long rows; all rows of a recording and target must agree."""
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    missing, given = np.zeros(shape, dtype=bool), np.isfinite(values)
    np.minimum.at(low, (row[given], column[given]), values[given])
    np.maximum.at(high, (row[given], column[given]), values[given])
    missing[row[~given], column[~given]] = True
    seen = np.isfinite(low)
    with np.errstate(invalid="ignore"):
        differs = (high - low > _SAME * np.maximum(np.abs(high), np.abs(low))) & seen
    differs |= missing & seen
    if differs.any():
        k = int(np.flatnonzero(differs.any(axis=0))[0])
        raise UserError(
            f"{where}: the truth of {names[k]} differs between methods or seeds for {int(differs[:, k].sum()):,} "
            "subjects; methods can only be compared on one truth"
        )
    return np.where(seen, low, np.nan)


def _per_recording(values: pd.Series, row: NDArray, count: int, what: str, where: str) -> NDArray:
    """Return the one value of each recording, None where unknown."""
    known = values.notna().to_numpy()
    given = values.astype(object).to_numpy()[known]
    plain = [round(float(value), _COVARIATE_DECIMALS) if _is_number(value) else str(value) for value in given]
    single = pd.DataFrame({"row": row[known], "value": plain}, dtype=object).drop_duplicates()
    if single["row"].duplicated().any():
        raise UserError(f"{where}: {what} of a subject differs between rows; it must be one value a recording")
    gathered = np.full(count, None, dtype=object)
    gathered[single["row"].to_numpy(dtype=np.intp)] = single["value"].to_numpy()
    return gathered


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
