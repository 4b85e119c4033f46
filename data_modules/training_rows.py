"""Which rows train a model, and which of them an epoch goes through: a selection, quality, balance, weights, shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from data_modules.sampling import rows_of_cohorts
from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_least
from ecgcmr.shards.index import ShardIndex, read_labels


@dataclass(frozen=True)
class TrainingChoice:
    """The choice that a data module makes among the rows of the training split.

    Attributes:
        selection: A named selection of the index; None for all.
        min_quality: Least ``signal_quality`` (0 to 1, NaN counts as 0) of an ECG; None for any.
        balance: A 0/1 label of which an epoch holds both classes alike; None for none.
        weight: A label that is not negative: the rows of an epoch are drawn in proportion to it; None for evenly.
        epoch_rows: Rows of an epoch over all devices; None for all.
        weights: Of several cohorts taken as one: in what proportion an epoch takes rows of them; None for all rows.

    Raises:
        UserError: If options exclude each other, or one is out of its range.
    """

    selection: str | None = None
    min_quality: float | None = None
    balance: str | None = None
    weight: str | None = None
    epoch_rows: int | None = None
    weights: list[float] | None = None

    def __post_init__(self) -> None:
        if self.epoch_rows is not None:
            check_least(1, epoch_rows=self.epoch_rows)
        if self.balance is not None and (self.weight is not None or self.epoch_rows is not None):
            other = "epoch_rows" if self.weight is None else "weight"
            raise UserError(f"balance and {other}: both choose the rows of an epoch; give one of them")
        if self.weight is not None and self.epoch_rows is None:
            raise UserError(f"weight {self.weight!r}: give epoch_rows too; an epoch of all rows has no use for weights")
        if self.weights is None:
            return
        if self.balance is not None or self.weight is not None:
            other = "weight" if self.balance is None else "balance"
            raise UserError(f"weights and {other}: both choose the rows of an epoch; give one of them")
        if not all(np.isfinite(weight) and weight >= 0 for weight in self.weights) or not any(self.weights):
            raise UserError(f"weights {self.weights}: write numbers from 0, at least one above it")

    def keep(self, index: ShardIndex, rows: np.ndarray) -> np.ndarray:
        """Return those of some rows (k,) that can come in an epoch, whatever their class; may be empty.

        Raises:
            UserError: If the selection or a label is not in the index, or a weight is negative or infinite.
        """
        if self.selection is not None:
            rows = np.intersect1d(rows, index.selection(self.selection), assume_unique=True)
        if self.min_quality is not None:
            quality = np.nan_to_num(read_labels(index, ["signal_quality"], rows)[:, 0])
            rows = rows[quality >= self.min_quality]
        if self.weight is not None:
            drawable = rows[self._weights(index, rows) > 0]
            if len(rows) and not len(drawable):
                raise UserError(f"weight {self.weight!r}: is 0 or missing in every training row; take another label")
            rows = drawable
        return rows

    def sampler_options(self, index: ShardIndex, rows: np.ndarray) -> dict[str, Any]:
        """Return ``rows`` of an ``EpochBatchSampler``, and what else it chooses those of an epoch by.

        Args:
            index: The cohort.
            rows: (k,) those of ``keep``, or some of them.

        Raises:
            UserError: If the label to balance is not one of 0 and 1, or unknown, or a cohort has too few rows.
        """
        if self.weights is not None:
            cohort = index.cohort_numbers(rows)
            available = np.bincount(cohort, minlength=len(self.weights)).tolist()
            return {"rows": rows, "cohort": cohort, "take": rows_of_cohorts(available, self.weights, self.epoch_rows)}
        if self.balance is not None:
            [column] = index.label_columns([self.balance])
            if not index.layout.labels[column].is_binary:
                raise UserError(f"balance {self.balance!r}: is not a label of 0 and 1")
            values = read_labels(index, [self.balance], rows)[:, 0]
            known = ~np.isnan(values)
            return {"rows": rows[known], "positive": values[known] > 0.5}
        weights = None if self.weight is None else self._weights(index, rows)
        return {"rows": rows, "weights": weights, "epoch_rows": self.epoch_rows}

    def _weights(self, index: ShardIndex, rows: np.ndarray) -> np.ndarray:
        """Return the weights (k,) of rows; missing ones are 0."""
        values = read_labels(index, [str(self.weight)], rows)[:, 0]
        values = np.where(np.isnan(values), 0.0, values).astype(np.float64)
        if (values < 0).any() or np.isinf(values).any():
            bad = int(((values < 0) | np.isinf(values)).sum())
            raise UserError(
                f"weight {self.weight!r}: is negative or infinite in {bad} training rows; take another label"
            )
        return values
