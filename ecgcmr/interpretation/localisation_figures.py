"""Figures of the localisation: scores, and a handful of recordings drawn at random with their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ecgcmr.inspection.png import PAPER_DPI, save_png
from ecgcmr.interpretation.context import AnalysisContext, Rows
from ecgcmr.interpretation.figures.beat_animation import MappedBeat, draw_strip, write_animation
from ecgcmr.interpretation.figures.ecg_map import draw_ecg_map
from ecgcmr.interpretation.figures.image_maps import MappedImage, draw_image_maps, draw_stack
from ecgcmr.interpretation.figures.randomisation_figure import draw_randomisation
from ecgcmr.interpretation.figures.ratio_figure import draw_ratios
from ecgcmr.interpretation.localisation import (
    ECG_TO_IMAGE,
    IMAGE_TO_ECG,
    LEADS,
    OCCLUSION,
    Reading,
    over_ecg,
    over_images,
    similarity,
)
from ecgcmr.interpretation.regions import BEAT_LABELS, UNKNOWN, label_beats
from ecgcmr.shards import read_ecgs
from ecgcmr.shards.layout import LEADS as LEAD_NAMES

TITLES = {
    ECG_TO_IMAGE: "ECG on the image, published",
    ECG_TO_IMAGE + OCCLUSION: "ECG on the image, by occlusion of places",
    IMAGE_TO_ECG: "Image on the ECG, published",
    IMAGE_TO_ECG + OCCLUSION: "Image on the ECG, by occlusion of instants",
    IMAGE_TO_ECG + LEADS: "Image on the leads, published",
    IMAGE_TO_ECG + OCCLUSION + LEADS: "Image on the leads, by occlusion of leads",
}
SIMILARITY, LOST = "similarity (cosine)", "loss of similarity (cosine)"
_PANELS = {ECG_TO_IMAGE: "published", ECG_TO_IMAGE + OCCLUSION: "by occlusion"}
_BEAT_LEAD = LEAD_NAMES.index("II")
_INSTANTS = 20
_CINE = 8  # images of one slice, from which on they are a film of the beat


@dataclass(frozen=True)
class _Example:
    """One recording of those that are drawn.

    Attributes:
        row: (1,) its position.
        name: In figures.
        number: In names of files.
    """

    row: Rows
    name: str
    number: int


def draw_scores(entries: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write ``localisation_ratios.png`` and ``localisation_randomisation.png``."""
    if entries:
        save_png(draw_ratios(entries, TITLES), out / "localisation_ratios.png")
    if checks:
        save_png(draw_randomisation(checks, TITLES), out / "localisation_randomisation.png")


def draw_examples(
    context: AnalysisContext, images: Mapping[str, Reading], ecgs: Mapping[str, Reading], count: int, out: Path
) -> None:
    """Draw recordings with their maps.

    Args:
        context: With a pair.
        images: Readings of images.
        ecgs: Readings of ECGs.
        count: How many recordings.
        out: Folder.
    """
    rows = context.generator("examples").choice(context.rows, min(count, len(context.rows)), replace=False)
    examples = [_Example(np.array([row]), f"example {place}", place) for place, row in enumerate(rows, start=1)]
    if not examples:
        return
    mapped = [_mapped_image(context, images, example) for example in examples]
    names = _frame_names(context)
    frame = names.index("ED") if "ED" in names else 0
    published, occluded = mapped[0].maps
    units = {published: SIMILARITY, occluded: LOST}
    save_png(draw_image_maps(mapped, frame, f"frame {names[frame]}", units), out / "localisation_image.png")
    if len(names) > 1:
        for title, word in ((published, "published"), (occluded, "occlusion")):
            figure = draw_stack(mapped[0], title, units[title], names)
            save_png(figure, out / f"localisation_frames_{word}.png")
    for example, image in zip(examples, mapped, strict=True):
        _draw_ecgs(context, ecgs, example, out)
        beat = _mapped_beat(context, images, ecgs, example, image)
        if example.number == 1:
            write_animation(beat, out / "localisation_beat_1.gif")
        save_png(draw_strip(beat), out / f"localisation_beat_{example.number}.png")


