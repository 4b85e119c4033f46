"""Contrastive objectives over the global batch of all ranks, and the retrieval metric that goes with them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.errors import UserError
from ecgcmr.objectives.gather import gather_rows

MAX_LOG_SCALE = math.log(100.0)
"""Upper bound of the learned inverse temperature (Radford et al. 2021, CLIP)."""


def check_temperature(temperature: float) -> None:
    """Raise UserError unless the temperature is positive."""
    if not temperature > 0.0:
        raise UserError(f"temperature must be positive, got {temperature}")


def unit_rows(x: Tensor) -> Tensor:
    """Rows of length 1, in float32 at least: bfloat16 logits at temperature 0.1 would be off by several percent."""
    return F.normalize(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x, dim=1)


def check_pair(a: Tensor, b: Tensor) -> None:
    """Raise ValueError unless both are (B, D) of one shape."""
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"expected two (B, D) batches of equal shape, got {tuple(a.shape)} and {tuple(b.shape)}")


class CLIPLoss(nn.Module):
    """Symmetric cross-entropy of matching ECG and CMR embeddings (Radford et al. 2021), negatives from all ranks.

    loss = w * CE(image -> ECG) + (1 - w) * CE(ECG -> image). Each rank returns the loss of its own rows, scaled so that
    the mean over ranks is the loss of the global batch.

    Args:
        temperature: Divides cosine similarities; the starting value if it is learned.
        image_to_ecg_weight: w in [0, 1].
        learnable_temperature: Learn the logarithm of the inverse temperature, which is kept at ln 100 or below.

    Raises:
        UserError: A number lies outside its range.
    """

    log_scale: Tensor

    def __init__(
        self, temperature: float = 0.1, image_to_ecg_weight: float = 0.5, learnable_temperature: bool = False
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        if not 0.0 <= image_to_ecg_weight <= 1.0:
            raise UserError(f"image_to_ecg_weight must lie in [0, 1], got {image_to_ecg_weight}")
        self.image_to_ecg_weight = image_to_ecg_weight
        log_scale = torch.tensor(-math.log(temperature))
        if learnable_temperature:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)

    @property
    def temperature(self) -> Tensor:
        """Temperature now, a number for the log."""
        return self.log_scale.detach().neg().exp()

    def no_weight_decay(self) -> set[str]:
        """The learned scale."""
        return {"log_scale"}

    def forward(self, ecg: Tensor, cmr: Tensor) -> Tensor:
        """Loss of this rank's rows against all ranks' rows.

        Args:
            ecg: (B, D) projected ECGs, not yet normalised; row i belongs to row i of `cmr`.
            cmr: (B, D) projected images.

        Returns:
            A scalar; 0 (with gradient) for an empty batch.

        Raises:
            ValueError: The shapes differ.
        """
        check_pair(ecg, cmr)
        with torch.autocast(ecg.device.type, enabled=False):
            local_ecg, local_cmr = unit_rows(ecg), unit_rows(cmr)
            gathered = gather_rows(torch.cat([local_ecg, local_cmr], dim=1))  # one collective for both
            all_ecg, all_cmr = gathered.rows.chunk(2, dim=1)
            scale = self._scale()
            target = torch.arange(ecg.shape[0], device=ecg.device) + gathered.start
            from_image = F.cross_entropy(scale * local_cmr @ all_ecg.T, target, reduction="sum")
            from_ecg = F.cross_entropy(scale * local_ecg @ all_cmr.T, target, reduction="sum")
            weight = self.image_to_ecg_weight
            return gathered.scale * (weight * from_image + (1.0 - weight) * from_ecg)

    def _scale(self) -> Tensor:
        if self.log_scale.requires_grad and self.training:
            with torch.no_grad():  # clamped in place: a clamp in the graph would leave it stuck beyond the bound
                self.log_scale.clamp_(max=MAX_LOG_SCALE)
        return self.log_scale.exp()


class NTXentLoss(nn.Module):
    """Normalised temperature-scaled cross-entropy of two views (Chen et al. 2020, SimCLR), negatives from all ranks.

    Args:
        temperature: Divides cosine similarities.

    Raises:
        UserError: The temperature is not positive.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Loss of this rank's rows; the mean over ranks is the loss of the global batch.

        Args:
            a: (B, D) projections of the first view, not yet normalised.
            b: (B, D) projections of the second view, row by row of the same recordings.

        Returns:
            A scalar: the mean over all 2 B anchors.

        Raises:
            ValueError: The shapes differ.
        """
        check_pair(a, b)
        with torch.autocast(a.device.type, enabled=False):
            local_a, local_b = unit_rows(a), unit_rows(b)
            gathered = gather_rows(torch.cat([local_a, local_b], dim=1))
            all_a, all_b = gathered.rows.chunk(2, dim=1)
            everyone = torch.cat([all_a, all_b])
            own = torch.arange(a.shape[0], device=a.device) + gathered.start
            total = self._anchors(local_a, everyone, own, own + all_a.shape[0])
            total = total + self._anchors(local_b, everyone, own + all_a.shape[0], own)
            return gathered.scale * total / 2

    def _anchors(self, anchors: Tensor, everyone: Tensor, own: Tensor, positive: Tensor) -> Tensor:
        logits = anchors @ everyone.T / self.temperature
        itself = F.one_hot(own, everyone.shape[0]).bool()
        return F.cross_entropy(logits.masked_fill(itself, -math.inf), positive, reduction="sum")


def retrieval_ranks(queries: Tensor, candidates: Tensor) -> Tensor:
    """Rank of each query's own partner among all candidates by cosine similarity.

    A tie counts against the query, so embeddings that have collapsed to a point rank last and not first.

    Args:
        queries: (N, D).
        candidates: (N, D), row i the partner of query i.

    Returns:
        (N,) int64; 0 is the best rank, and recall at k is the share of ranks below k.

    Raises:
        ValueError: The shapes differ.
    """
    check_pair(queries, candidates)
    similarity = unit_rows(queries) @ unit_rows(candidates).T
    return (similarity >= similarity.diagonal()[:, None]).sum(dim=1) - 1


def recall_at(ranks: Tensor, k: int) -> Tensor:
    """Share of queries whose partner is among the first k candidates, in [0, 1]."""
    return (ranks < k).float().mean()
