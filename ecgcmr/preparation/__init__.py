"""From records to arrays: cleaned ECGs, cine frames, labels and splits, and the run over a whole cohort."""

from ecgcmr.preparation.baseline import BaselineSolver, remove_baseline
from ecgcmr.preparation.cine import finish_frames, finish_frames_batch, frames_from_short_axis
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.cleaning import clean_ecg
from ecgcmr.preparation.ecg import LEADS, standardise_record
from ecgcmr.preparation.labels import label_schema
from ecgcmr.preparation.splits import assign_split, subject_hash
from ecgcmr.preparation.subject_key import load_key
