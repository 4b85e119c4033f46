"""One beat of a recording, instant by instant, against its image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ecgcmr.interpretation.context import AnalysisContext, Rows
from ecgcmr.interpretation.figures.beat_animation import MappedBeat
from ecgcmr.interpretation.figures.image_maps import MappedImage
from ecgcmr.interpretation.localisation import (
    ECG_TO_IMAGE,
    IMAGE_TO_ECG,
    OCCLUSION,
    Reading,
    over_images,
    similarity,
)
from ecgcmr.interpretation.regions import BEAT_LABELS, UNKNOWN, label_beats
from ecgcmr.shards.layout import LEADS as LEAD_NAMES

_BEAT_LEAD = LEAD_NAMES.index("II")
_INSTANTS = 20
_CINE = 8  # images of one slice, from which on they are a film of the beat


def mapped_beat(
    context: AnalysisContext,
    images: Mapping[str, Reading],
    ecgs: Mapping[str, Reading],
    row: Rows,
    name: str,
    image: MappedImage,
) -> MappedBeat:
    """Map instants of one beat: each instant's place of the ECG against the places of the image.

    By occlusion that is the interaction of two losses: of hiding the instant, and of hiding the place.
    """
    pair, ecg, cmr = context.require_pair(), context.ecg(row), context.cmr(row)
    samples, size = ecg.shape[2], (cmr.shape[1], cmr.shape[2], cmr.shape[3])
    labels = _labels(context, row, samples)
    start, stop = _beat(context, row, samples)
    instants, maps = _instants(ecgs[IMAGE_TO_ECG](pair, ecg), samples, start, stop), {}
    frames = _frames_at(context, (instants.mean(axis=1) - start) / (stop - start))
    for word, image_kind, ecg_kind in (
        ("published", ECG_TO_IMAGE, IMAGE_TO_ECG),
        ("by occlusion of both", ECG_TO_IMAGE + OCCLUSION, IMAGE_TO_ECG + OCCLUSION),
    ):
        places, along = images[image_kind](pair, cmr), ecgs[ecg_kind](pair, ecg).mean(dim=1)
        if ecg_kind == IMAGE_TO_ECG:
            along = F.normalize(along, dim=2)
        queries = _at(along, instants, samples)
        wide = over_images(similarity(places.expand(len(queries), *places.shape[1:]), queries), pair, size)
        maps[word] = wide[torch.arange(len(queries)), torch.from_numpy(frames)].cpu().numpy()
    lead = _BEAT_LEAD if ecg.shape[1] == len(LEAD_NAMES) else 0
    layout = context.index.layout.ecg
    return MappedBeat(
        signal=ecg[0, lead, start:stop].cpu().numpy(),
        sampling_rate=context.ecg_input.sampling_rate,
        lead=f"lead {LEAD_NAMES[(context.ecg_input.lead_rows or tuple(range(12)))[lead]]}",
        unit="" if layout is None else layout.unit,
        instants=instants - start,
        maps=maps,
        images=image.images[frames],
        masks=None if image.mask is None else image.mask[frames],
        parts=[_part(labels, instant) for instant in instants],
        name=name,
    )


def _labels(context: AnalysisContext, row: Rows, samples: int) -> NDArray[np.uint8]:
    if context.truth is None or not context.truth.has_waves:
        return np.full(samples, UNKNOWN, dtype=np.uint8)
    return label_beats(context.waves(row), samples)[0]


def _beat(context: AnalysisContext, row: Rows, samples: int) -> tuple[int, int]:
    """First and last sample of a beat: a third of a cycle before an R peak; a second where no peaks are known."""
    whole = (0, min(samples, round(context.ecg_input.sampling_rate)))
    if context.truth is None or not context.truth.has_waves:
        return whole
    peaks = context.r_peaks(row)[0]
    for first, second in zip(peaks[:-1], peaks[1:], strict=True):
        start = int(first - (second - first) // 3)
        if start >= 0 and second > first >= 0 and (stop := start + int(second - first)) <= samples:
            return start, stop
    return whole


def _instants(places: Tensor, samples: int, start: int, stop: int) -> NDArray[np.int64]:
    """First and last sample of the encoder's instants, (b, h, w, E), that lie within the beat: (k, 2).

    Of many, some 20 a beat are kept.
    """
    count = places.shape[2]
    edges = np.stack([np.arange(count) * samples // count, np.arange(1, count + 1) * samples // count], axis=1)
    inside = edges[(edges[:, 0] >= start) & (edges[:, 1] <= stop)]
    return inside[:: max(1, round(len(inside) / _INSTANTS))].astype(np.int64)


def _at(along: Tensor, instants: NDArray[np.int64], samples: int) -> Tensor:
    """Take the vectors (1, w, E) of the places in which instants have their middles: (k, E)."""
    places = (instants.mean(axis=1) * along.shape[1] / samples).astype(np.int64)
    return along[0, torch.from_numpy(places).to(along.device)]


def _part(labels: NDArray[np.uint8], instant: NDArray[np.int64]) -> str:
    """The part of the beat that an instant is mostly of."""
    counts = np.bincount(labels[instant[0] : instant[1]], minlength=UNKNOWN + 1)
    label = int(counts.argmax())
    return "" if label == UNKNOWN else BEAT_LABELS[label]


def _frames_at(context: AnalysisContext, phase: NDArray[np.float64]) -> NDArray[np.int64]:
    """The image to show at each phase (0 to 1) of a beat that starts a third of a cycle before its R peak.

    A film starts with the R peak (end-diastole); of a few frames the end-diastolic one is shown throughout.
    """
    names, layout = frame_names(context), context.index.layout.cmr
    if layout is not None and layout.slices == 1 and len(names) >= _CINE:
        return (((phase - 1 / 3) % 1.0) * len(names)).astype(np.int64)
    return np.full(len(phase), names.index("ED") if "ED" in names else 0, dtype=np.int64)


def frame_names(context: AnalysisContext) -> tuple[str, ...]:
    """Return the names of a recording's images."""
    layout = context.index.layout.cmr
    return () if layout is None else layout.frames
