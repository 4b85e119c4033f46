"""What the linear probes share: standardised features, penalties chosen by validation rows, a report on each target."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass
class Probe:
    """A linear model of K targets on frozen features, whose penalties validation rows choose.

    Attributes:
        max_validation_rows: Use only the first so many validation rows; None uses all (``linear_probe`` says what
            either means).
        unavailable: After ``fit``: column -> why the target has no prediction.
        notes: After ``fit``: column -> what was done differently for it.
        chosen: After ``fit``: (K,) penalty of each target, NaN if unavailable.
    """

    max_validation_rows: int | None = field(default=None, kw_only=True)
    unavailable: dict[int, str] = field(default_factory=dict, init=False)
    notes: dict[int, str] = field(default_factory=dict, init=False)
    chosen: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), init=False)

    def _arrays(
        self,
        features: ArrayLike,
        targets: ArrayLike,
        validation_features: ArrayLike,
        validation_targets: ArrayLike,
        each: tuple[int, ...] = (),
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return what ``fit`` is given as checked arrays; a target is a number, or numbers of shape ``each``."""
        x, y = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
        x_val = np.asarray(validation_features, dtype=np.float64)[: self.max_validation_rows]
        y_val = np.asarray(validation_targets, dtype=np.float64)[: self.max_validation_rows]
        if x.ndim != 2 or y.shape[:1] + y.shape[2:] != (len(x), *each) or y.ndim < 2 or len(x) < 2:
            shape = ", ".join(map(str, ("n", "K", *each)))
            raise ValueError(f"features {x.shape} and targets {y.shape} must be (n, d) and ({shape}), n at least 2")
        if x_val.shape[1:] != x.shape[1:] or y_val.shape[1:] != y.shape[1:] or len(x_val) != len(y_val):
            raise ValueError(f"validation rows {x_val.shape} and {y_val.shape} do not fit {x.shape} and {y.shape}")
        if not (np.isfinite(x).all() and np.isfinite(x_val).all()):
            name = type(self).__name__
            raise ValueError(
                f"{name}: features hold NaN or infinity; impute what is missing, refuse what is not finite"
            )
        return x, y, x_val, y_val

    def _begin(self, unavailable: dict[int, str], targets: int) -> list[int]:
        """Forget an earlier fit.

        Args:
            unavailable: Column -> why it cannot be learnt.
            targets: Their number K.

        Returns:
            The columns that can be learnt.
        """
        self.unavailable, self.notes = unavailable, {}
        self.chosen = np.full(targets, np.nan)
        return [column for column in range(targets) if column not in unavailable]


@dataclass(frozen=True)
class Standardiser:
    """Shift and scale of columns, from training rows.

    Attributes:
        mean: (d,) mean of the observed values.
        scale: (d,) standard deviation; 1 for a constant column, which so becomes 0.
    """

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, values: Floats) -> Standardiser:
        """Measure (n, d); NaN is left out, and each column needs an observed value."""
        mean, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        rounding = 1e-10 * np.abs(mean) + np.finfo(np.float64).tiny
        return cls(mean, np.where(scale > rounding, scale, 1.0))

    def transform(self, values: Floats) -> Floats:
        """Return (values - mean) / scale."""
        return (values - self.mean) / self.scale

    def unfolded(self, coefficients: Floats, intercepts: Floats) -> tuple[Floats, Floats]:
        """Return lines through standardised values, (d, K) and (K,), as lines through the values: (K, d) and (K,)."""
        weights = (coefficients / self.scale[:, None]).T
        return weights, intercepts - weights @ self.mean


def row_space(features: Floats) -> Floats:
    """Return an orthonormal basis (d, r) of the rows of (n, d).

    The norm of the coefficients, hence the L2-penalised solution, does not change with the basis; 50 rows of 2,048
    features are so fitted in 50 dimensions.
    """
    if len(features) > features.shape[1]:
        return np.eye(features.shape[1])
    _, singular, right = np.linalg.svd(features, full_matrices=False)
    return right[singular > singular[0] * max(features.shape) * np.finfo(np.float64).eps].T


def matching(features: ArrayLike, width: int) -> Floats:
    """Return features as float64.

    Raises:
        ValueError: If they are not finite and of shape (n, width).
    """
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != width or not np.isfinite(x).all():
        raise ValueError(f"features {x.shape} must be finite and of shape (n, {width}), as in fit")
    return x
