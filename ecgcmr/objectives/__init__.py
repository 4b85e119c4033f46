"""Training objectives: pure torch modules, exact over the global batch of all ranks."""

from ecgcmr.objectives.contrastive import CLIPLoss, NTXentLoss, recall_at, retrieval_ranks
from ecgcmr.objectives.gather import gather_rows, gather_with_gradient
from ecgcmr.objectives.reconstruction import (
    MaskedReconstruction,
    normalised_cross_correlation,
    patchify,
    unpatchify,
)
from ecgcmr.objectives.similarity_guided import SimilarityGuidedCLIPLoss

__all__ = [
    "CLIPLoss",
    "MaskedReconstruction",
    "NTXentLoss",
    "SimilarityGuidedCLIPLoss",
    "gather_rows",
    "gather_with_gradient",
    "normalised_cross_correlation",
    "patchify",
    "recall_at",
    "retrieval_ranks",
    "unpatchify",
]
