"""From a table of predictions to arrays: one truth for all methods, and each method's predictions on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.evaluation.results import Target
from ecgcmr.phenotypes import phenotype_positions, phenotypes
from ecgcmr.reports.tables import method_order, method_title
from ecgcmr.text import printable

Floats = NDArray[np.float64]

_COVARIATE_DECIMALS = 3
_SAME = 1e-5  # truths that differ by less, relatively, were rounded differently (float32)


@dataclass(frozen=True, order=True)
class Variant:
    """One line of a table.

    Attributes:
        method: Such as "mae+alignment".
        protocol: "linear_probe", "finetune" or None.
        labels: Labelled training subjects, or None.
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
    """One split of a table of predictions; n subjects, K targets.

    Attributes:
        subjects: (n,) sorted.
        truth: (n, K) numbers or 0/1, NaN missing; NaN throughout for a time to an event.
        time: (n, K) time to the event or to censoring; NaN for other kinds.
        event: (n, K) 1 event, 0 censored; NaN for other kinds.
        predictions: Variant -> seed -> (n, K), NaN where the method predicted nothing.
        covariates: Name -> (n,) of ``sex``, ``age``, ``heart_rate`` and ``signal_quality``, those that the table has.
    """

    subjects: NDArray
    truth: Floats
    time: Floats
    event: Floats
    predictions: dict[Variant, dict[int, Floats]]
    covariates: dict[str, NDArray] = field(default_factory=dict)

    def observed(self, kinds: Mapping[int, str]) -> NDArray[np.bool_]:
        """Return (n, K): where the truth is known."""
        both = np.isfinite(self.time) & np.isfinite(self.event)
        event = np.array([kinds[k] == "time_to_event" for k in range(self.truth.shape[1])], dtype=bool)
        return np.where(event, both, np.isfinite(self.truth))


@dataclass(frozen=True)
class Arrangement:
    """A table of predictions as arrays.

    Attributes:
        targets: K targets: those that ``arrange`` was given in their order, then those with a declared phenotype in its
            order, then others by name.
        kinds: (K,) "regression", "classification" or "time_to_event".
        test: The split that is scored.
        validation: The split on which thresholds are chosen; it may have no rows.
    """

    targets: tuple[Target, ...]
    kinds: tuple[str, ...]
    test: SplitData
    validation: SplitData

    def columns(self, kind: str) -> NDArray[np.intp]:
        """Return the columns of the targets of a kind."""
        return np.array([k for k, own in enumerate(self.kinds) if own == kind], dtype=np.intp)

    @property
    def observed(self) -> NDArray[np.bool_]:
        """(n, K): where the test truth is known."""
        return self.test.observed(dict(enumerate(self.kinds)))

    def one_seed(self, variant: Variant) -> Floats:
        """Return the test predictions (n, K) of a variant's first seed: what one trained model says."""
        own = self.test.predictions[variant]
        return own[min(own)]

    @property
    def variants(self) -> list[Variant]:
        """Return the variants in the order of tables: method, protocol, number of labels."""
        found = list(self.test.predictions)
        lines = method_order(variant.line for variant in found)
        return sorted(found, key=lambda v: (lines.index(v.line), -1 if v.labels is None else v.labels))


