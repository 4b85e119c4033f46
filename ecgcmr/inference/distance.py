"""How far an embedding lies from those that the model was trained on, and from where on it is refused.

Mahalanobis distance with the covariance shrunk by Ledoit and Wolf's rule. Its state is a mean and a matrix over all
training rows, so that no subject's embedding leaves the training data with the model; the nearest neighbours would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.inference.subject_scores import LEAST_SUBJECTS, rank_at, sorted_scores

Floats = NDArray[np.float64]

METHOD = "mahalanobis"
LEVEL = 0.99


@dataclass(frozen=True)
class TrainingDistance:
    """Distance to the training data, and its threshold.

    Attributes:
        mean: (D,) of the training embeddings.
        factor: (D, D) of the precision matrix: the distance of x is the length of factor @ (x - mean) over sqrt(D),
            about 1 for training rows.
        threshold: Embeddings farther away are out of distribution; infinite with fewer than 20 validation subjects.
        level: Share of new subjects from the same population that lie within the threshold, at least; below the one
            asked for where there were too few validation subjects for that; 1 with an infinite threshold.
        subjects: Validation subjects that the threshold rests on.
    """

    mean: Floats
    factor: Floats
    threshold: float
    level: float
    subjects: int

    @classmethod
    def fit(
        cls, train: ArrayLike, validation: ArrayLike, validation_subjects: ArrayLike, level: float = LEVEL
    ) -> TrainingDistance:
        """Learn mean and covariance on training rows and the threshold on validation subjects.

        Args:
            train: (n, D) embeddings, n at least 2.
            validation: (m, D).
            validation_subjects: (m,) whose they are; recordings of a subject count as one.
            level: Share of validation subjects within the threshold, with the rule of ``subject_scores``.

        Raises:
            ValueError: Shapes do not match, a value is not finite, or the level is not between 0 and 1.
        """
        from sklearn.covariance import LedoitWolf  # slow to import, and not needed to apply

        x = np.asarray(train, dtype=np.float64)
        if x.ndim != 2 or len(x) < 2 or not np.isfinite(x).all():
            raise ValueError(f"training embeddings of shape {x.shape} must be (n, D), two at least, and finite")
        fitted = LedoitWolf().fit(x)
        factor = _factor(fitted.covariance_)
        unset = cls(fitted.location_, factor, np.inf, 1.0, 0)
        scores = sorted_scores(unset.distance(validation), validation_subjects)
        if len(scores) < LEAST_SUBJECTS:
            rank_at(level, 1)
            return unset
        rank = rank_at(level, len(scores))
        reached = level if rank <= len(scores) else len(scores) / (len(scores) + 1.0)
        threshold = float(scores[min(rank, len(scores)) - 1])
        return cls(fitted.location_, factor, threshold, reached, len(scores))

    def distance(self, embeddings: ArrayLike) -> Floats:
        """Return (k,) distances of (k, D) embeddings; infinite where an embedding is not finite.

        Raises:
            ValueError: The width differs from the training embeddings'.
        """
        x = np.asarray(embeddings, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.mean):
            raise ValueError(f"embeddings of shape {x.shape} are not (k, {len(self.mean)})")
        finite = np.isfinite(x).all(axis=1)
        found = np.full(len(x), np.inf)
        found[finite] = np.linalg.norm((x[finite] - self.mean) @ self.factor.T, axis=1) / np.sqrt(len(self.mean))
        return found

    def is_inside(self, embeddings: ArrayLike) -> NDArray[np.bool_]:
        """Return (k,) whether each embedding lies within the threshold; never for one that is not finite."""
        found = self.distance(embeddings)
        return np.isfinite(found) & (found <= self.threshold)


def _factor(covariance: Floats) -> Floats:
    """Return a matrix whose square is the inverse of a covariance; directions without any variance are left at 0."""
    values, vectors = np.linalg.eigh(covariance)
    usable = values > np.finfo(np.float64).eps * len(values) * max(float(values[-1]), np.finfo(np.float64).tiny)
    scale = np.where(usable, 1.0 / np.sqrt(np.where(usable, values, 1.0)), 0.0)
    return (vectors * scale).T
