"""The stages: thin LightningModules around pure-torch encoders and objectives."""

from ecgcmr.stages.alignment import ECGCMRAlignment
from ecgcmr.stages.diagnosis_classification import DiagnosisClassification
from ecgcmr.stages.masked_autoencoder import ECGMaskedAutoencoder
from ecgcmr.stages.measurement_alignment import ECGCMRMeasurementAlignment, ECGMeasurementAlignment
from ecgcmr.stages.optimisation import OptimiserSettings
from ecgcmr.stages.phenotype_regression import PhenotypeRegression
from ecgcmr.stages.time_to_event import TimeToEvent
from ecgcmr.stages.unimodal import UnimodalContrast