def _mapped_image(context: AnalysisContext, readings: Mapping[str, Reading], example: _Example) -> MappedImage:
    pair, cmr = context.require_pair(), context.cmr(example.row)
    query, size = pair.ecg_embedding(context.ecg(example.row)), (cmr.shape[1], cmr.shape[2], cmr.shape[3])
    maps = {}
    for kind, reading in readings.items():
        coarse = similarity(reading(pair, cmr), query)
        title = f"{_PANELS[kind]}, {coarse.shape[2]} x {coarse.shape[3]} places"
        maps[title] = over_images(coarse, pair, size)[0].cpu().numpy()
    return MappedImage(cmr[0].cpu().numpy(), maps, _mask(context, example), example.name)


def _mask(context: AnalysisContext, example: _Example) -> NDArray[np.uint8] | None:
    known = context.truth is not None and context.truth.has_masks
    return context.masks(example.row)[0] if known else None


def _draw_ecgs(context: AnalysisContext, readings: Mapping[str, Reading], example: _Example, out: Path) -> None:
    """Draw the whole record with each map in time, window after window of the encoder's length."""
    spec, stored = context.ecg_input, context.index.layout.ecg
    if stored is None or stored.leads != LEAD_NAMES or spec.leads != len(LEAD_NAMES):
        return  # paper is of twelve leads
    pair, record = context.require_pair(), read_ecgs(context.index, example.row)
    windows = torch.from_numpy(record).to(context.device).unfold(2, spec.samples, spec.samples)[0].movedim(1, 0)
    query = pair.cmr_embedding(context.cmr(example.row)).expand(len(windows), -1)
    waves = context.waves(example.row)[0] if context.truth is not None and context.truth.has_waves else None
    for kind, (label, word) in {
        IMAGE_TO_ECG: (SIMILARITY, "published"),
        IMAGE_TO_ECG + OCCLUSION: (LOST, "by occlusion"),
    }.items():
        maps = over_ecg(similarity(readings[kind](pair, windows), query), spec.leads, spec.samples)
        values = np.full(record.shape[1:], np.nan)
        whole = maps.movedim(0, 1).flatten(1).cpu().numpy()
        values[:, : whole.shape[1]] = whole
        title = f"The image on the ECG, {word}, {example.name}"
        rate, unit = stored.sampling_rate, stored.unit
        figure = draw_ecg_map(record[0], values, rate, unit, title=title, label=label, waves=waves)
        name = kind.removeprefix(IMAGE_TO_ECG).strip("_") or "published"
        save_png(figure, out / f"localisation_ecg_{name}_{example.number}.png", PAPER_DPI / 2)


def _mapped_beat(
    context: AnalysisContext,
    images: Mapping[str, Reading],
    ecgs: Mapping[str, Reading],
    example: _Example,
    image: MappedImage,
) -> MappedBeat:
    """Map instants of one beat: each instant's place of the ECG against the places of the image.

    By occlusion that is the interaction of two losses: of hiding the instant, and of hiding the place.
    """
    pair, ecg, cmr = context.require_pair(), context.ecg(example.row), context.cmr(example.row)
    samples, size = ecg.shape[2], (cmr.shape[1], cmr.shape[2], cmr.shape[3])
    labels = _labels(context, example, samples)
    start, stop = _beat(context, example, samples)
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
        name=example.name,
    )


def _labels(context: AnalysisContext, example: _Example, samples: int) -> NDArray[np.uint8]:
    if context.truth is None or not context.truth.has_waves:
        return np.full(samples, UNKNOWN, dtype=np.uint8)
    return label_beats(context.waves(example.row), samples)[0]


def _beat(context: AnalysisContext, example: _Example, samples: int) -> tuple[int, int]:
    """First and last sample of a beat: a third of a cycle before an R peak; a second where no peaks are known."""
    whole = (0, min(samples, round(context.ecg_input.sampling_rate)))
    if context.truth is None or not context.truth.has_waves:
        return whole
    peaks = context.r_peaks(example.row)[0]
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
    names, layout = _frame_names(context), context.index.layout.cmr
    if layout is not None and layout.slices == 1 and len(names) >= _CINE:
        return (((phase - 1 / 3) % 1.0) * len(names)).astype(np.int64)
    return np.full(len(phase), names.index("ED") if "ED" in names else 0, dtype=np.int64)


def _frame_names(context: AnalysisContext) -> tuple[str, ...]:
    layout = context.index.layout.cmr
    return () if layout is None else layout.frames
