"""A linear probe on the validation split while a stage without labels trains: does it learn what we are after?

Ridge regression fitted on one half of the validation subjects and scored on the other, both ways. It costs one small
linear solve an epoch, sends no gradient anywhere and needs no optimiser of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _ridge_predict(x_fit: Tensor, y_fit: Tensor, x: Tensor, penalty: float) -> Tensor:
    mean, scale = x_fit.mean(0), x_fit.std(0).clamp_min(1e-6)
    x_fit, x = (x_fit - mean) / scale, (x - mean) / scale
    offset = y_fit.mean(0)
    gram = x_fit.T @ x_fit + penalty * len(x_fit) * torch.eye(x.shape[1], dtype=x.dtype)
    return x @ torch.linalg.solve(gram, x_fit.T @ (y_fit - offset)) + offset


def cross_fitted_r2(features: Tensor, labels: Tensor, *, penalty: float = 0.1) -> Tensor:
    """Return the R2 of a two-fold ridge probe for each label.

    Args:
        features: (N, D) encoder features, one row per subject.
        labels: (N, L) in any units; NaN where missing.
        penalty: Ridge penalty relative to the number of rows, on standardised features.

    Returns:
        (L,) R2 over the held-out halves; NaN where fewer than 8 labels are known or the labels do not vary.
    """
    features, labels = features.detach().double().cpu(), labels.detach().double().cpu()
    result = torch.full((labels.shape[1],), float("nan"), dtype=torch.float64)
    for column in range(labels.shape[1]):
        known = torch.isfinite(labels[:, column])
        x, y = features[known], labels[known, column]
        if len(y) < 8 or y.std() == 0:
            continue
        half = len(y) // 2
        first, second = slice(0, half), slice(half, None)
        predicted = torch.cat(
            [
                _ridge_predict(x[second], y[second, None], x[first], penalty),
                _ridge_predict(x[first], y[first, None], x[second], penalty),
            ]
        )[:, 0]
        result[column] = 1.0 - (y - predicted).square().sum() / (y - y.mean()).square().sum()
    return result
