"""Contrastive objectives that pick a row's partner out of all ranks' rows: CLIP and NT-Xent."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ecgcmr.objectives.gather import GatheredRows, gather_rows
from ecgcmr.objectives.rows import check_pair, check_weight, refuse_single_row, unit_rows, where_among
from ecgcmr.objectives.temperature import TemperedLoss


class CLIPLoss(TemperedLoss):
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

    needs: tuple[str, ...] = ()

    def __init__(
        self, temperature: float = 0.1, image_to_ecg_weight: float = 0.5, learnable_temperature: bool = False
    ) -> None:
        super().__init__(temperature, learnable_temperature)
        check_weight("image_to_ecg_weight", image_to_ecg_weight)
        self.image_to_ecg_weight = image_to_ecg_weight

    def forward(self, ecg: Tensor, cmr: Tensor) -> Tensor:
        """Loss of this rank's rows against all ranks' rows.

        Args:
            ecg: (B, D) projected ECGs, not yet normalised; row i belongs to row i of `cmr`.
            cmr: (B, D) projected images.

        Returns:
            A scalar; 0 (with gradient) for an empty batch.

        Raises:
            ValueError: The shapes differ.
            UserError: The global batch holds one recording alone.
        """
        check_pair(ecg, cmr)
        with torch.autocast(ecg.device.type, enabled=False):
            local_ecg, local_cmr = unit_rows(ecg), unit_rows(cmr)
            # One collective for both.
            return self.of_gathered(local_ecg, local_cmr, gather_rows(torch.cat([local_ecg, local_cmr], dim=1)))

    def of_gathered(self, local_ecg: Tensor, local_cmr: Tensor, gathered: GatheredRows) -> Tensor:
        """Do the same with rows (B, D) of length 1 that were gathered already, (total, 2 D) of ECG and CMR."""
        with torch.autocast(local_ecg.device.type, enabled=False):
            refuse_single_row(self, len(gathered.rows))
            all_ecg, all_cmr = gathered.rows.chunk(2, dim=1)
            scale = self.logit_scale()
            target = torch.arange(local_ecg.shape[0], device=local_ecg.device) + gathered.start
            from_image = F.cross_entropy(scale * local_cmr @ all_ecg.T, target, reduction="sum")
            from_ecg = F.cross_entropy(scale * local_ecg @ all_cmr.T, target, reduction="sum")
            weight = self.image_to_ecg_weight
            return gathered.scale * (weight * from_image + (1.0 - weight) * from_ecg)


class NTXentLoss(TemperedLoss):
    """Normalised temperature-scaled cross-entropy of two views (Chen et al. 2020, SimCLR), negatives from all ranks.

    Args:
        temperature: Divides cosine similarities; the starting value if it is learned.
        learnable_temperature: Learn the logarithm of the inverse temperature, which is kept at ln 100 or below.

    Raises:
        UserError: The temperature is not positive.
    """

    needs: tuple[str, ...] = ()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Loss of this rank's rows; the mean over ranks is the loss of the global batch.

        Args:
            a: (B, D) projections of the first view, not yet normalised.
            b: (B, D) projections of the second view, row by row of the same recordings.

        Returns:
            A scalar: the mean over all 2 B anchors.

        Raises:
            ValueError: The shapes differ.
            UserError: The global batch holds one recording alone.
        """
        check_pair(a, b)
        with torch.autocast(a.device.type, enabled=False):
            local_a, local_b = unit_rows(a), unit_rows(b)
            gathered = gather_rows(torch.cat([local_a, local_b], dim=1))
            refuse_single_row(self, len(gathered.rows))
            all_a, all_b = gathered.rows.chunk(2, dim=1)
            everyone = torch.cat([all_a, all_b])
            own = torch.arange(a.shape[0], device=a.device) + gathered.start
            scale = self.logit_scale()
            total = self._anchors(scale * local_a, everyone, own, own + all_a.shape[0])
            total = total + self._anchors(scale * local_b, everyone, own + all_a.shape[0], own)
            return gathered.scale * total / 2

    def _anchors(self, anchors: Tensor, everyone: Tensor, own: Tensor, positive: Tensor) -> Tensor:
        logits = anchors @ everyone.T
        itself = where_among(own, everyone.shape[0])
        return F.cross_entropy(logits.masked_fill(itself, -math.inf), positive, reduction="sum")
