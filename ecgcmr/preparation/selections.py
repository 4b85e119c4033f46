"""Named, seeded selections of training rows: smaller training sets and balanced ones, as lists of positions.

Nothing is copied and nothing depends on who else is there: a subject's rank is a keyed hash of its own hash, and a
selection takes the subjects of lowest rank. A tenth of the subjects contains the hundredth, and subjects that come or
go move only the margin of a selection. All rows of a subject are in a selection or none of its negatives are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcmr.shards.layout import Label

FRACTIONS = {"10pct": (10, "one in ten"), "1pct": (100, "one in a hundred")}


def build_selections(
    subject: Sequence[str] | npt.NDArray[np.str_],
    split: Sequence[str] | npt.NDArray[np.str_],
    labels: npt.NDArray[np.floating],
    layout_labels: Sequence[Label],
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Choose the training subsets that the field reports (Turgut et al., arXiv 2308.05764: balanced, 1/10, 1/100).

    - ``train_10pct``, ``train_1pct``: a tenth and a hundredth of the training subjects, at least one.
    - ``{label}_balanced`` for every disease label: all positive training rows and as many negative ones.
    - ``{label}_balanced_10pct``, ``_1pct``: the same within the smaller training sets.

    A balanced selection that would have no positive or no negative row is left out. Where subjects have several rows,
    a subject with any positive row is no source of negatives, and the last subject taken may bring more negatives
    than there are positives.

    Args:
        subject: Hash of each of n rows' subject.
        split: Each row's split.
        labels: (n, L) labels, NaN = missing.
        layout_labels: The L labels.
        seed: Another seed gives other, equally stable selections.

    Returns:
        Name -> ``{"about": what it is, "rows": ascending positions}``, JSON-able.
    """
    train = np.flatnonzero(np.asarray(split, dtype=object) == "train")
    if not len(train):
        return {}
    subjects = np.asarray(subject, dtype=object)
    ranked = sorted(set(subjects[train]), key=lambda hashed: (_rank(hashed, seed), hashed))
    place_of = {hashed: place for place, hashed in enumerate(ranked)}
    place = np.array([place_of[hashed] for hashed in subjects[train]])
    parts = {"": (train, place, "the training rows")}
    selections: dict[str, dict[str, Any]] = {}
    for name, (divisor, words) in FRACTIONS.items():
        inside = place < max(1, round(len(ranked) / divisor))
        selections[f"train_{name}"] = _selection(f"all rows of {words} training subjects", train[inside], seed)
        parts[f"_{name}"] = (train[inside], place[inside], f"the rows of {words} training subjects")
    for column, label in enumerate(layout_labels):
        if label.kind != "disease":
            continue
        for suffix, (rows, places, words) in parts.items():
            chosen = _balance(labels[rows, column], places)
            if chosen is not None:
                about = f"of {words} all with {label.name} and as many without"
                selections[f"{label.name}_balanced{suffix}"] = _selection(about, rows[chosen], seed)
    return selections


def _rank(hashed: str, seed: int) -> bytes:
    return hashlib.blake2b(hashed.encode("ascii"), key=str(seed).encode(), digest_size=16, person=b"selection").digest()


def _selection(about: str, rows: npt.NDArray[np.int64], seed: int) -> dict[str, Any]:
    return {"about": f"{about}; chosen by rank, seed {seed}", "rows": np.sort(rows).tolist()}


def _balance(values: npt.NDArray[np.floating], places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Return indices of all positives and of as many negatives of lowest place; None where there are none of either.

    Args:
        values: (k,) 0, 1 or NaN.
        places: (k,) rank of each row's subject among all subjects.
    """
    positive = np.flatnonzero(values == 1)
    negative = np.flatnonzero((values == 0) & ~np.isin(places, places[positive]))
    if not len(positive) or not len(negative):
        return None
    negative = negative[np.argsort(places[negative], kind="stable")]
    last = places[negative][min(len(positive), len(negative)) - 1]
    return np.concatenate([positive, negative[places[negative] <= last]])
