"""Maps of all recordings of a context, measured block by block: the pair's, and those of every control.

Of the maps themselves nothing is kept; a block's maps become its recordings' shares at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.interpretation.context import AnalysisContext, Rows
from ecgcmr.interpretation.localisation import LEADS, Reading, edges, over_ecg, over_images, similarity, slopes
from ecgcmr.interpretation.pair import AlignedPair
from ecgcmr.interpretation.region_scores import EDGES, SHUFFLED, UNTRAINED, Key
from ecgcmr.interpretation.regions import BEAT_REGIONS, IMAGE_REGIONS, Regions, Shares, label_beats, shares
from ecgcmr.shards.layout import LEADS as LEAD_NAMES


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors of all chosen recordings, in their order.

    Attributes:
        ecg: (n, E).
        cmr: (n, E).
    """

    ecg: Tensor
    cmr: Tensor

    @classmethod
    def of(cls, context: AnalysisContext, pair: AlignedPair) -> Embeddings:
        """Embed every recording.

        Raises:
            UserError: An embedding is not finite.
        """
        ecg = torch.cat([pair.ecg_embedding(x) for _, x in context.ecg_blocks()])
        cmr = torch.cat([pair.cmr_embedding(x) for _, x in context.cmr_blocks()])
        if not (torch.isfinite(ecg).all() and torch.isfinite(cmr).all()):
            raise UserError(f"{context.index.root}: an embedding is not finite; look for recordings that are not")
        return cls(ecg, cmr)


@dataclass(frozen=True)
class Trial:
    """A pair and what it is asked, for all recordings.

    Attributes:
        pair: Makes the places.
        query: (n, E) embeddings of the other modality.
        partner: (n,) whose embedding each recording is asked for.
        measured: (n,) which recordings are measured; the others are left out of this control alone.
    """

    pair: AlignedPair
    query: Tensor
    partner: NDArray[np.intp]
    measured: NDArray[np.bool_]


def trials(
    pair: AlignedPair,
    untrained: AlignedPair,
    embedded: tuple[Tensor, Tensor],
    partner: NDArray[np.intp],
    controlled: NDArray[np.bool_],
) -> dict[str | None, Trial]:
    """Return the pair itself and its controls.

    Args:
        pair: Trained.
        untrained: The control.
        embedded: Embeddings (n, E) of the other modality, by the trained and by the untrained pair.
        partner: (n,) another subject's recording for each.
        controlled: (n,) recordings whose maps the untrained pair makes: they cost as much as the trained one's.
    """
    own, everyone = np.arange(len(partner)), np.ones(len(partner), dtype=bool)
    return {
        None: Trial(pair, embedded[0], own, everyone),
        SHUFFLED: Trial(pair, embedded[0], partner, everyone),
        UNTRAINED: Trial(untrained, embedded[1], own, controlled),
    }


def measure_images(
    context: AnalysisContext, readings: Mapping[str, Reading], asked: Mapping[str | None, Trial]
) -> dict[Key, Shares]:
    """Measure the maps of images in the regions of the masks; the control of edges is as coarse as the map."""
    spec = context.cmr_input
    size = (spec.frames, spec.height, spec.width)

    def measured(rows: Rows, maps: Tensor) -> Shares:
        whole, places = (
            over_images(maps, context.require_pair(), size, smooth=smooth).cpu().numpy() for smooth in (True, False)
        )
        return shares(whole, context.masks(rows), IMAGE_REGIONS, places)

    return _measure(context, readings, asked, context.cmr, edges, measured)


def measure_ecgs(
    context: AnalysisContext, readings: Mapping[str, Reading], asked: Mapping[str | None, Trial]
) -> dict[Key, Shares]:
    """Measure the maps of ECGs in the parts of the beat, and those of leads by lead."""
    spec = context.ecg_input
    by_time = {kind: reading for kind, reading in readings.items() if not kind.endswith(LEADS)}
    by_lead = {kind: reading for kind, reading in readings.items() if kind.endswith(LEADS)}
    regions = lead_regions(context)

    def in_time(rows: Rows, maps: Tensor) -> Shares:
        leads = maps.shape[1]  # of which each stands for as many leads of the ECG as any other
        whole, places = (over_ecg(maps, leads, spec.samples, smooth=smooth).cpu().numpy() for smooth in (True, False))
        labels = label_beats(context.waves(rows), spec.samples)
        return shares(whole, np.repeat(labels[:, None], leads, axis=1), BEAT_REGIONS, places)

    def in_leads(rows: Rows, maps: Tensor) -> Shares:
        values = maps.mean(dim=2).cpu().numpy()
        return shares(values, np.tile(np.arange(spec.leads, dtype=np.uint8), (len(rows), 1)), regions)

    found = _measure(context, by_time, asked, context.ecg, slopes, in_time) if _has_waves(context) else {}
    return found | _measure(context, by_lead, asked, context.ecg, slopes, in_leads)


def lead_regions(context: AnalysisContext) -> Regions:
    """Return the leads that the ECG encoder takes, as regions."""
    spec = context.ecg_input
    places = spec.lead_rows or tuple(range(spec.leads))
    return Regions.single([LEAD_NAMES[place] for place in places])


def _has_waves(context: AnalysisContext) -> bool:
    return context.truth is not None and context.truth.has_waves


def _measure(
    context: AnalysisContext,
    readings: Mapping[str, Reading],
    asked: Mapping[str | None, Trial],
    inputs: Callable[[Rows], Tensor],
    steepness: Callable[[Tensor, tuple[int, int]], Tensor],
    measured: Callable[[Rows, Tensor], Shares],
) -> dict[Key, Shares]:
    """Go through the recordings once; places are made once for each pair, whoever asks; the pair itself comes first."""
    parts: dict[Key, list[Shares]] = {}
    start = 0
    for rows in context.row_blocks():
        x, block = inputs(rows), slice(start, start + len(rows))
        start += len(rows)
        for kind, reading in readings.items():
            made: dict[int, Tensor] = {}
            for control, trial in asked.items():
                chosen = np.flatnonzero(trial.measured[block])
                if not len(chosen):
                    nothing = parts[kind, None][-1].spread(chosen, len(rows))
                    parts.setdefault((kind, control), []).append(nothing)
                    continue
                if id(trial.pair) not in made:
                    made[id(trial.pair)] = reading(trial.pair, x[torch.from_numpy(chosen).to(x.device)])
                places = made[id(trial.pair)]
                query = trial.query[torch.from_numpy(trial.partner[block][chosen]).to(trial.query.device)]
                found = measured(rows[chosen], similarity(places, query))
                parts.setdefault((kind, control), []).append(found.spread(chosen, len(rows)))
                grid = (int(places.shape[-3]), int(places.shape[-2]))
            parts.setdefault((kind, EDGES), []).append(measured(rows, steepness(x, grid)))
    return {key: Shares.joined(part) for key, part in parts.items()}
