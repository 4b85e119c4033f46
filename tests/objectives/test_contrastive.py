"""Contrastive losses against slow twins; retrieval ranks. The golden vectors are in tests/parity."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcmr.errors import UserError
from ecgcmr.objectives import CLIPLoss, NTXentLoss, SimilarityGuidedCLIPLoss, recall_at, retrieval_ranks


def _random(rows: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 7), st.integers(2, 5), st.floats(0.05, 2.0), st.floats(0.0, 1.0), st.integers(0, 1000))
def test_clip_equals_a_slow_twin(rows, width, temperature, weight, seed):
    ecg, cmr = _random(rows, width, seed), _random(rows, width, seed + 1)
    a, b = (x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True) for x in (ecg, cmr))
    expected = 0.0
    for i in range(rows):
        image_to_ecg = [math.exp(b[i] @ a[j] / temperature) for j in range(rows)]
        ecg_to_image = [math.exp(a[i] @ b[j] / temperature) for j in range(rows)]
        expected -= weight * math.log(image_to_ecg[i] / sum(image_to_ecg)) / rows
        expected -= (1 - weight) * math.log(ecg_to_image[i] / sum(ecg_to_image)) / rows
    # The temperature is kept as a float32 logarithm.
    assert CLIPLoss(temperature, weight)(ecg, cmr).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_guided_loss_without_alike_subjects_is_clip():
    ecg, cmr = _random(6, 4, 0), _random(6, 4, 1)
    expected = CLIPLoss(0.1)(ecg, cmr)
    for use in ("positives", "exclude"):
        guided = SimilarityGuidedCLIPLoss(0.1, 0.5, use)(ecg, cmr, torch.eye(6))
        torch.testing.assert_close(guided, expected, rtol=1e-6, atol=0)


def test_learned_temperature_starts_where_told_moves_and_stays_bounded():
    objective = CLIPLoss(temperature=0.07, learnable_temperature=True)
    assert objective.temperature.item() == pytest.approx(0.07)
    # A scalar, which takes no weight decay.
    assert {name: p.ndim for name, p in objective.named_parameters()} == {"logit_scale.log_scale": 0}
    x = _random(8, 4, 0)
    objective(x, x).backward()
    assert objective.logit_scale.log_scale.grad.item() < 0  # matching pairs ask for a lower temperature
    with torch.no_grad():
        objective.logit_scale.log_scale.fill_(9.0)
    objective(x, x)
    assert objective.temperature.item() == pytest.approx(0.01)
    assert list(CLIPLoss().parameters()) == []


def test_bfloat16_embeddings_are_compared_in_float32():
    ecg, cmr = _random(16, 8, 0).bfloat16(), _random(16, 8, 1).bfloat16()
    exact = CLIPLoss(0.05)(ecg.float(), cmr.float())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = CLIPLoss(0.05)(ecg, cmr)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=1e-6, atol=0)


def test_empty_batch_has_no_loss_but_a_gradient():
    x = torch.zeros(0, 4, requires_grad=True)
    loss = CLIPLoss()(x, x)
    loss.backward()
    assert loss.item() == 0.0
    assert x.grad is not None


def test_refusals():
    for make in (CLIPLoss, NTXentLoss, SimilarityGuidedCLIPLoss):
        with pytest.raises(UserError, match="temperature must be positive"):
            make(temperature=0.0)
    with pytest.raises(UserError, match="image_to_ecg_weight"):
        CLIPLoss(image_to_ecg_weight=1.5)
    with pytest.raises(UserError, match="unknown use"):
        SimilarityGuidedCLIPLoss(use="ignore")
    with pytest.raises(UserError, match="cannot start at 0.001"):
        CLIPLoss(0.001, learnable_temperature=True)
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(3, 3\)"):
        CLIPLoss()(torch.zeros(2, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="expected similarity"):
        SimilarityGuidedCLIPLoss()(torch.zeros(2, 3), torch.zeros(2, 3), torch.eye(3))


def test_retrieval_ranks():
    candidates = torch.eye(4)
    queries = torch.tensor([[1.0, 0, 0, 0], [0.9, 1, 0, 0], [0.9, 0.8, 0.7, 0], [0.9, 0.8, 0.7, 0.6]])
    ranks = retrieval_ranks(queries, candidates)
    assert ranks.tolist() == [0, 0, 2, 3]
    assert recall_at(ranks, 1).item() == 0.5
    assert recall_at(ranks, 3).item() == 0.75


def test_collapsed_embeddings_retrieve_nothing():
    same = torch.ones(5, 3)
    assert retrieval_ranks(same, same).tolist() == [4] * 5
