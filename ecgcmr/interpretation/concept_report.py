"""Concept directions of an embedding: ``concepts.json``, the scores, the ECG along directions, and the bull's-eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgcmr.inspection.png import save_png
from ecgcmr.interpretation.concept_beats import BeatsAlong, beats_along
from ecgcmr.interpretation.concepts import Directions, add_control, correlation, learn_directions
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.figures.concept_figure import draw_beats_along, draw_concepts
from ecgcmr.interpretation.probe_rows import ProbeRows
from ecgcmr.interpretation.result_json import write_json
from ecgcmr.reports.bullseye import SEGMENTS, bullseye
from ecgcmr.shards import Label, ShardIndex
from ecgcmr.shards.layout import LEADS

NAME = "concepts.json"
SEGMENT_GROUPS = {
    "wt_aha_": "Wall thickness",
    "ecc_aha_": "Circumferential strain",
    "err_aha_": "Radial strain",
}
"""Labels of AHA segments 1 to 16 by the start of their name, and what they are."""


def write_concepts(
    context: AnalysisContext,
    probed: ProbeRows,
    labels: Sequence[Label],
    out: Path,
    *,
    control: ProbeRows | None = None,
    along: Sequence[str] = (),
    bins: int = 5,
    recordings: int = 30,
    resamples: int = 1000,
) -> Directions:
    """Write ``concepts.json``, ``concepts.png``, ``concepts_ecg_NAME.png`` and ``concepts_bullseye.png``.

    Args:
        context: The cohort.
        probed: Rows and features to fit and score directions with.
        labels: Of which directions are learnt; those of AHA segments are added where the cohort has them.
        out: Folder.
        control: The same rows through an untrained encoder.
        along: Names among the labels along which the mean ECG is drawn.
        bins: Of a direction.
        recordings: At most from each bin.
        resamples: Of the subjects.

    Returns:
        The directions of ``labels`` and of the segments.
    """
    segments = segment_labels(context.index)
    wanted = [*labels, *(label for group in segments.values() for label in group if label not in labels)]
    learnt = learn_directions(context, probed, wanted, resamples)
    if control is not None:
        add_control(learnt, learn_directions(context, control, wanted, resamples))
    entries = {entry["target"]: entry for entry in learnt.entries}
    beats = [_along(context, learnt, name, bins, recordings) for name in along] if _twelve(context.index) else []
    count = len(labels)
    content: dict[str, Any] = {
        "rows": {split: len(rows) for split, rows in probed.rows.items()},
        "concepts": learnt.entries[:count],
        "correlation": {
            "targets": [label.name for label in labels],
            "of_directions": correlation(learnt.coordinates[:, :count]),
            "of_labels": correlation(learnt.truth[:, :count]),
        },
        "segments": [
            {"group": title, "segment": number, **entries[label.name]}
            for prefix, title in SEGMENT_GROUPS.items()
            for number, label in enumerate(segments.get(prefix, ()), start=1)
        ],
        "along": [_bins_entry(each) for each in beats],
    }
    write_json(out / NAME, content)
    scored = [entry for entry in learnt.entries[:count] if entry["score"] is not None]
    if scored:
        save_png(draw_concepts(scored), out / "concepts.png")
    for each in beats:
        if each.bins:
            save_png(draw_beats_along(each), out / f"concepts_ecg_{each.label.name}.png")
    _draw_bullseye(segments, entries, out)
    return learnt


def segment_labels(index: ShardIndex) -> dict[str, list[Label]]:
    """Return the labels of segments 1 to 16 of each group that a cohort has whole, by the start of their name."""
    known = {label.name: label for label in index.layout.labels}
    groups = {prefix: [f"{prefix}{k}" for k in range(1, SEGMENTS + 1)] for prefix in SEGMENT_GROUPS}
    return {prefix: [known[n] for n in names] for prefix, names in groups.items() if all(n in known for n in names)}


def _along(context: AnalysisContext, learnt: Directions, name: str, bins: int, recordings: int) -> BeatsAlong:
    place = [label.name for label in learnt.labels].index(name)
    coordinate = learnt.coordinates[:, place]
    bins = bins if np.isfinite(coordinate).all() and len(coordinate) >= 2 * bins else 0
    return beats_along(context, learnt.labels[place], coordinate, learnt.truth[:, place], bins, recordings)


def _bins_entry(along: BeatsAlong) -> dict[str, Any]:
    bins = [{"coordinate": b.coordinate, "truth": b.truth, "recordings": b.recordings} for b in along.bins]
    return {"target": along.label.name, "unit": along.label.unit, "bins": bins, "without_beats": along.without_beats}


def _draw_bullseye(segments: dict[str, list[Label]], entries: dict[str, dict[str, Any]], out: Path) -> None:
    panels, titles = [], []
    for prefix, group in segments.items():
        scores, untrained = ([entries[label.name].get(name) for label in group] for name in ("score", "untrained"))
        if any(score is not None for score in scores):
            panels.append([np.nan if score is None else score for score in scores])
            titles.append(f"{SEGMENT_GROUPS[prefix]}\n{_mean('mean', scores)}{_mean(', untrained', untrained)}")
    if panels:
        title = "What the ECG embedding\nknows of each AHA segment"
        figure = bullseye(panels, titles, title=title, label="R² of a linear probe", columns=1)
        save_png(figure, out / "concepts_bullseye.png")


def _mean(words: str, scores: list[float | None]) -> str:
    known = [score for score in scores if score is not None]
    return f"{words} {np.mean(known):z.2f}" if known else ""


def _twelve(index: ShardIndex) -> bool:
    return index.layout.ecg is not None and index.layout.ecg.leads == LEADS
