"""The analysis of localisation: scores of maps where the truth is known, their sanity check, and figures.

Writes ``localisation.json`` (ratios with intervals, of the pair and of the controls), ``localisation_checks.json`` (how
far above each control, likeness under random weights, what the maps are made of) and ``localisation*.png``, ``*.gif``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.localisation import (
    ECG_TO_IMAGE,
    IMAGE_TO_ECG,
    LEADS,
    OcclusionGrid,
    Reading,
    ecg_readings,
    image_readings,
)
from ecgcmr.interpretation.localisation_figures import draw_examples, draw_scores
from ecgcmr.interpretation.measured_maps import Embeddings, lead_regions, measure_ecgs, measure_images, trials
from ecgcmr.interpretation.pair import random_pair
from ecgcmr.interpretation.randomisation_check import randomisation_check
from ecgcmr.interpretation.region_scores import above_controls, entries, others, ratios
from ecgcmr.interpretation.regions import BEAT_REGIONS, IMAGE_REGIONS, Regions
from ecgcmr.interpretation.result_json import write_json
from ecgcmr.metrics.bootstrap import Resamples
from ecgcmr.option_checks import check_least

SCORES, CHECKS = "localisation.json", "localisation_checks.json"
_TYPICAL_ROWS = 200


@dataclass(frozen=True)
class LocalisationOptions:
    """How to localise.

    Attributes:
        grid: Places that are hidden one by one.
        resamples: Of the bootstrap.
        examples: Recordings that are drawn, chosen at random.
        checked: Recordings of the randomisation check, chosen at random; 0 leaves it out.
        controlled: Recordings of the untrained pair, chosen at random: its maps cost as much as the trained one's.
    """

    grid: OcclusionGrid = field(default_factory=OcclusionGrid)
    resamples: int = 1000
    examples: int = 3
    checked: int = 20
    controlled: int = 100

    def __post_init__(self) -> None:
        check_least(1, resamples=self.resamples, image=self.grid.image, controlled=self.controlled)
        check_least(0, examples=self.examples, checked=self.checked)


def localisation(context: AnalysisContext, out: Path, options: LocalisationOptions | None = None) -> None:
    """Localise, score, check and draw.

    Regions of the image are scored where masks are stored, parts of the beat where waves are; leads always.

    Args:
        context: With a pair; its rows have ECG and images.
        out: Folder, made if missing.
        options: How.

    Raises:
        UserError: There is no pair, the cohort has other inputs, an encoder has no local features, or all recordings
            are of one subject.
    """
    options, pair = options or LocalisationOptions(), context.require_pair()
    context.check()
    if len(np.unique(context.subjects())) < 2:
        raise UserError(f"{context.index.root}: localisation compares recordings of two subjects at least")
    out.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        typical = typical_image(context)
        images = image_readings(typical, options.grid)
        ecgs = ecg_readings(context.ecg_input.sampling_rate, options.grid)
        ecgs = {**ecgs, **_by_lead(context, ecgs[IMAGE_TO_ECG])}
        untrained = random_pair(pair, context.generator("untrained pair"))
        own, control = Embeddings.of(context, pair), Embeddings.of(context, untrained)
        partner = others(context.subjects(), context.generator("shuffled subjects"))
        controlled = _some(context, "untrained pair's recordings", options.controlled)
        asked = trials(pair, untrained, (own.cmr, control.cmr), partner, controlled)
        measured = measure_ecgs(context, ecgs, asked)
        if context.truth is not None and context.truth.has_masks:
            asked = trials(pair, untrained, (own.ecg, control.ecg), partner, controlled)
            measured |= measure_images(context, images, asked)
        resamples = Resamples.draw(context.subjects(), options.resamples, context.seed)
        regions = {kind: _regions(context, kind) for kind in {kind for kind, _ in measured}}
        found = ratios(measured, resamples)
        rows, checks = entries(found, regions), _randomisation(context, images, ecgs, own, options)
        write_json(out / SCORES, rows)
        made_of = {"rows": len(context.rows), "places": _shapes(context, images, ecgs)}
        record = {"maps": made_of, "above_controls": above_controls(found, regions), "randomisation": checks}
        write_json(out / CHECKS, record)
        draw_scores(rows, checks, out)
        draw_examples(context, images, ecgs, options.examples, out)


def typical_image(context: AnalysisContext) -> Tensor:
    """Return the mean of validation recordings' images, (F, H, W); of the chosen ones where there are no such."""
    rows = context.index.positions("val", need=("cmr",))
    rows = rows if len(rows) else context.rows
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(_TYPICAL_ROWS, len(rows))).astype(int))]
    total = torch.stack([x.sum(dim=0) for _, x in replace(context, rows=rows).cmr_blocks()]).sum(dim=0)
    return total / len(rows)


def _by_lead(context: AnalysisContext, reading: Reading) -> dict[str, Reading]:
    """Return the published reading as one of leads too, where the encoder's places tell leads apart."""
    _, x = next(iter(replace(context, rows=context.rows[:1]).ecg_blocks()))
    rows = context.require_pair().ecg_places(x).shape[1]
    return {IMAGE_TO_ECG + LEADS: reading} if rows == context.ecg_input.leads > 1 else {}


def _some(context: AnalysisContext, purpose: str, count: int) -> NDArray[np.bool_]:
    """Choose recordings at random, (n,)."""
    chosen = np.zeros(len(context.rows), dtype=bool)
    chosen[context.generator(purpose).permutation(len(chosen))[:count]] = True
    return chosen


def _regions(context: AnalysisContext, kind: str) -> Regions:
    if kind.startswith(ECG_TO_IMAGE):
        return IMAGE_REGIONS
    return lead_regions(context) if kind.endswith(LEADS) else BEAT_REGIONS


def _randomisation(
    context: AnalysisContext,
    images: Mapping[str, Reading],
    ecgs: Mapping[str, Reading],
    own: Embeddings,
    options: LocalisationOptions,
) -> list[dict[str, Any]]:
    """Check maps of some recordings under random weights."""
    if min(options.checked, len(context.rows)) < 2:
        return []
    places = np.flatnonzero(_some(context, "randomisation check", options.checked))
    some = replace(context, rows=context.rows[places])
    resamples = Resamples.draw(some.subjects(), options.resamples, context.seed)
    found: list[dict[str, Any]] = []
    for modality, readings, queries in (("cmr", images, own.ecg), ("ecg", ecgs, own.cmr)):
        blocks = _blocks(some, modality, queries[torch.from_numpy(places).to(queries.device)])
        for kind, reading in readings.items():
            generator = context.generator(f"random weights, {kind}")
            pair = context.require_pair()
            found += randomisation_check(pair, modality, kind, reading, blocks, resamples, generator)
    return found


def _blocks(context: AnalysisContext, modality: str, queries: Tensor) -> Any:
    def blocks() -> Iterator[tuple[Tensor, Tensor]]:
        start = 0
        for rows, x in context.cmr_blocks() if modality == "cmr" else context.ecg_blocks():
            yield x, queries[start : start + len(rows)]
            start += len(rows)

    return blocks


def _shapes(context: AnalysisContext, images: Mapping[str, Reading], ecgs: Mapping[str, Reading]) -> dict[str, Any]:
    """Return how many places each map has: what is finer than that is interpolation."""
    one, pair = replace(context, rows=context.rows[:1]), context.require_pair()
    inputs = {**dict.fromkeys(images, one.cmr(one.rows)), **dict.fromkeys(ecgs, one.ecg(one.rows))}
    readings = {**images, **ecgs}
    return {kind: list(readings[kind](pair, x).shape[1:-1]) for kind, x in inputs.items()}
