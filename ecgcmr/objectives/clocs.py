"""CLOCS: recordings of one patient, not only views of one recording, are positives (Kiyasseh et al. 2021).

arXiv 2005.13249. What the two views are, successive segments (CMSC), other leads (CMLC) or both (CMSMLC), is up to
whoever makes them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecgcmr.objectives.gather import gather_rows
from ecgcmr.objectives.rows import check_pair, refuse_single_row, unit_rows, where_among
from ecgcmr.objectives.temperature import TemperedLoss


class CLOCSLoss(TemperedLoss):
    """Mean cross-entropy of a row's own partner and, half the loss, of partners from the same patient's other rows.

    Where no patient is in the global batch twice it is the CLIP loss of equal weights. Other rows of a patient stay in
    the denominator, as published; they are counted in both directions, where the published code takes each pair once.

    Args:
        temperature: Divides cosine similarities; 0.1 in the paper. The starting value if it is learned.
        learnable_temperature: Learn the logarithm of the inverse temperature, which is kept at ln 100 or below.

    Raises:
        UserError: The temperature is not positive.
    """

    needs: tuple[str, ...] = ("subjects",)

    def forward(self, a: Tensor, b: Tensor, subjects: Tensor) -> Tensor:
        """Loss of this rank's rows; the mean over ranks is that of the global batch.

        Args:
            a: (B, D) projections of the first view, not yet normalised.
            b: (B, D) projections of the second view, row by row of the same recordings.
            subjects: (B,) a number for the patient of each row, the same on all ranks.

        Returns:
            A scalar; 0 (with gradient) for an empty batch.

        Raises:
            ValueError: The shapes differ.
            UserError: The global batch holds one recording alone.
        """
        check_pair(a, b)
        with torch.autocast(a.device.type, enabled=False):
            local_a, local_b = unit_rows(a), unit_rows(b)
            gathered = gather_rows(torch.cat([local_a, local_b], dim=1), subjects)
            refuse_single_row(self, len(gathered.rows))
            all_a, all_b = gathered.rows.chunk(2, dim=1)
            (patients,) = gathered.beside
            own = torch.arange(a.shape[0], device=a.device) + gathered.start
            itself = where_among(own, all_a.shape[0])
            others = (subjects[:, None] == patients) & ~itself
            pairs = (patients[:, None] == patients).sum() - len(patients)
            scale = self.logit_scale()
            both = -(scale * local_a @ all_b.T).log_softmax(dim=1) - (scale * local_b @ all_a.T).log_softmax(dim=1)
            mean_own = gathered.scale * both.gather(1, own[:, None]).sum() / 2
            # gathered.scale is world / rows; of the other pairs there are `pairs` in place of rows.
            mean_others = gathered.scale * len(patients) / pairs.clamp(min=1) * torch.where(others, both, 0.0).sum() / 2
            share = (pairs > 0) / 2
            return (1 - share) * mean_own + share * mean_others