def arrange(table: pd.DataFrame, name: str, *, split: str = "test", targets: Sequence[Target] = ()) -> Arrangement:
    """Turn a checked table into arrays.

    Args:
        table: From ``read_prediction_table``.
        name: For messages.
        split: The split to score; "val" serves as validation where it is not that.
        targets: Order and titles of the targets that are known to who asks.

    Raises:
        UserError: If the split has no rows, or two methods were given different truths.
    """
    parts = dict(list(table.groupby("split", observed=True)))
    if split not in parts:
        raise UserError(f"{name}: no rows of split {split}; it has {', '.join(sorted(map(str, parts)))}")
    names = _ordered(table["target"].cat.categories, targets)
    _refuse_scattered(table, name)
    declared, kinds = _declared(table, names, name, {target.name: target.title for target in targets})
    empty = table.iloc[:0]
    validation = empty if split == "val" else parts.get("val", empty)
    return Arrangement(declared, kinds, _split_data(parts[split], names, name), _split_data(validation, names, name))


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
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Tell what each target is: from the table's columns, else from the declared phenotypes, else from its values."""
    targets, kinds = [], []
    for name, rows in sorted(table.groupby("target", observed=True), key=lambda item: names.index(str(item[0]))):
        said = {column: _single(rows[column], column, str(name), where) for column in ("unit", "group", "kind")}
        position = phenotype_positions().get(str(name))
        phenotype = None if position is None else phenotypes()[position]
        kind = said["kind"] or _guessed_kind(rows, known=phenotype is not None)
        if kind == "classification" and not rows["truth"].dropna().isin((0.0, 1.0)).all():
            raise UserError(f"{where}: {printable(name, 60)} is a classification, but its truth is not 0 and 1 alone")
        group = said["group"] or (phenotype.group if phenotype else "disease" if kind != "regression" else "other")
        unit = said["unit"] or (phenotype.unit if phenotype else "")
        title = titles.get(str(name), "") or (phenotype.title if phenotype else "")
        targets.append(Target(str(name), group, unit, title))
        kinds.append(kind)
    return tuple(targets), tuple(kinds)


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


def _split_data(rows: pd.DataFrame, names: list[str], where: str) -> SplitData:
    own = rows["subject"].cat.remove_unused_categories().cat  # sorted by name
    subjects, row = own.categories.to_numpy(dtype=str), own.codes.to_numpy(dtype=np.intp)
    place = np.array([names.index(str(target)) for target in rows["target"].cat.categories], dtype=np.intp)
    column = place[rows["target"].cat.codes.to_numpy()]
    shape = (len(subjects), len(names))
    truth, time, event = (
        _one_truth(rows[what].to_numpy(dtype=np.float64), row, column, shape, names, where)
        for what in ("truth", "time", "event")
    )
    predictions: dict[Variant, dict[int, Floats]] = {}
    values = rows["prediction"].to_numpy(dtype=np.float64)
    keys = rows[["method", "protocol", "labels", "seed"]].astype({"method": object, "protocol": object})
    positions = keys.groupby(["method", "protocol", "labels", "seed"], dropna=False, sort=True).indices
    for (method, protocol, labels, seed), at in positions.items():
        variant = Variant(method, None if pd.isna(protocol) else protocol, None if pd.isna(labels) else int(labels))
        matrix = np.full(shape, np.nan)
        matrix[row[at], column[at]] = values[at]
        predictions.setdefault(variant, {})[int(seed)] = matrix
    covariates = {
        what: _per_subject(rows[what], row, len(subjects), what, where)
        for what in ("sex", "age", "heart_rate", "signal_quality")
        if rows[what].notna().any()
    }
    return SplitData(subjects, truth, time, event, predictions, covariates)


def _one_truth(
    values: Floats, row: NDArray, column: NDArray, shape: tuple[int, int], names: list[str], where: str
) -> Floats:
    """Gather (n, K) from long rows; all rows of a subject and target must agree."""
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


def _per_subject(values: pd.Series, row: NDArray, count: int, what: str, where: str) -> NDArray:
    """Return a subject's own value, None or NaN where unknown."""
    known = values.notna().to_numpy()
    given = values.astype(object).to_numpy()[known]
    plain = [round(float(value), _COVARIATE_DECIMALS) if _is_number(value) else str(value) for value in given]
    own = pd.DataFrame({"row": row[known], "value": plain}, dtype=object).drop_duplicates()
    if own["row"].duplicated().any():
        raise UserError(f"{where}: {what} of a subject differs between rows; it must be one value a subject")
    gathered = np.full(count, None, dtype=object)
    gathered[own["row"].to_numpy(dtype=np.intp)] = own["value"].to_numpy()
    return gathered


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
