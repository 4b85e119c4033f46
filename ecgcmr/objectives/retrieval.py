"""Retrieval: how early a query's own partner comes when all candidates are ordered by similarity."""

from __future__ import annotations

import math

from torch import Tensor

from ecgcmr.objectives.rows import check_pair, unit_rows


def retrieval_ranks(queries: Tensor, candidates: Tensor) -> Tensor:
    """Rank of each query's own partner among all candidates by cosine similarity.

    A tie counts against the query, so embeddings that have collapsed to a point rank last and not first. A similarity
    that is NaN, as of an embedding that is not finite, is the lowest there is: a query that has no similarity to its
    partner ranks last, and a candidate without one is before nobody.

    Args:
        queries: (N, D).
        candidates: (N, D), row i the partner of query i.

    Returns:
        (N,) int64; 0 is the best rank, and recall at k is the share of ranks below k.

    Raises:
        ValueError: The shapes differ.
    """
    check_pair(queries, candidates)
    similarity = (unit_rows(queries) @ unit_rows(candidates).T).nan_to_num(nan=-math.inf)
    return (similarity >= similarity.diagonal()[:, None]).sum(dim=1) - 1


def recall_at(ranks: Tensor, k: int) -> Tensor:
    """Share of queries whose partner is among the first k candidates, in [0, 1]."""
    return (ranks < k).float().mean()
