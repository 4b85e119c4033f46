"""Training objectives: pure torch modules, exact over the global batch of all ranks."""

from ecgcmr.objectives.barlow_twins import BarlowTwinsLoss
from ecgcmr.objectives.byol import BYOLLoss, MomentumTarget
from ecgcmr.objectives.clocs import CLOCSLoss
from ecgcmr.objectives.contrastive import CLIPLoss, NTXentLoss
from ecgcmr.objectives.gather import gather_rows, mean_over_known, sum_over_ranks
from ecgcmr.objectives.global_statistics import GlobalBatchNorm
from ecgcmr.objectives.hazards import DiscreteTimeHazards
from ecgcmr.objectives.phenotype_guided import PhenotypeGuidedCLIPLoss, phenotype_similarity
from ecgcmr.objectives.protocol import ContrastiveObjective, require_objective
from ecgcmr.objectives.ptacl import PTACLLoss
from ecgcmr.objectives.reconstruction import (
    MaskedReconstruction,
    normalised_cross_correlation,
    patchify,
    unpatchify,
)
from ecgcmr.objectives.retrieval import recall_at, retrieval_ranks
from ecgcmr.objectives.siglip import SigLIPLoss
from ecgcmr.objectives.similarity_guided import SimilarityGuidedCLIPLoss
from ecgcmr.objectives.survival import CoxPartialLikelihood, SurvivalObjective, require_survival_objective
from ecgcmr.objectives.three_way import ThreeWayContrast
from ecgcmr.objectives.view_agreement import CosineAgreement
