"""Maps of an embedding in two dimensions: principal components always, UMAP where its package is installed.

Principal components keep distances as far as two straight axes can, and say how far that is. UMAP shows who is next to
whom; its distances, sizes and gaps between clusters mean nothing by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA

from ecgcmr.errors import UserError
from ecgcmr.evaluation.finite_values import require_finite_features

Floats = NDArray[np.float64]

_LEAST_FOR_UMAP = 4


@dataclass(frozen=True)
class EmbeddingMap:
    """Places of n recordings.

    Attributes:
        method: ``PCA`` or ``UMAP``.
        points: (n, 2).
        explained: Shares of the variance on all components that were kept, falling; empty of UMAP.
    """

    method: str
    points: Floats
    explained: tuple[float, ...] = ()

    @property
    def axes(self) -> tuple[str, str]:
        """Titles of both axes."""
        if not self.explained:
            return f"{self.method} 1", f"{self.method} 2"
        first, second = (
            f"{self.method} {k + 1} ({100 * share:.0f} % of variance)" for k, share in enumerate(self.explained[:2])
        )
        return first, second


def pca_map(features: ArrayLike, components: int = 10) -> EmbeddingMap:
    """Return the first principal components of (n, D), and how much of the variance each explains.

    Of both possible signs of a component that is taken in which its largest coefficient is positive.

    Args:
        features: n at least 3, D at least 2.
        components: Whose share of the variance is kept; at least 2.

    Raises:
        UserError: A feature is not finite, or there are fewer than 3 recordings.
    """
    x = _checked(features, 3)
    with np.errstate(invalid="ignore"):  # a constant embedding has no variance of which to take shares
        fitted = PCA(min(max(components, 2), *x.shape), svd_solver="full").fit(x)
    signs = np.sign(fitted.components_[np.arange(2), np.abs(fitted.components_[:2]).argmax(axis=1)])
    points = fitted.transform(x)[:, :2] * np.where(signs == 0, 1.0, signs)
    return EmbeddingMap("PCA", points, tuple(float(share) for share in np.nan_to_num(fitted.explained_variance_ratio_)))


def umap_is_missing() -> str | None:
    """Return what to install for UMAP; None where it is installed."""
    try:
        metadata.version("umap-learn")  # the module's name is also that of another package
    except metadata.PackageNotFoundError:
        return "UMAP is not installed; add it with: pip install 'ecgcmr[explain]'"
    return None


def umap_map(features: ArrayLike, seed: int, neighbours: int = 15) -> EmbeddingMap:
    """Return places by UMAP (McInnes et al., 2018) with the cosine distance, the same for the same seed.

    Args:
        features: (n, D).
        seed: Of its draws.
        neighbours: That it takes as near.

    Raises:
        UserError: UMAP is not installed, a feature is not finite, or there are fewer than 4 recordings.
    """
    missing = umap_is_missing()
    if missing is not None:
        raise UserError(missing)
    x = _checked(features, _LEAST_FOR_UMAP)
    from umap import UMAP  # seconds of compilation, for those who ask for it

    near = min(neighbours, len(x) - 1)
    start = "spectral" if len(x) > _LEAST_FOR_UMAP + near else "random"
    fitted = UMAP(n_neighbors=near, metric="cosine", init=start, random_state=seed, n_jobs=1)
    return EmbeddingMap("UMAP", np.asarray(fitted.fit_transform(x), dtype=np.float64))


def _checked(features: ArrayLike, least: int) -> Floats:
    x = np.asarray(features, dtype=np.float64)
    require_finite_features(x, "the map of the embedding")
    if len(x) < least or x.shape[1] < 2:
        raise UserError(f"{len(x)} recordings of {x.shape[1]} features make no map; at least {least} of 2 are needed")
    return x
