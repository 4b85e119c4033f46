"""From records to arrays: cleaned ECGs, cine frames, labels and splits, and the run over a whole cohort."""

from ecgcmr.preparation.baseline import BaselineSolver, remove_baseline
from ecgcmr.preparation.cine import CineOptions, finish_frames, finish_frames_batch, frames_from_short_axis
from ecgcmr.preparation.ecg import LEADS, ECGCleaner, clean_ecg, standardise_record
from ecgcmr.preparation.labels import label_schema
from ecgcmr.preparation.splits import assign_split, subject_hash
from ecgcmr.preparation.subject_key import load_key

__all__ = [
    "LEADS",
    "BaselineSolver",
    "CineOptions",
    "ECGCleaner",
    "assign_split",
    "clean_ecg",
    "finish_frames",
    "finish_frames_batch",
    "frames_from_short_axis",
    "label_schema",
    "load_key",
    "remove_baseline",
    "standardise_record",
    "subject_hash",
]
