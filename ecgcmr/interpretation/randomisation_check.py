"""Whether maps change when weights go: the sanity check of Adebayo et al. (NeurIPS 2018), layer by layer from the top.

The head between feature and common space goes first, then the encoder's layers. A map of what was learned loses its
likeness to the one of the trained network; one that keeps it is a filter of edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from ecgcmr.interpretation.localisation import Reading, similarity
from ecgcmr.interpretation.pair import AlignedPair
from ecgcmr.interpretation.randomised import randomised_layers, untrained
from ecgcmr.interpretation.region_scores import plain
from ecgcmr.metrics.bootstrap import Resamples, interval_of

HEAD = "projection"


def randomised_pairs(
    pair: AlignedPair, modality: str, generator: np.random.Generator
) -> Iterator[tuple[str, AlignedPair]]:
    """Yield (lowest random part, pair): the head of a modality first, then its encoder's layers from the top down.

    Args:
        pair: Trained.
        modality: ``ecg`` or ``cmr``, whose map is looked at; the other tower stays as it is.
        generator: Of the draws.
    """
    encoder, head = f"{modality}_encoder", f"{modality}_projection"
    without_head = replace(pair, **{head: untrained(getattr(pair, head), generator)})
    yield HEAD, without_head
    for layer, randomised in randomised_layers(getattr(pair, encoder), generator):
        yield f"layer {layer}", replace(without_head, **{encoder: randomised})


def randomisation_check(
    pair: AlignedPair,
    modality: str,
    kind: str,
    reading: Reading,
    blocks: Callable[[], Iterator[tuple[Tensor, Tensor]]],
    resamples: Resamples,
    generator: np.random.Generator,
) -> list[dict[str, Any]]:
    """Compare maps of the trained pair with those of pairs that lose their weights from the top down.

    Args:
        pair: Trained.
        modality: ``ecg`` or ``cmr``, whose places are mapped.
        kind: Name of the map.
        reading: Makes its places.
        blocks: Gives (inputs, embeddings of the other modality) of some recordings, block by block, as often as asked.
        resamples: Of their subjects.
        generator: Of the draws.

    Returns:
        For each part, from the top down: mean rank correlation of the maps over recordings, with its interval.
    """
    trained = [similarity(reading(pair, x), query).flatten(1).cpu().numpy() for x, query in blocks()]
    rows = []
    for part, randomised in randomised_pairs(pair, modality, generator):
        likeness = np.concatenate(
            [
                rank_correlations(before, similarity(reading(randomised, x), query).flatten(1).cpu().numpy())
                for before, (x, query) in zip(trained, blocks(), strict=True)
            ]
        )
        known = np.flatnonzero(np.isfinite(likeness))
        value = float(likeness[known].mean()) if len(known) else float("nan")
        weights = resamples.weights(known)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = weights @ likeness[known] / weights.sum(axis=1)
        interval = interval_of(value, drawn, bounds=(-1.0, 1.0))
        rows.append(
            {
                "kind": kind,
                "random_down_to": part,
                "rank_correlation": plain(interval.value),
                "ci_low": plain(interval.low),
                "ci_high": plain(interval.high),
                "n": int(len(np.unique(resamples.subject[known]))),
            }
        )
    return rows


def rank_correlations(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return Spearman's correlation of each row of two (n, k) arrays; NaN where a row is constant."""
    ranks = [rankdata(values, axis=1) for values in (first, second)]
    a, b = (one - one.mean(axis=1, keepdims=True) for one in ranks)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
