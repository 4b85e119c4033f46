"""Checking a prepared cohort: every byte, every record and every promise that docs/shards.md makes."""

from ecgcmr.verification.cohort import verify_cohort
