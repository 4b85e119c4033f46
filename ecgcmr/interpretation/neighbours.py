"""Nearest neighbours to look at: for a few queries, whose images come first, with the volumes of those hearts.

Queries are not chosen to please: they are those at even steps through the queries in the order of their rank.
Subjects are named by their row in the index, by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.retrieval import Retrieval
from ecgcmr.shards import Label, ShardIndex, read_cmr, read_ecgs, read_labels


@dataclass(frozen=True)
class Heart:
    """One subject's image with what is known of the heart.

    Attributes:
        row: In the index.
        image: (H, W) uint8, one frame as stored.
        values: Of the labels, in their units, NaN missing.
        own: Whether it is the query's own subject.
    """

    row: int
    image: NDArray[np.uint8]
    values: NDArray[np.float32]
    own: bool


@dataclass(frozen=True)
class Neighbours:
    """A query and what it brings.

    Attributes:
        row: Of the query, in the index.
        ecg: (leads, samples) as stored.
        query: The query's own heart.
        nearest: What comes first, the most similar one first.
        rank: Of the query's own subject among all, counted from 1.
        candidates: How many there are.
        frame: Name of the frame that is shown.
    """

    row: int
    ecg: NDArray[np.float32]
    query: Heart
    nearest: tuple[Heart, ...]
    rank: int
    candidates: int
    frame: str


def neighbours(
    context: AnalysisContext, found: Retrieval, labels: Sequence[Label], queries: int = 3, count: int = 5
) -> list[Neighbours]:
    """Return what ECGs retrieve, for queries at even steps through the order of ranks.

    Args:
        context: The cohort.
        found: Retrieval of images by ECGs of the context's rows.
        labels: Of which the values are shown.
        queries: How many.
        count: Images each.
    """
    order = np.argsort(found.ranks, kind="stable")
    queries = min(queries, len(order))
    chosen = order[((np.arange(queries) + 0.5) * len(order) / queries).astype(int)]
    return [_neighbours(context.index, context.rows, found, int(place), labels, count) for place in chosen]


def _neighbours(
    index: ShardIndex, rows: NDArray[np.int64], found: Retrieval, place: int, labels: Sequence[Label], count: int
) -> Neighbours:
    nearest = found.order[place, :count]
    shown = rows[np.concatenate([[place], nearest])]
    frame = display_frame(index)
    images = read_cmr(index, shown)[:, frame]
    values = read_labels(index, [label.name for label in labels], shown)
    same = found.subjects[nearest] == found.subjects[place]
    hearts = [
        Heart(int(row), image, value, bool(own))
        for row, image, value, own in zip(shown, images, values, [True, *same], strict=True)
    ]
    ecg = read_ecgs(index, rows[place : place + 1])[0]
    layout = index.layout.cmr
    name = layout.frames[frame] if layout is not None else ""
    return Neighbours(
        int(rows[place]), ecg, hearts[0], tuple(hearts[1:]), int(found.ranks[place]) + 1, len(found.ranks), name
    )


def display_frame(index: ShardIndex) -> int:
    """Return the frame that shows a heart best: end-diastole of the middle slice, else the middle frame."""
    layout = index.layout.cmr
    if layout is None:
        return 0
    names = [name.upper() for name in layout.frames]
    diastolic = [place for place, name in enumerate(names) if name.startswith("ED")]
    return diastolic[len(diastolic) // 2] if diastolic else len(names) // 2
