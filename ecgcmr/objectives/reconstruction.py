"""Objective of masked autoencoding: squared error over patches mixed with cross-correlation over leads."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ecgcmr.errors import UserError

PATCH_VARIANCE_EPS = 1e-6
NCC_VARIANCE_EPS = 1e-12


def patchify(signal: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Cut signals into patches.

    Args:
        signal: (B, leads, samples).
        patch_size: Leads and samples of one patch.

    Returns:
        (B, N, P), N = patches (time runs fastest), P = leads x samples of a patch.

    Raises:
        ValueError: The signal is not made of whole patches.
    """
    height, length = patch_size
    batch, leads, samples = signal.shape
    if leads % height or samples % length:
        raise ValueError(f"signals of shape {tuple(signal.shape)} are not made of whole patches {tuple(patch_size)}")
    split = signal.reshape(batch, leads // height, height, samples // length, length).transpose(2, 3)
    return split.reshape(batch, -1, height * length)


def unpatchify(patches: Tensor, patch_size: tuple[int, int], leads: int) -> Tensor:
    """Put patches together again; the inverse of `patchify`.

    Args:
        patches: (B, N, P).
        patch_size: Leads and samples of one patch.
        leads: Leads of the signal.

    Returns:
        (B, leads, samples).
    """
    height, length = patch_size
    split = patches.reshape(patches.shape[0], leads // height, -1, height, length).transpose(2, 3)
    return split.reshape(patches.shape[0], leads, -1)


def normalised_cross_correlation(a: Tensor, b: Tensor, recorded: Tensor | None = None) -> Tensor:
    """Correlation over time of each lead, averaged over leads and recordings; a flat lead counts as uncorrelated.

    Args:
        a: (B, leads, samples).
        b: The same shape.
        recorded: (B, leads) bool, the leads that count; None = all.

    Returns:
        A scalar in [-1, 1].
    """
    a, b = a - a.mean(dim=-1, keepdim=True), b - b.mean(dim=-1, keepdim=True)
    # Added under the root: the gradient of a bare root is infinite where a predicted lead is flat.
    deviations = (a.square().mean(dim=-1) + NCC_VARIANCE_EPS).sqrt() * (
        b.square().mean(dim=-1) + NCC_VARIANCE_EPS
    ).sqrt()
    correlations = (a * b).mean(dim=-1) / deviations
    return correlations.mean() if recorded is None else _weighted_mean(correlations, recorded.to(correlations.dtype))


class MaskedReconstruction(nn.Module):
    """(1 - w) * MSE + w * (1 - NCC) between predicted and true signal.

    Args:
        ncc_weight: w in [0, 1]; 0.1 in the published recipe.
        scope: "all" takes the MSE over all patches, as the published code does; "masked" over the removed ones only, as
            masked autoencoders usually do. NCC always runs over the whole signal.
        normalise_patches: Predict each patch standardised by its own mean and unbiased variance (+ 1e-6).

    Raises:
        UserError: `ncc_weight` or `scope` is out of range.
    """

    def __init__(
        self, ncc_weight: float = 0.1, scope: Literal["all", "masked"] = "all", normalise_patches: bool = False
    ) -> None:
        super().__init__()
        if not 0.0 <= ncc_weight <= 1.0:
            raise UserError(f"ncc_weight must lie in [0, 1], got {ncc_weight}")
        if scope not in ("all", "masked"):
            raise UserError(f"unknown scope {scope!r} of the reconstruction loss: choose all or masked")
        self.ncc_weight = ncc_weight
        self.scope = scope
        self.normalise_patches = normalise_patches

    def forward(
        self,
        pred: Tensor,
        signal: Tensor,
        mask: Tensor,
        patch_size: tuple[int, int],
        recorded: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compare a prediction with the signal.

        Args:
            pred: (B, N, P) predicted patches.
            signal: (B, leads, samples) true signal.
            mask: (B, N), 1 = removed.
            patch_size: Leads and samples of one patch.
            recorded: (B, leads) bool for patches of one lead; what is predicted of a lead that is False, and what
                stands in it, NaN included, does not count. None = all leads count.

        Returns:
            Scalars "loss", "mse" (in the chosen scope) and "ncc" of the whole prediction with its target. Where patches
            are normalised that is the signal of normalised patches: putting the true mean and deviation of each patch
            back first would credit the prediction with them.
        """
        pred = pred.to(signal.dtype)
        weight = None
        if recorded is not None:
            signal = torch.where(recorded[:, :, None], signal, 0.0)
            weight = recorded.repeat_interleave(pred.shape[1] // recorded.shape[1], dim=1).to(pred.dtype)
        target = signal
        if self.normalise_patches:
            target = unpatchify(_standardise(patchify(signal, patch_size)), patch_size, signal.shape[1])
        errors = (pred - patchify(target, patch_size)).square()
        if self.scope == "masked":
            weight = mask if weight is None else mask * weight
        mse = errors.mean() if weight is None else _weighted_mean(errors.mean(dim=-1), weight)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.ncc_weight > 0.0):
            ncc = normalised_cross_correlation(unpatchify(pred, patch_size, signal.shape[1]), target, recorded)
        return {"loss": (1.0 - self.ncc_weight) * mse + self.ncc_weight * (1.0 - ncc), "mse": mse, "ncc": ncc}

    def reconstruct(self, pred: Tensor, signal: Tensor, patch_size: tuple[int, int]) -> Tensor:
        """Predicted signal (B, leads, samples) for figures; normalised patches get their true scale back."""
        pred = pred.to(signal.dtype)
        if self.normalise_patches:
            mean, deviation = _patch_statistics(patchify(signal, patch_size))
            pred = pred * deviation + mean
        return unpatchify(pred, patch_size, signal.shape[1])


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of values by their weights of 0 and 1; 0 where nothing counts."""
    return (values * weight).sum() / weight.sum().clamp(min=1.0)


def _standardise(patches: Tensor) -> Tensor:
    mean, deviation = _patch_statistics(patches)
    return (patches - mean) / deviation


def _patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (unbiased variance + 1e-6) of each patch, both (B, N, 1)."""
    return patches.mean(dim=-1, keepdim=True), (patches.var(dim=-1, keepdim=True) + PATCH_VARIANCE_EPS).sqrt()
