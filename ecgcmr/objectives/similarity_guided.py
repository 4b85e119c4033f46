"""CLIP losses told by a similarity between subjects which other subjects are no true negatives.

Both published variants: similar subjects become positives too, or are left out of the negatives.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.errors import UserError
from ecgcmr.objectives.contrastive import check_pair, check_temperature, unit_rows
from ecgcmr.objectives.gather import gather_rows

Use = Literal["positives", "exclude"]


class SimilarityGuidedCLIPLoss(nn.Module):
    """CLIP loss in which pairs of subjects more similar than a threshold are treated apart.

    Args:
        temperature: Divides cosine similarities of embeddings.
        threshold: Subjects whose similarity is above it count as alike.
        use: "positives" spreads the target evenly over a subject and those alike (supervised contrast); "exclude"
            takes those alike out of the negatives (false-negative removal).

    Raises:
        UserError: `temperature` is not positive or `use` is unknown.
    """

    def __init__(self, temperature: float = 0.1, threshold: float = 0.5, use: Use = "exclude") -> None:
        super().__init__()
        check_temperature(temperature)
        if use not in get_args(Use):
            raise UserError(f"unknown use {use!r} of the similarity: choose one of {', '.join(get_args(Use))}")
        self.temperature = temperature
        self.threshold = threshold
        self.use = use

    def forward(self, ecg: Tensor, cmr: Tensor, similarity: Tensor) -> Tensor:
        """Loss of this rank's rows, mean of both directions; the mean over ranks is that of the global batch.

        Args:
            ecg: (B, D) projected ECGs, not yet normalised.
            cmr: (B, D) projected images.
            similarity: (B, total) symmetric similarity of this rank's subjects to those of all ranks, in rank order.

        Returns:
            A scalar.

        Raises:
            ValueError: The shapes do not belong together.
        """
        check_pair(ecg, cmr)
        with torch.autocast(ecg.device.type, enabled=False):
            local_ecg, local_cmr = unit_rows(ecg), unit_rows(cmr)
            gathered = gather_rows(torch.cat([local_ecg, local_cmr], dim=1))
            all_ecg, all_cmr = gathered.rows.chunk(2, dim=1)
            if similarity.shape != (ecg.shape[0], all_ecg.shape[0]):
                raise ValueError(
                    f"expected similarity {(ecg.shape[0], all_ecg.shape[0])}, got {tuple(similarity.shape)}"
                )
            own = torch.arange(ecg.shape[0], device=ecg.device) + gathered.start
            itself = F.one_hot(own, all_ecg.shape[0]).bool()
            alike = (similarity > self.threshold) | itself
            total = self._direction(local_cmr @ all_ecg.T, alike, itself)
            total = total + self._direction(local_ecg @ all_cmr.T, alike, itself)
            return gathered.scale * total / 2

    def _direction(self, cosine: Tensor, alike: Tensor, itself: Tensor) -> Tensor:
        logits = cosine / self.temperature
        if self.use == "exclude":
            return -logits.masked_fill(alike & ~itself, -math.inf).log_softmax(dim=1)[itself].sum()
        target = alike.to(logits.dtype) / alike.sum(dim=1, keepdim=True)
        return F.cross_entropy(logits, target, reduction="sum")
