"""From records to arrays: cleaned ECGs, cine frames, labels and splits, and the run over a whole cohort.

Modules are imported when they are asked for: who prepares one ECG needs neither images nor tables.
"""

from typing import TYPE_CHECKING

from ecgcmr.names_on_demand import names_on_demand

if TYPE_CHECKING:
    from ecgcmr.preparation.baseline import BaselineSolver, remove_baseline
    from ecgcmr.preparation.cine import finish_frames, finish_frames_batch, frames_from_short_axis
    from ecgcmr.preparation.cine_options import CineOptions
    from ecgcmr.preparation.cleaning import clean_ecg
    from ecgcmr.preparation.ecg import LEADS, standardise_record
    from ecgcmr.preparation.labels import label_schema
    from ecgcmr.preparation.splits import assign_split, subject_hash
    from ecgcmr.preparation.subject_key import load_key

_HOMES = {
    "BaselineSolver": "baseline",
    "remove_baseline": "baseline",
    "finish_frames": "cine",
    "finish_frames_batch": "cine",
    "frames_from_short_axis": "cine",
    "CineOptions": "cine_options",
    "clean_ecg": "cleaning",
    "LEADS": "ecg",
    "standardise_record": "ecg",
    "label_schema": "labels",
    "assign_split": "splits",
    "subject_hash": "splits",
    "load_key": "subject_key",
}
__getattr__, __dir__ = names_on_demand(__name__, _HOMES)
