"""A cohort with known truth: one latent cardiac state per subject drives an ECG, a short-axis cine and diagnoses.

docs/synthesis.md tells the model and every link between heart and ECG.
"""

from ecgcmr.synthesis.ecg import r_peak_times, render_ecgs
from ecgcmr.synthesis.events import Events, sample_events
from ecgcmr.synthesis.oracle import Oracle, fit_oracle, oracle_predictions, oracle_table
from ecgcmr.synthesis.state import CardiacState, sample_states

__all__ = [
    "CardiacState",
    "Events",
    "Oracle",
    "fit_oracle",
    "oracle_predictions",
    "oracle_table",
    "r_peak_times",
    "render_ecgs",
    "sample_events",
    "sample_states",
]
