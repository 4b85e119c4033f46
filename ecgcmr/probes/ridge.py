"""Closed-form ridge regression of many targets, each with its own missing labels, for a whole path of penalties.

One eigendecomposition of all rows serves every target and penalty. A target that lacks labels in some rows is solved
exactly from the same decomposition: a missing label is replaced by the model's own fit at that row, which takes away
the row's influence (its residual, hence its dual coefficient, is zero); that is a linear system of the size of the
number of missing rows. Where most rows are missing, decomposing the labelled rows anew is cheaper and is done instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RidgePath:
    """Solutions for L penalties and K targets on d features.

    Attributes:
        coefficients: (L, K, d).
        intercepts: (L, K), not penalised.
    """

    coefficients: Floats
    intercepts: Floats


def ridge_path(features: Floats, targets: Floats, penalties: Floats) -> RidgePath:
    """Minimise, per target, the squared error over its labelled rows + penalty x squared norm of the coefficients.

    Args:
        features: (n, d), finite; columns of about equal scale, since all share a penalty.
        targets: (n, K), NaN where the label is missing; each target needs at least one label.
        penalties: (L,), above 0; the ``alpha`` of scikit-learn's Ridge.

    Returns:
        The path, equal to Ridge(alpha).fit(rows with a label) for every target and penalty.

    Raises:
        ValueError: If a penalty is not positive, a feature not finite, or a target has no label.
    """
    observed = np.isfinite(targets)
    if not np.isfinite(features).all():
        raise ValueError("ridge regression: features hold NaN or infinity")
    if penalties.min() <= 0:
        raise ValueError(f"penalties must be above 0, got {penalties.min():g}")
    if not observed.any(axis=0).all():
        raise ValueError(f"target {int(np.flatnonzero(~observed.any(axis=0))[0])} has no label")
    size = (len(penalties), targets.shape[1])
    coefficients, intercepts = np.empty((*size, features.shape[1])), np.empty(size)
    everything = _Decomposition.of(features)
    for columns, rows in _patterns(observed):
        missing = np.flatnonzero(~rows)
        if _filling_is_cheaper(len(missing), features.shape, everything.rank, len(penalties)):
            decomposition, labels = everything, np.where(rows[:, None], targets[:, columns], 0.0)
        else:
            decomposition, labels = _Decomposition.of(features[rows]), targets[rows][:, columns]
            missing = np.empty(0, dtype=int)
        coefficients[:, columns], intercepts[:, columns] = decomposition.solve(labels, missing, penalties)
    return RidgePath(coefficients, intercepts)


def _patterns(observed: NDArray[np.bool_]) -> list[tuple[list[int], NDArray[np.bool_]]]:
    """Group the targets that are labelled in the same rows: [(columns, labelled rows)]."""
    groups: dict[bytes, list[int]] = {}
    for column in range(observed.shape[1]):
        groups.setdefault(np.packbits(observed[:, column]).tobytes(), []).append(column)
    return [(columns, observed[:, columns[0]]) for columns in groups.values()]


def _filling_is_cheaper(missing: int, shape: tuple[int, int], rank: int, penalties: int) -> bool:
    """Compare the multiplications of both routes; 10 k^3 is the usual count for a symmetric eigendecomposition."""
    rows = shape[0] - missing
    filling = penalties * missing**2 * (rank + missing / 3)
    small = min(rows, shape[1])
    anew = 10 * small**3 + rows * shape[1] * small
    return filling <= anew


@dataclass(frozen=True)
class _Decomposition:
    """Centred features = left (n, r) * singular (r,) @ right (r, d), with the mean (d,) that was taken off."""

    left: Floats
    singular: Floats
    right: Floats
    mean: Floats

    @classmethod
    def of(cls, features: Floats) -> _Decomposition:
        """Decompose through the smaller Gram matrix; directions of no variance are dropped."""
        mean = features.mean(axis=0)
        centred = features - mean
        tall = centred.shape[0] > centred.shape[1]
        values, vectors = np.linalg.eigh(centred.T @ centred if tall else centred @ centred.T)
        keep = values > max(values[-1], 0.0) * max(centred.shape) * np.finfo(np.float64).eps
        singular, vectors = np.sqrt(values[keep]), vectors[:, keep]
        if tall:
            return cls(centred @ vectors / singular, singular, vectors.T, mean)
        return cls(vectors, singular, (vectors.T @ centred) / singular[:, None], mean)

    @property
    def rank(self) -> int:
        return len(self.singular)

    def solve(self, labels: Floats, missing: NDArray[np.intp], penalties: Floats) -> tuple[Floats, Floats]:
        """Solve for labels (n, K) that are 0 in the rows ``missing``; return (L, K, d) and (L, K).

        With H the hat matrix of a penalty, filling the missing rows with z such that z = [H (labels + z)] there leaves
        them without influence. The intercept b comes from solving for the labels and for a column of ones: the
        labelled rows' residuals of (labels - b) must sum to 0.
        """
        n, count = labels.shape
        present = np.ones(n)
        present[missing] = 0.0
        sides = np.column_stack([labels, present])
        shrinkage = self.singular**2 / (self.singular**2 + penalties[:, None])
        scores = np.broadcast_to(self.left.T @ sides, (len(penalties), self.rank, count + 1))
        if len(missing):
            rows = self.left[missing]
            fitted = rows @ (shrinkage[:, :, None] * scores)
            hat = (rows * shrinkage[:, None, :]) @ rows.T
            scores = scores + rows.T @ np.linalg.solve(np.eye(len(missing)) - hat, fitted)
        residual_sums = present @ sides - ((present @ self.left) * shrinkage)[:, None, :] @ scores
        offsets = residual_sums[:, 0, :-1] / residual_sums[:, 0, -1:]
        gains = self.singular / (self.singular**2 + penalties[:, None])
        weights = gains[:, :, None] * (scores[:, :, :-1] - scores[:, :, -1:] * offsets[:, None, :])
        coefficients = np.swapaxes(weights, 1, 2) @ self.right
        return coefficients, offsets - coefficients @ self.mean
