"""Sweeps: many fits of one config with other settings, proposed by Optuna and judged on validation alone."""

from ecgcmr.sweeps.trial_report import TrialReport
