"""Which figures an attribution gets, and what stands on them: `attribution_TARGET_*.png` and `attention_heads.png`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from ecgcmr.inspection.png import save_png
from ecgcmr.interpretation.attended import Attended
from ecgcmr.interpretation.attributed import Attributed
from ecgcmr.interpretation.attribution_blocks import AttributionOptions
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.figures.attention_heads import draw_attention
from ecgcmr.interpretation.figures.beat_map import draw_beat_map
from ecgcmr.interpretation.figures.ecg_map import ECGMap, save_ecg_map
from ecgcmr.interpretation.figures.segment_bars import draw_segment_bars
from ecgcmr.interpretation.questions import Question

_BASELINES = {"flat": "a flat line", "mean_beat": "the mean heart's beats in its rhythm"}
_PER = 0.010  # s: attributions are shown per 10 ms, whatever the sampling rate


def save_attribution(
    context: AnalysisContext,
    question: Question,
    found: Attributed,
    options: AttributionOptions,
    rows: Sequence[Mapping[str, Any]],
    out: Path,
) -> list[Path]:
    """Write the figures of one target and return their paths."""
    rate, unit = signal_scale(context)
    name, per = safe_name(question.name), _PER * rate
    label = f"contribution to {question.title}, {question.unit or '1'} per 10 ms"
    versus = _BASELINES[options.baseline]
    example, count = found.example, len(found.rows)
    paper = ECGMap(
        example.signal,
        smoothed(np.where(example.seen, example.values, np.nan), rate) * per,
        rate,
        unit,
        label,
        f"What {question.title} was read from",
        (
            f"model {example.output:.4g}, {versus} {example.baseline:.4g} {question.unit}",
            f"contributions add up to {example.output - example.baseline:+.3g} {question.unit}",
        ),
        signed=True,
    )
    written = save_ecg_map(paper, out / f"attribution_{name}_paper.png")
    if found.mean_beat is not None:
        beat = replace(found.mean_beat, values=smoothed(found.mean_beat.values, rate) * per)
        words = f"on the median beat, mean of {beat.beats} recordings; against {versus}, mean over beats"
        title = f"{question.title}: contributions of the ECG"
        figure = draw_beat_map(beat, rate, unit, label, title=title, note=words)
        written.append(save_png(figure, out / f"attribution_{name}_beat.png"))
    gradients = [row for row in rows if row["method"] == "integrated gradients"]
    subjects = max((row["n"] for row in gradients), default=0)
    counted = f"{count} recordings of {subjects} subjects, intervals by subject"
    note = f"integrated gradients against {versus}, without sign; {counted}"
    figure = draw_segment_bars(gradients, title=f"{question.title}: contributions by part of the beat", note=note)
    written.append(save_png(figure, out / f"attribution_{name}_segments.png"))
    return written


def save_attention(context: AnalysisContext, found: Attended, out: Path) -> list[Path]:
    """Write the figure of attention and return its path."""
    rate, unit = signal_scale(context)
    figure = draw_attention(found.example, rate, unit, title="Attention over leads and time")
    return [save_png(figure, out / "attention_heads.png")]


def signal_scale(context: AnalysisContext) -> tuple[float, str]:
    """Return sampling rate in Hz and unit of a cohort's ECGs."""
    ecg = context.index.layout.ecg
    return (context.ecg_input.sampling_rate, "z-score") if ecg is None else (ecg.sampling_rate, ecg.unit)


def smoothed(values: NDArray[np.floating], sampling_rate: float, seconds: float = 0.02) -> NDArray[np.float64]:
    """Return the running mean over so many seconds, (..., T), NaN left out: single samples are not to be read."""
    width = max(1, round(seconds * sampling_rate) // 2 * 2 + 1)
    known = np.isfinite(values)
    sums = [uniform_filter1d(part.astype(np.float64), width, axis=-1, mode="constant") for part in
            (np.where(known, values, 0.0), known)]  # fmt: skip
    return np.where(known, sums[0] / np.where(known, sums[1], 1.0), np.nan)


def safe_name(name: str) -> str:
    """Return a target's name as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:80] or "target"
