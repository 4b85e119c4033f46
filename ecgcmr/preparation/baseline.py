"""Baseline wander by asymmetric least squares, compiled and solved for all leads of a recording at once.

Asymmetric least squares (Eilers and Boelens 2005) looks for the smooth curve ``z`` that minimises
``sum w (y - z)^2 + lambda sum (second difference of z)^2``, where a sample above the curve weighs ``p`` and one on or
below it ``1 - p``. The weights depend on ``z``, so a fixed small number of solves follow each other, the first with
unit weights. Each solve is a symmetric positive definite system with five diagonals; it is factorised as L D L^T and
solved in one sweep forwards and one backwards. Leads are the innermost axis, so one vector register works on
several leads at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

LANES = 16
"""Leads solved side by side: twelve leads padded to whole vector registers of every current processor."""


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with numba; where no cache folder can be written, compile anew in every process."""
    options = {"fastmath": True, "error_model": "numpy", "nogil": True}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba found neither __pycache__, NUMBA_CACHE_DIR nor a user cache to write to
        return numba.njit(**options)(function)


@_compile
def _solve(y: Any, z: Any, inverse: Any, first: Any, smoothness: float, asymmetry: float, solves: int) -> None:
    """Write the baselines of ``LANES`` signals to ``z``.

    Row ``i`` of the factor has 1 on the diagonal, ``first[i]`` beside it and ``smoothness * inverse[i - 2]`` two to
    the left; ``inverse`` is 1 / D. The curve of the last solve is overwritten as its weights are used.

    Args:
        y: (T, LANES) float64, finite, T at least 4.
        z: (T, LANES) float64, the result.
        inverse: (T, LANES) float64 to work in.
        first: (T, LANES) float64 to work in.
        smoothness: lambda.
        asymmetry: p, the weight of samples above the curve.
        solves: Number of solves.
    """
    length = y.shape[0]
    z[:] = 0.0
    above = below = 1.0
    for solve in range(solves):
        if solve > 0:
            above, below = asymmetry, 1.0 - asymmetry
        for k in range(LANES):
            w0 = above if y[0, k] > z[0, k] else below
            w1 = above if y[1, k] > z[1, k] else below
            inverse[0, k] = 1.0 / (w0 + smoothness)
            first[0, k] = 0.0
            z[0, k] = w0 * y[0, k]
            factor = -2.0 * smoothness * inverse[0, k]
            inverse[1, k] = 1.0 / (w1 + 5.0 * smoothness + 2.0 * smoothness * factor)
            first[1, k] = factor
            z[1, k] = w1 * y[1, k] - factor * z[0, k]
        for i in range(length - 2):  # computes row i + 2; indices that cannot be negative keep the loop free of checks
            diagonal = 6.0 * smoothness
            beside = -4.0 * smoothness
            if i == length - 4:
                diagonal = 5.0 * smoothness
            elif i == length - 3:
                diagonal = smoothness
                beside = -2.0 * smoothness
            for k in range(LANES):
                value = y[i + 2, k]
                w = above if value > z[i + 2, k] else below
                second = smoothness * inverse[i, k]
                pivot = beside - smoothness * first[i + 1, k]
                factor = pivot * inverse[i + 1, k]
                inverse[i + 2, k] = 1.0 / (w + (diagonal - second * smoothness) - factor * pivot)
                first[i + 2, k] = factor
                z[i + 2, k] = (w * value - second * z[i, k]) - factor * z[i + 1, k]
        for k in range(LANES):
            z[length - 1, k] *= inverse[length - 1, k]
            z[length - 2, k] = z[length - 2, k] * inverse[length - 2, k] - first[length - 1, k] * z[length - 1, k]
        for j in range(length - 2):
            i = length - 3 - j
            for k in range(LANES):
                z[i, k] = (z[i, k] - smoothness * z[i + 2, k]) * inverse[i, k] - first[i + 1, k] * z[i + 1, k]


class BaselineSolver:
    """Asymmetric-least-squares baselines with fixed parameters, in memory that is used again for the next recording.

    Fresh memory for every recording costs as much time as the computation. The memory belongs to one object: do not
    call one object from two threads at once.
    """

    def __init__(self, lambda_: float = 1e7, p: float = 0.3, solves: int = 5) -> None:
        """Check and keep the parameters.

        Args:
            lambda_: Smoothness; larger is smoother. The curve follows the signal's unit, so this has none.
            p: Weight of samples above the curve, in (0, 1).
            solves: Number of solves, the first with unit weights; at least 1.

        Raises:
            ValueError: A parameter is out of range.
        """
        if lambda_ <= 0 or not 0 < p < 1 or solves < 1:
            raise ValueError(f"need lambda > 0, 0 < p < 1 and solves >= 1, got {lambda_}, {p}, {solves}")
        self._parameters = (float(lambda_), float(p), int(solves))
        self._memory = np.empty((4, 0, LANES))

    def subtract(self, signal: npt.NDArray[np.float64]) -> None:
        """Subtract its baseline from each lead, in place.

        Args:
            signal: (leads, T) float64 in any unit, finite, T at least 4.

        Raises:
            ValueError: A value is not finite, or the shape is wrong.
        """
        if signal.ndim != 2 or signal.shape[1] < 4:
            raise ValueError(f"expected (leads, T) with T at least 4, got {signal.shape}")
        if not np.isfinite(signal).all():
            raise ValueError("signal holds NaN or infinite values")
        leads, length = signal.shape
        if self._memory.shape[1] != length:
            self._memory = np.empty((4, length, LANES))
        lanes, curve, inverse, first = self._memory
        for start in range(0, leads, LANES):
            block = signal[start : start + LANES]
            lanes[:, : len(block)] = block.T
            lanes[:, len(block) :] = 0.0
            _solve(lanes, curve, inverse, first, *self._parameters)
            block -= curve[:, : len(block)].T


def remove_baseline(
    signal: npt.ArrayLike, *, lambda_: float = 1e7, p: float = 0.3, solves: int = 5
) -> npt.NDArray[np.float64]:
    """Return a recording less its asymmetric-least-squares baseline.

    Args:
        signal: (leads, T) in any unit, finite, T at least 4.
        lambda_: See ``BaselineSolver``.
        p: See ``BaselineSolver``.
        solves: See ``BaselineSolver``.

    Returns:
        (leads, T) float64 in the unit of ``signal``.

    Raises:
        ValueError: A value is not finite, or a shape or parameter is out of range.

    References:
        Eilers and Boelens, Baseline correction with asymmetric least squares smoothing, 2005.
    """
    values = np.array(signal, dtype=np.float64)
    BaselineSolver(lambda_, p, solves).subtract(values)
    return values
