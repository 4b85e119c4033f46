"""The order of leads that networks pre-trained on files of MIMIC-IV-ECG see: aVF before aVL."""

from __future__ import annotations

from ecgcmr.leads import LEADS

MIMIC_ORDER = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")


def mimic_rows(leads: int) -> tuple[int, ...] | None:
    """Return the place of each lead among the twelve in our order, of a network of all of them; None for fewer."""
    return tuple(LEADS.index(name) for name in MIMIC_ORDER) if leads == len(MIMIC_ORDER) else None
