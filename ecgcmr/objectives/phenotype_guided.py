"""Contrast guided by phenotypes: subjects whose hearts measure alike are no negatives of each other."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ecgcmr.errors import UserError
from ecgcmr.objectives.gather import gather_rows
from ecgcmr.objectives.rows import check_pair, unit_rows, where_among
from ecgcmr.objectives.similarity_guided import SimilarityGuidedCLIPLoss, Use

Kind = Literal["gaussian", "cosine"]


def phenotype_similarity(a: Tensor, b: Tensor, kind: Kind = "gaussian", width: float = 1.0) -> Tensor:
    """Similarity of subjects by the phenotypes that are known of both.

    Args:
        a: (n, L) standardised phenotypes, NaN = missing.
        b: (m, L) the same of others.
        kind: "gaussian": exp(-d2 / (2 width^2)), d2 the mean squared difference, in (0, 1]; "cosine" of the two
            vectors, in [-1, 1], which asks for several phenotypes.
        width: Of the Gaussian, in standard deviations.

    Returns:
        (n, m); -inf where no phenotype is known of both.
    """
    known_a, known_b = (torch.isfinite(x).to(x.dtype) for x in (a, b))
    a, b = a.nan_to_num(0.0, 0.0, 0.0), b.nan_to_num(0.0, 0.0, 0.0)
    shared, product = known_a @ known_b.T, a @ b.T
    square_a, square_b = a.square() @ known_b.T, known_a @ b.square().T
    if kind == "gaussian":
        distance = (square_a + square_b - 2.0 * product).clamp(min=0.0) / shared.clamp(min=1.0)
        similarity = (-distance / (2.0 * width**2)).exp()
    else:
        similarity = product / (square_a * square_b).sqrt().clamp(min=1e-12)
    return similarity.masked_fill(shared == 0, -math.inf)


class PhenotypeGuidedCLIPLoss(nn.Module):
    """CLIP loss in which the phenotypes in the batch say how alike subjects are; see `SimilarityGuidedCLIPLoss`.

    A subject without any known phenotype takes part as in plain CLIP.

    Args:
        temperature: Divides cosine similarities of embeddings; the starting value if it is learned.
        use: "positives" (supervised contrast), "exclude" (false-negative removal) or "soft" (soft targets).
        threshold: Similarity above which subjects count as alike; not used by "soft".
        target_temperature: Of "soft".
        similarity: "gaussian" or "cosine"; see `phenotype_similarity`.
        width: Of the Gaussian, in standard deviations of the phenotypes.
        image_to_ecg_weight: Weight of the direction from image to ECG, in [0, 1].
        learnable_temperature: Learn the temperature.

    Raises:
        UserError: A number lies outside its range or a choice is unknown.
    """

    needs: tuple[str, ...] = ("phenotypes",)

    def __init__(
        self,
        temperature: float = 0.1,
        use: Use = "exclude",
        threshold: float = 0.9,
        target_temperature: float = 0.1,
        similarity: Kind = "gaussian",
        width: float = 1.0,
        image_to_ecg_weight: float = 0.5,
        learnable_temperature: bool = False,
    ) -> None:
        super().__init__()
        if similarity not in get_args(Kind):
            raise UserError(f"unknown similarity {similarity!r}: choose one of {', '.join(get_args(Kind))}")
        if not width > 0.0:
            raise UserError(f"width of the similarity must be positive, got {width}")
        self.guided = SimilarityGuidedCLIPLoss(
            temperature, threshold, use, target_temperature, image_to_ecg_weight, learnable_temperature
        )
        self.similarity = similarity
        self.width = width

    @property
    def temperature(self) -> Tensor:
        """Temperature now, a number for the log."""
        return self.guided.temperature

    def forward(self, a: Tensor, b: Tensor, phenotypes: Tensor) -> Tensor:
        """Loss of this rank's rows; the mean over ranks is that of the global batch.

        Args:
            a: (B, D) projected ECGs, not yet normalised.
            b: (B, D) projected images.
            phenotypes: (B, L) standardised, NaN = missing.

        Returns:
            A scalar.

        Raises:
            ValueError: The shapes do not belong together.
            UserError: The global batch holds one recording alone.
        """
        check_pair(a, b)
        phenotypes = phenotypes.detach()
        with torch.autocast(a.device.type, enabled=False):
            local_a, local_b = unit_rows(a), unit_rows(b)
            gathered = gather_rows(torch.cat([local_a, local_b], dim=1), phenotypes)
            similarity = phenotype_similarity(phenotypes, gathered.beside[0], self.similarity, self.width)
            own = torch.arange(len(phenotypes), device=phenotypes.device) + gathered.start
            itself = where_among(own, len(gathered.rows))
            similarity = similarity.masked_fill(itself, 1.0)  # also where nothing is known of a subject
            return self.guided.of_gathered(local_a, local_b, gathered, similarity)
