"""The stages: thin LightningModules around pure-torch encoders and objectives."""

from ecgcmr.stages.alignment import ECGCMRAlignment
from ecgcmr.stages.downstream import DiagnosisClassification, PhenotypeRegression
from ecgcmr.stages.masked_autoencoder import ECGMaskedAutoencoder
from ecgcmr.stages.optimisation import OptimiserSettings
from ecgcmr.stages.run_folder import StepCheckpoint
from ecgcmr.stages.unimodal import UnimodalContrast

__all__ = [
    "DiagnosisClassification",
    "ECGCMRAlignment",
    "ECGMaskedAutoencoder",
    "OptimiserSettings",
    "PhenotypeRegression",
    "StepCheckpoint",
    "UnimodalContrast",
]
