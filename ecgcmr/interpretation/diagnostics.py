"""Numbers about the shape of a representation, and how alike two representations of the same recordings are.

- Alignment and uniformity on the unit sphere (Wang & Isola, ICML 2020): how near the two views of a subject lie, and
  how evenly all of them are spread. Both are better when smaller.
- Effective rank (Roy & Vetterli, EUSIPCO 2007): the exponential of the entropy of the singular values' shares. 1 is a
  representation that has collapsed to a line, D one that uses all of its D directions alike.
- CKA (Kornblith et al., ICML 2019) with a linear kernel and the unbiased estimate of HSIC (Song et al., JMLR 2012), so
  that two unrelated representations come out at 0 and not, with few recordings and many features, near 1.

All by products of features, n x D; nothing of n x n is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_BLOCK = 1024


def unit_rows(values: ArrayLike) -> Floats:
    """Return rows of length 1; a row of zeros stays."""
    x = _matrix(values)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def alignment(first: ArrayLike, second: ArrayLike, power: float = 2.0) -> float:
    """Return the mean distance of partners to a power, on the unit sphere; of squares 0 is best, 4 opposite.

    Args:
        first: (n, E); made unit vectors here.
        second: (n, E), row i the partner of row i.
        power: Of the distance.
    """
    a, b = unit_rows(first), unit_rows(second)
    _same_rows(a, b)
    return float((np.linalg.norm(a - b, axis=1) ** power).mean())


def uniformity(values: ArrayLike, scale: float = 2.0) -> float:
    """Return log of the mean of exp(-scale x squared distance) over all pairs of rows on the unit sphere.

    0 is a single point; an even spread over many dimensions comes to -2 x scale.

    Args:
        values: (n, E), n at least 2; made unit vectors here.
        scale: Of the squared distance.
    """
    x = unit_rows(values)
    if len(x) < 2:
        raise ValueError("uniformity needs at least 2 rows")
    total = 0.0
    for start in range(0, len(x), _BLOCK):
        squared = np.clip(2.0 - 2.0 * x[start : start + _BLOCK] @ x.T, 0.0, None)
        total += float(np.exp(-scale * squared).sum())
    norms = np.exp(-scale * np.clip(2.0 - 2.0 * (x * x).sum(axis=1), 0.0, None)).sum()  # each row with itself
    return float(np.log((total - norms) / (len(x) * (len(x) - 1))))


def effective_rank(values: ArrayLike) -> float:
    """Return the effective rank of (n, D) about its mean: between 1 and min(n - 1, D); 0 where all rows are equal."""
    x = _matrix(values)
    singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    if singular[0] <= 1e-12 * max(np.abs(x).max(initial=0.0), np.finfo(np.float64).tiny) * np.sqrt(x.size):
        return 0.0
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def linear_cka(first: ArrayLike, second: ArrayLike) -> float:
    """Return how alike two representations of the same rows are, whatever their rotation, scale and offset.

    Args:
        first: (n, D), n at least 4.
        second: (n, E), of the same recordings.

    Returns:
        1 for representations that are equal but for rotation, scale and offset, 0 expected of unrelated ones (the
        estimate is unbiased and may lie below); NaN where one is constant.
    """
    x, y = _matrix(first), _matrix(second)
    _same_rows(x, y)
    if len(x) < 4:
        raise ValueError("CKA needs at least 4 rows")
    x, y = (values - values.mean(axis=0) for values in (x, y))
    of_x, of_y = _hsic(x, x), _hsic(y, y)
    return float(_hsic(x, y) / np.sqrt(of_x * of_y)) if min(of_x, of_y) > 0 else float("nan")


def cka_table(representations: Mapping[str, ArrayLike]) -> dict[str, dict[str, float]]:
    """Return the CKA of every two of several representations of the same rows, by name and name."""
    names = list(representations)
    table: dict[str, dict[str, float]] = {name: {} for name in names}
    for place, name in enumerate(names):
        for other in names[place:]:
            table[name][other] = table[other][name] = linear_cka(representations[name], representations[other])
    return table


def _hsic(x: Floats, y: Floats) -> float:
    """Return the unbiased HSIC of linear kernels, whose diagonals do not count, by products of features."""
    n = len(x)
    own_x, own_y = (x * x).sum(axis=1), (y * y).sum(axis=1)
    rows_x, rows_y = x @ x.sum(axis=0) - own_x, y @ y.sum(axis=0) - own_y  # sums of the kernels' rows
    trace = float(((x.T @ y) ** 2).sum() - own_x @ own_y)
    sums = float(rows_x.sum() * rows_y.sum()) / ((n - 1) * (n - 2))
    return (trace + sums - 2.0 * float(rows_x @ rows_y) / (n - 2)) / (n * (n - 3))


def _matrix(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or not len(x):
        raise ValueError(f"a representation of shape {x.shape} is not (n, D)")
    if not np.isfinite(x).all():
        raise ValueError("a representation holds NaN or infinity; its network diverged")
    return x


def _same_rows(x: Floats, y: Floats) -> None:
    if len(x) != len(y):
        raise ValueError(f"representations of {len(x)} and {len(y)} rows are not of the same recordings")
