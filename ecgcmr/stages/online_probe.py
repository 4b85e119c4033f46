"""A linear probe on the validation split while a stage without labels trains: does it learn what we are after?

Regression, with a ridge or without, fitted on one half of the validation subjects and scored on the other, both ways.
It costs one small linear solve an epoch, sends no gradient anywhere and needs no optimiser of its own.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from ecgcmr.errors import UserError

ProbeKind = Literal["ridge", "linear"]
PENALTIES: dict[str, float] = {"ridge": 0.1, "linear": 0.0}
"""Ridge penalty of each kind, relative to the number of rows, on standardised features."""
_FEWEST = 8


def probe_penalty(probe: bool | str) -> float | None:
    """Return the penalty of a stage's ``probe`` argument: a kind, True for ridge, False for None (no probe).

    Raises:
        UserError: The kind is unknown.
    """
    if isinstance(probe, bool):
        return PENALTIES["ridge"] if probe else None
    if probe not in PENALTIES:
        raise UserError(f"model.probe is {probe!r}; choose one of {', '.join(PENALTIES)}, true or false")
    return PENALTIES[probe]


def _ridge_predict(x_fit: Tensor, y_fit: Tensor, x: Tensor, penalty: float) -> Tensor:
    mean, scale = x_fit.mean(0), x_fit.std(0).clamp_min(1e-6)
    x_fit, x = (x_fit - mean) / scale, (x - mean) / scale
    offset = y_fit.mean(0)
    if penalty == 0.0:  # of the smallest norm, where there are more features than rows
        return x @ torch.linalg.lstsq(x_fit, y_fit - offset, driver="gelsd").solution + offset
    gram = x_fit.T @ x_fit + penalty * len(x_fit) * torch.eye(x.shape[1], dtype=x.dtype)
    return x @ torch.linalg.solve(gram, x_fit.T @ (y_fit - offset)) + offset


def _cross_fitted(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Predict each half of y (n,) by a probe that was fitted on the other."""
    half = len(y) // 2
    first, second = slice(0, half), slice(half, None)
    return torch.cat(
        [
            _ridge_predict(x[second], y[second, None], x[first], penalty),
            _ridge_predict(x[first], y[first, None], x[second], penalty),
        ]
    )[:, 0]


def cross_fitted_scores(features: Tensor, labels: Tensor, *, penalty: float = 0.1) -> dict[str, Tensor]:
    """Score a two-fold probe of each label.

    Args:
        features: (N, D) encoder features, one row per subject; no gradient is taken.
        labels: (N, L) in any units; NaN where missing.
        penalty: Ridge penalty relative to the number of rows, on standardised features; 0 is plain least squares.

    Returns:
        Over the held-out halves, (L,) each: ``r2``, and ``auroc`` of labels that are 0 or 1. NaN where fewer than 8
        labels are known or the labels do not vary, and for ``auroc`` of other labels.
    """
    features, labels = features.detach().double().cpu(), labels.detach().double().cpu()
    r2 = torch.full((labels.shape[1],), float("nan"), dtype=torch.float64)
    auroc = r2.clone()
    for column in range(labels.shape[1]):
        known = torch.isfinite(labels[:, column])
        x, y = features[known], labels[known, column]
        if len(y) < _FEWEST or y.std() == 0:
            continue
        predicted = _cross_fitted(x, y, penalty)
        r2[column] = 1.0 - (y - predicted).square().sum() / (y - y.mean()).square().sum()
        if ((y == 0) | (y == 1)).all():
            # Scores outside 0..1 would be taken for logits; AUROC asks for the order alone.
            spread = predicted - predicted.min()
            auroc[column] = binary_auroc(spread / spread.max().clamp_min(1e-12), y.long())
    return {"r2": r2, "auroc": auroc}


def cross_fitted_r2(features: Tensor, labels: Tensor, *, penalty: float = 0.1) -> Tensor:
    """Return the ``r2`` of ``cross_fitted_scores``, (L,)."""
    return cross_fitted_scores(features, labels, penalty=penalty)["r2"]
