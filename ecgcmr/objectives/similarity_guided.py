"""CLIP losses told by a similarity between subjects which other subjects are no true negatives.

Similar subjects become positives too (supervised contrast), share the target by degree (soft targets), or are left out
of the negatives (false-negative removal).
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ecgcmr.errors import UserError
from ecgcmr.objectives.gather import GatheredRows, gather_rows
from ecgcmr.objectives.rows import check_pair, check_weight, refuse_single_row, unit_rows, where_among
from ecgcmr.objectives.temperature import TemperedLoss, check_temperature

Use = Literal["positives", "exclude", "soft"]


class SimilarityGuidedCLIPLoss(TemperedLoss):
    """CLIP loss in which other subjects count by their similarity.

    Args:
        temperature: Divides cosine similarities of embeddings; the starting value if it is learned.
        threshold: Subjects whose similarity is above it count as alike; not used by "soft".
        use: "positives" spreads the target evenly over a subject and those alike (supervised contrast); "exclude"
            takes those alike out of the negatives (false-negative removal); "soft" makes the target the softmax of
            similarity / `target_temperature`.
        target_temperature: Of "soft"; the smaller, the nearer to plain CLIP.
        image_to_ecg_weight: Weight of the direction from image to ECG, in [0, 1].
        learnable_temperature: Learn the logarithm of the inverse temperature, which is kept at ln 100 or below.

    Raises:
        UserError: A number lies outside its range or `use` is unknown.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        threshold: float = 0.5,
        use: Use = "exclude",
        target_temperature: float = 0.1,
        image_to_ecg_weight: float = 0.5,
        learnable_temperature: bool = False,
    ) -> None:
        super().__init__(temperature, learnable_temperature)
        check_weight("image_to_ecg_weight", image_to_ecg_weight)
        check_temperature(target_temperature)
        if use not in get_args(Use):
            raise UserError(f"unknown use {use!r} of the similarity: choose one of {', '.join(get_args(Use))}")
        self.threshold = threshold
        self.use = use
        self.target_temperature = target_temperature
        self.image_to_ecg_weight = image_to_ecg_weight

    def forward(self, ecg: Tensor, cmr: Tensor, similarity: Tensor) -> Tensor:
        """Loss of this rank's rows in both directions; the mean over ranks is that of the global batch.

        Args:
            ecg: (B, D) projected ECGs, not yet normalised.
            cmr: (B, D) projected images.
            similarity: (B, total) symmetric similarity of this rank's subjects to those of all ranks, in rank order;
                -inf where nothing is known. What it says of a subject and itself is taken only by "soft".

        Returns:
            A scalar.

        Raises:
            ValueError: The shapes do not belong together.
            UserError: The global batch holds one recording alone.
        """
        check_pair(ecg, cmr)
        with torch.autocast(ecg.device.type, enabled=False):
            local_ecg, local_cmr = unit_rows(ecg), unit_rows(cmr)
            return self.of_gathered(
                local_ecg, local_cmr, gather_rows(torch.cat([local_ecg, local_cmr], dim=1)), similarity
            )

    def of_gathered(self, local_ecg: Tensor, local_cmr: Tensor, gathered: GatheredRows, similarity: Tensor) -> Tensor:
        """Do the same with rows (B, D) of length 1 that were gathered already, (total, 2 D) of ECG and CMR."""
        with torch.autocast(local_ecg.device.type, enabled=False):
            refuse_single_row(self, len(gathered.rows))
            all_ecg, all_cmr = gathered.rows.chunk(2, dim=1)
            if similarity.shape != (local_ecg.shape[0], all_ecg.shape[0]):
                raise ValueError(
                    f"expected similarity {(local_ecg.shape[0], all_ecg.shape[0])}, got {tuple(similarity.shape)}"
                )
            own = torch.arange(local_ecg.shape[0], device=local_ecg.device) + gathered.start
            scale, weight = self.logit_scale(), self.image_to_ecg_weight
            from_image = self._direction(scale * local_cmr @ all_ecg.T, similarity, own)
            from_ecg = self._direction(scale * local_ecg @ all_cmr.T, similarity, own)
            return gathered.scale * (weight * from_image + (1.0 - weight) * from_ecg)

    def _direction(self, logits: Tensor, similarity: Tensor, own: Tensor) -> Tensor:
        itself = where_among(own, logits.shape[1])
        alike = (similarity > self.threshold) | itself
        if self.use == "exclude":
            return F.cross_entropy(logits.masked_fill(alike & ~itself, -math.inf), own, reduction="sum")
        if self.use == "positives":
            target = alike.to(logits.dtype) / alike.sum(dim=1, keepdim=True)
        else:
            target = (similarity.to(logits.dtype) / self.target_temperature).softmax(dim=1)
        return F.cross_entropy(logits, target, reduction="sum")
