"""Retrieval against a slow twin, training's definition, chance, and what must not count against a query."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcmr.errors import UserError
from ecgcmr.interpretation.retrieval import DIRECTIONS, both_ways, retrieval_entry, retrieve
from ecgcmr.metrics.bootstrap import Resamples
from ecgcmr.stages.whole_split import retrieval_scores


def embeddings(n: int, noise: float, seed: int = 0, size: int = 6) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    shared = draw.normal(size=(n, size))
    return shared + noise * draw.normal(size=(n, size)), shared + noise * draw.normal(size=(n, size))


def slow_ranks(a: np.ndarray, b: np.ndarray, subjects: list[str]) -> list[int]:
    """One query and one candidate after the other."""
    ranks = []
    for query, subject in zip(a, subjects, strict=True):
        cosine = [float(query @ c / np.linalg.norm(query) / np.linalg.norm(c)) for c in b]
        best = max(c for c, other in zip(cosine, subjects, strict=True) if other == subject)
        ranks.append(sum(c >= best - 1e-12 for c, other in zip(cosine, subjects, strict=True) if other != subject))
    return ranks


@given(st.integers(2, 25), st.integers(0, 10_000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_equals_a_slow_twin_with_one_recording_of_a_subject_or_several(n: int, seed: int, several: bool):
    a, b = embeddings(n, 1.0, seed)
    subjects = [f"s{k // 2 if several and n > 3 else k}" for k in range(n)]
    found = retrieve(a, b, np.array(subjects), "ecg_to_cmr")
    assert found.ranks.tolist() == slow_ranks(a, b, subjects)


def test_equals_what_an_alignment_logs_while_it_trains():
    a, b = embeddings(40, 0.8)
    subjects = np.arange(40)
    resamples = Resamples.draw(subjects, 20, 0)
    for found in both_ways(a, b, subjects):
        pair = (a, b) if found.direction == "ecg_to_cmr" else (b, a)
        logged = retrieval_scores(*(torch.from_numpy(x).float() for x in pair), "val")
        entry = retrieval_entry(found, resamples)
        assert entry["recall@1"] == pytest.approx(float(logged["val_recall@1"]))
        assert entry["recall@5"] == pytest.approx(float(logged["val_recall@5"]))
        assert entry["relative_median_rank"] == pytest.approx(float(logged["val_median_rank"]))


def test_entries_have_the_keys_of_the_contract_and_intervals_about_their_values():
    a, b = embeddings(60, 0.7)
    entries = [retrieval_entry(f, Resamples.draw(f.subjects, 200, 0)) for f in both_ways(a, b, np.arange(60))]
    assert [entry["direction"] for entry in entries] == list(DIRECTIONS)
    for entry in entries:
        assert {"direction", "recall@1", "recall@5", "recall@10", "median_rank", "chance"} <= set(entry)
        for name in ("recall@1", "recall@5", "recall@10", "median_rank"):
            assert entry[f"{name}_ci_low"] <= entry[name] <= entry[f"{name}_ci_high"]
            assert entry[f"{name}_ci_low"] < entry[f"{name}_ci_high"]
        assert entry["chance"] == pytest.approx(1 / 60)
        assert entry["chance_recall@5"] == pytest.approx(5 / 60)
        assert entry["chance_median_rank"] == 30
        assert entry["recall@1"] > entry["chance"]
    json.dumps(entries, allow_nan=False)


def test_unrelated_embeddings_come_out_at_chance():
    draw = np.random.default_rng(3)
    a, b = draw.normal(size=(2, 400, 8))
    found = retrieve(a, b, np.arange(400), "ecg_to_cmr")
    entry = retrieval_entry(found, Resamples.draw(found.subjects, 200, 0))
    assert entry["recall@10_ci_low"] <= entry["chance_recall@10"] <= entry["recall@10_ci_high"]
    assert entry["median_rank_ci_low"] <= entry["chance_median_rank"] <= entry["median_rank_ci_high"]


@pytest.mark.parametrize("several", [False, True])
def test_chance_is_what_random_orders_give(several: bool):
    draw, n = np.random.default_rng(5), 12
    subjects = np.array([0, 0, 0, 1, 1, *range(2, 9)]) if several else np.arange(n)
    hits = np.zeros(n)
    for seed in range(400):
        a, b = np.random.default_rng(seed).normal(size=(2, n, 5))
        ranks = retrieve(a, b, subjects, "ecg_to_cmr").ranks
        hits += (ranks[:, None] < np.arange(1, n + 1)).mean(axis=0) / 400
    chance = retrieve(*draw.normal(size=(2, n, 5)), subjects, "ecg_to_cmr").chance_by_rank
    assert np.allclose(hits, chance, atol=0.03)
    assert chance[-1] == 1.0


def test_a_tie_counts_against_the_query_so_that_a_collapse_finds_nothing():
    found = retrieve(np.ones((8, 4)), np.ones((8, 4)), np.arange(8), "ecg_to_cmr")
    assert (found.ranks == 7).all()
    assert retrieval_entry(found, Resamples.draw(np.arange(8), 20, 0))["recall@1"] == 0.0


def test_another_recording_of_the_subject_is_no_miss():
    a, b = embeddings(6, 0.0)
    b[[0, 1]] = b[[1, 0]]  # each recording of the first subject is nearest to its other one
    apart = retrieve(a, b, np.arange(6), "ecg_to_cmr")
    assert (apart.ranks[:2] > 0).all()
    together = retrieve(a, b, np.array([0, 0, 2, 3, 4, 5]), "ecg_to_cmr")
    assert (together.ranks == 0).all()
    assert together.chance_by_rank[0] == pytest.approx((2 * 2 + 4) / 36)


@pytest.mark.parametrize("broken", [0, 1])
def test_embeddings_that_are_not_finite_are_refused(broken: int):
    pair = [*embeddings(10, 0.1)]
    pair[broken][3, 2] = np.nan
    with pytest.raises(UserError, match=r"features of 1 of 10 recordings are NaN or infinite"):
        retrieve(*pair, np.arange(10), "ecg_to_cmr")


def test_one_subject_is_refused_and_few_are_remarked_on():
    a, b = embeddings(5, 0.1)
    with pytest.raises(UserError, match="1 subject; at least 2"):
        retrieve(a, b, np.zeros(5), "ecg_to_cmr")
    entry = retrieval_entry(retrieve(a, b, np.arange(5), "ecg_to_cmr"), Resamples.draw(np.arange(5), 20, 0))
    assert entry["recall@5"] == entry["recall@10"] == entry["chance_recall@10"] == 1.0
    assert entry["note"] == "so few recordings that recall@5, recall@10 is 1 whatever the embeddings"


def test_intervals_are_by_subject():
    a, b = embeddings(30, 1.2)
    thrice = [np.repeat(x, 3, axis=0) for x in (a, b)]
    subjects = np.repeat(np.arange(30), 3)
    widths = []
    for names in (subjects, np.arange(90)):
        recall = retrieve(*thrice, subjects, "ecg_to_cmr").recall(1, Resamples.draw(names, 500, 0))
        widths.append(recall.high - recall.low)
    assert widths[0] > 1.4 * widths[1]  # the root of 3 for whole subjects


def test_nearest_candidates_are_in_falling_order_and_the_subject_is_left_out_of_the_others():
    a, b = embeddings(20, 0.5)
    subjects = np.arange(20) // 2
    found = retrieve(a, b, subjects, "ecg_to_cmr", keep=6)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    similarity = unit[0] @ unit[1].T
    for row in range(20):
        assert found.order[row].tolist() == np.argsort(-similarity[row])[:6].tolist()
        assert all(similarity[row, x] >= similarity[row, y] for x, y in pairwise(found.others[row]))
        assert (subjects[found.others[row]] != subjects[row]).all()
