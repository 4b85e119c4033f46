"""Figures of the localisation: scores, and a handful of recordings drawn at random with their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecgcmr.inspection.png import save_png
from ecgcmr.interpretation.context import AnalysisContext, Rows
from ecgcmr.interpretation.figures.beat_animation import draw_strip, write_animation
from ecgcmr.interpretation.figures.ecg_map import ECGMap, save_ecg_map
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
from ecgcmr.interpretation.mapped_beat import frame_names, mapped_beat
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
    names = frame_names(context)
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
        beat = mapped_beat(context, images, ecgs, example.row, example.name, image)
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
        name = kind.removeprefix(IMAGE_TO_ECG).strip("_") or "published"
        paper = ECGMap(record[0], values, rate, unit, label, title, waves=waves)
        save_ecg_map(paper, out / f"localisation_ecg_{name}_{example.number}.png")
