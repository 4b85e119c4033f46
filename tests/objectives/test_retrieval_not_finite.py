"""Retrieval by embeddings that are not finite, as of a diverged network: NaN ranks last and is never a hit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcmr.objectives import recall_at, retrieval_ranks


def slow_ranks(queries: np.ndarray, candidates: np.ndarray) -> list[int]:
    """Order candidates one by one: who is at least as similar as the partner comes first, NaN comes last."""
    ranks = []
    for i, query in enumerate(queries):
        similarity = []
        for candidate in candidates:
            length = math.sqrt(sum(v * v for v in query)) * math.sqrt(sum(v * v for v in candidate))
            value = sum(a * b for a, b in zip(query, candidate, strict=True)) / length
            similarity.append(-math.inf if math.isnan(value) else value)
        ranks.append(sum(value >= similarity[i] for j, value in enumerate(similarity) if j != i))
    return ranks


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(2, 4), st.integers(0, 10_000), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_ranks_equal_a_slow_twin_wherever_the_values_are_not_finite(
    rows: int, width: int, seed: int, value: float
) -> None:
    generator = np.random.default_rng(seed)
    queries, candidates = (generator.standard_normal((rows, width)) for _ in range(2))
    for part in (queries, candidates):
        part[generator.random((rows, width)) < 0.2] = value
    with np.errstate(invalid="ignore"):
        expected = slow_ranks(queries, candidates)
    assert retrieval_ranks(torch.from_numpy(queries), torch.from_numpy(candidates)).tolist() == expected


@pytest.mark.parametrize("where", ["query", "partner", "both"])
def test_a_query_without_a_similarity_to_its_partner_ranks_last(where: str) -> None:
    queries, candidates = torch.eye(5), torch.eye(5)
    if where != "partner":
        queries[2] = math.nan
    if where != "query":
        candidates[2, 0] = math.nan
    assert retrieval_ranks(queries, candidates).tolist() == [0, 0, 4, 0, 0]


def test_a_network_that_gives_nothing_but_nan_retrieves_nothing() -> None:
    nothing = torch.full((6, 3), math.nan)
    ranks = retrieval_ranks(nothing, nothing)
    assert ranks.tolist() == [5] * 6
    assert recall_at(ranks, 1).item() == recall_at(ranks, 5).item() == 0.0


def test_a_candidate_that_is_nan_is_before_nobody() -> None:
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0]])
    candidates = torch.tensor([[1.0, 0.1], [1.0, math.nan], [0.0, 1.0]])
    assert retrieval_ranks(queries, candidates).tolist() == [0, 2, 0]
