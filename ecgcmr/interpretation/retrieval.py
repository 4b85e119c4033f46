"""Retrieval between the modalities: how early a subject's own image comes when its ECG is the query, and the reverse.

Queries and candidates are recordings; found is whoever's subject is right. Another recording of the query's subject is
therefore no miss: of a subject's several candidates the most similar one counts and the others stand aside. With one
recording a subject this is the retrieval that an alignment logs while it trains.

Intervals draw subjects as queries; the candidates stay the same, so that they speak of this gallery and its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.evaluation.finite_values import require_finite_features
from ecgcmr.interpretation.resampled import resampled_mean, resampled_median, with_interval
from ecgcmr.metrics.bootstrap import Interval, Resamples

Floats = NDArray[np.float64]

RECALLS = (1, 5, 10)
DIRECTIONS = ("ecg_to_cmr", "cmr_to_ecg")
_BLOCK = 1024  # queries compared with all candidates at once
_TIE = 1e-12  # cosines nearer than this are equal but for rounding


@dataclass(frozen=True)
class Retrieval:
    """What retrieving in one direction found.

    Attributes:
        direction: ``ecg_to_cmr`` or ``cmr_to_ecg``.
        ranks: (n,) number of other subjects' candidates at least as similar to each query as its own; 0 is the best.
        own: (n,) candidates of each query's own subject.
        order: (n, k) rows of the most similar candidates of each query, best first.
        others: (n, k) likewise, of other subjects alone.
        subjects: (n,) subject of each row.
    """

    direction: str
    ranks: NDArray[np.int64]
    own: NDArray[np.int64]
    order: NDArray[np.int64]
    others: NDArray[np.int64]
    subjects: NDArray

    @cached_property
    def chance_by_rank(self) -> Floats:
        """(n,) share of queries that random similarities would find among the first 1, 2, ... n candidates."""
        total = len(self.ranks)
        places = np.arange(1, total + 1)
        counts, often = np.unique(self.own, return_counts=True)
        found = np.zeros(total)
        for own, weight in zip(counts, often, strict=True):
            ahead = np.arange(total)  # candidates already passed; the next one is not an own one with this chance
            missed = np.cumprod(np.clip(total - own - ahead, 0, None) / (total - ahead))
            found += weight * (1.0 - missed[places - 1])
        return found / total

    def recall(self, k: int, resamples: Resamples) -> Interval:
        """Return the share of queries whose subject is among the first k candidates, with its interval."""
        return resampled_mean(self.ranks < k, resamples, (0.0, 1.0))

    def median_rank(self, resamples: Resamples) -> Interval:
        """Return the median rank, counted from 1, with its interval; of two middle ranks the lower."""
        return resampled_median(self.ranks + 1, resamples)

    @property
    def chance_median_rank(self) -> float:
        """The median rank, counted from 1, of random similarities."""
        return float(np.searchsorted(self.chance_by_rank, 0.5 - 1e-9) + 1)

    @property
    def relative_median_rank(self) -> float:
        """The median rank as training logs it: 0 is perfect, 0.5 chance, whatever the number of candidates."""
        middle = np.sort(self.ranks)[(len(self.ranks) - 1) // 2]
        return float(middle / max(len(self.ranks) - 1, 1))


def retrieve(queries: NDArray, candidates: NDArray, subjects: NDArray, direction: str, keep: int = 10) -> Retrieval:
    """Order all candidates by cosine similarity to each query.

    A tie counts against the query, so that embeddings which have collapsed to a point find nothing.

    Args:
        queries: (n, E) embeddings of one modality.
        candidates: (n, E) of the other; row i is of the same recording as query i.
        subjects: (n,) subject of each row.
        direction: One of ``DIRECTIONS``.
        keep: How many of the most similar candidates to keep for each query.

    Raises:
        UserError: There are fewer than two subjects, or an embedding is not finite.
        ValueError: The shapes differ.
    """
    if queries.shape != candidates.shape or queries.ndim != 2 or len(subjects) != len(queries):
        raise ValueError(f"queries {queries.shape}, candidates {candidates.shape} and {len(subjects)} subjects differ")
    require_finite_features(queries, f"queries of {direction}")
    require_finite_features(candidates, f"candidates of {direction}")
    _, number, counts = np.unique(subjects, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise UserError(f"retrieval {direction}: {len(counts)} subject; at least 2 are needed to find one among others")
    a, b = _unit(queries), _unit(candidates)
    ranks = np.empty(len(a), dtype=np.int64)
    order, others = [], []
    for start in range(0, len(a), _BLOCK):
        rows = slice(start, start + _BLOCK)
        similarity = a[rows] @ b.T
        own = number[rows, None] == number[None]
        best = np.where(own, similarity, -np.inf).max(axis=1, keepdims=True)
        ranks[rows] = ((similarity >= best - _TIE) & ~own).sum(axis=1)
        order.append(_first(similarity, min(keep, len(b))))
        others.append(_first(np.where(own, -np.inf, similarity), min(keep, len(b) - int(counts.max()))))
    nearest = np.concatenate(order), np.concatenate(others)
    return Retrieval(direction, ranks, counts[number].astype(np.int64), *nearest, np.asarray(subjects))


def both_ways(ecg: NDArray, cmr: NDArray, subjects: NDArray, keep: int = 10) -> list[Retrieval]:
    """Return the retrieval of images by ECGs and that of ECGs by images; arguments as in ``retrieve``."""
    pairs = ((ecg, cmr), (cmr, ecg))
    return [retrieve(*pair, subjects, direction, keep) for pair, direction in zip(pairs, DIRECTIONS, strict=True)]


def retrieval_entry(found: Retrieval, resamples: Resamples) -> dict[str, float | int | str | None]:
    """Return one direction as ``retrieval.json`` has it: recalls, ranks counted from 1, chance, and what was counted.

    ``chance`` is that of recall@1; those of the other numbers stand beside it under ``chance_*``.
    """
    entry: dict[str, float | int | str | None] = {"direction": found.direction}
    chance = found.chance_by_rank
    for k in RECALLS:
        entry |= with_interval(f"recall@{k}", found.recall(k, resamples))
    entry |= with_interval("median_rank", found.median_rank(resamples))
    entry["relative_median_rank"] = found.relative_median_rank
    entry["chance"] = float(chance[0])
    entry |= {f"chance_recall@{k}": float(chance[min(k, len(chance)) - 1]) for k in RECALLS}
    entry["chance_median_rank"] = found.chance_median_rank
    entry |= {"n": len(found.ranks), "subjects": len(np.unique(found.subjects))}
    certain = [f"recall@{k}" for k in RECALLS if entry[f"chance_recall@{k}"] == 1.0]
    small = f"so few recordings that {', '.join(certain)} is 1 whatever the embeddings"
    return entry | {"note": small if certain else None}


def _first(similarity: Floats, count: int) -> NDArray[np.int64]:
    """Return (b, count) the columns of the largest values of each row, in falling order; of equal ones the first."""
    chosen = np.sort(np.argpartition(-similarity, count - 1, axis=1)[:, :count], axis=1)
    place = np.argsort(-np.take_along_axis(similarity, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, place, axis=1)


def _unit(rows: NDArray) -> Floats:
    values = np.asarray(rows, dtype=np.float64)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
