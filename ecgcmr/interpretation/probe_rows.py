"""Rows of training and validation beside the chosen ones, with their features: what linear directions are fitted on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.interpretation.context import AnalysisContext, Rows
from ecgcmr.interpretation.embeddings import ecg_features
from ecgcmr.interpretation.randomised import untrained

CHOSEN = "chosen"


@dataclass(frozen=True)
class ProbeRows:
    """Features of the rows that directions are fitted, chosen and scored on.

    Attributes:
        rows: ``train``, ``val`` and ``chosen`` (the context's) -> positions in the index.
        features: The same -> (n, D).
    """

    rows: dict[str, Rows]
    features: dict[str, NDArray[np.float32]]


def probe_rows(context: AnalysisContext, most_training: int = 2000, most_validation: int = 500) -> ProbeRows:
    """Choose rows and embed them.

    Subjects among the chosen rows are taken out of training and validation, whichever split was chosen.

    Args:
        context: Its rows are those that are scored.
        most_training: Training rows, drawn where the cohort has more.
        most_validation: Likewise.

    Raises:
        UserError: No training or validation rows are left, or a feature is not finite.
    """
    scored = context.subjects()
    rows: dict[str, Rows] = {CHOSEN: context.rows}
    for split, most in (("train", most_training), ("val", most_validation)):
        there = context.index.positions(split, need=("ecg",))
        there = there[~np.isin(context.index.subjects(there), scored)]
        if len(there) < 2:
            raise UserError(f"{context.index.root}: no rows of the {split} split are left to fit directions with")
        rows[split] = np.sort(context.generator(f"rows of {split}").permutation(there)[:most])
    return ProbeRows(rows, {split: ecg_features(context, chosen) for split, chosen in rows.items()})


def untrained_rows(context: AnalysisContext, probed: ProbeRows) -> ProbeRows:
    """Return the same rows through an untrained encoder of the same make: what architecture alone gives."""
    encoder = untrained(context.ecg_encoder, context.generator("untrained encoder"))
    control = replace(context, ecg_encoder=encoder, pair=None)
    return ProbeRows(probed.rows, {split: ecg_features(control, rows) for split, rows in probed.rows.items()})
