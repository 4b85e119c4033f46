"""Writes what the outputs of a model rest on: `attribution.json`, `attribution_*.png` and `attention_*.png`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgcmr.encoders.protocol import AttendingEncoder
from ecgcmr.files import write_atomically
from ecgcmr.interpretation.attended import Attended, attend
from ecgcmr.interpretation.attributed import Attributed, attribute
from ecgcmr.interpretation.attribution_blocks import AttributionOptions
from ecgcmr.interpretation.attribution_figures import save_attention, save_attribution
from ecgcmr.interpretation.beats import stores_waves
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.questions import Question, questions
from ecgcmr.interpretation.segment_mass import SegmentSums, Share, shares
from ecgcmr.metrics.bootstrap import Resamples, interval_of

Floats = NDArray[np.float64]
FILE = "attribution.json"
UNTRAINED = "untrained"
GRADIENTS, OCCLUSION, ROLLOUT = "integrated gradients", "occlusion", "attention rollout"


def attribution(context: AnalysisContext, out: Path, options: AttributionOptions | None = None) -> None:
    """Attribute outputs of a model to the ECG, and show its attention, for the chosen recordings of a context.

    Args:
        context: With a ``DownstreamReadout``, or with a pair.
        out: Folder for ``attribution.json`` and figures; made if missing.
        options: None: the usual ones.

    Raises:
        UserError: A target is not known, there is nothing to attribute, or a recording or an output is not finite.
    """
    options = options or AttributionOptions()
    asked = questions(context, options.targets)
    out.mkdir(parents=True, exist_ok=True)
    explained = []
    for question in asked:
        found = attribute(context, question, options)
        explained.append(_described(context, question, found, options))
        if options.figures:
            save_attribution(context, question, found, options, explained[-1]["rows"], out)
    waves = "stored" if stores_waves(context) else "found"
    content: dict[str, Any] = {
        "baseline": options.baseline, "waves": waves, "targets": explained, "attention": None,
    }  # fmt: skip
    features = asked[0].features
    if options.attention and isinstance(features.encoder, AttendingEncoder):
        attended = attend(context, features, max(1, options.batch // 4))
        content["attention"] = _attention(context, attended, options)
        if options.figures:
            save_attention(context, attended, out)
    write_atomically(out / FILE, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def _described(
    context: AnalysisContext, question: Question, found: Attributed, options: AttributionOptions
) -> dict[str, Any]:
    """Return what the file says of one target."""
    subjects = context.subjects(found.rows)
    difference = found.output - found.baseline
    relative = found.error[found.resolved] / np.abs(difference[found.resolved])
    count = len(found.effects)
    gained = found.sums.signed[:count, :, : found.effects.shape[2]]
    agreement = sign_agreement(gained, found.effects)

    def interval(values: Floats, which: slice = slice(None)) -> dict[str, float | None]:
        return _interval(values, subjects[which], options, context.seed)

    def rows(sums: SegmentSums, method: str, control: str | None, which: slice = slice(None)) -> list[dict[str, Any]]:
        table = shares(sums, subjects[which], options.resamples, context.seed)
        return [_row(share, question.name, question.unit, method, control) for share in table]

    of_effects = slice(0, count)
    lost = _as_sums(found.effects, found.sums.rows(np.arange(count)))
    return {
        "target": question.name,
        "title": question.title,
        "unit": question.unit,
        "recordings": len(found.rows),
        "subjects": len(np.unique(subjects)),
        "without_beats": found.beatless,
        "windows": question.features.windows,
        "output": {"mean": _plain(found.output.mean()), "sd": _plain(found.output.std())},
        "difference": {"mean": _plain(difference.mean()), "sd": _plain(difference.std())},
        "completeness": {
            "tolerance": options.tolerance,
            "share_complete": _plain(found.complete.mean()),
            "largest_relative_error": _plain(relative.max()) if len(relative) else None,
            "without_difference": int((~found.resolved).sum()),
            "median_steps": _plain(np.median(found.steps)),
            "most_steps": int(found.steps.max()),
        },
        "occlusion": {
            "recordings": count,
            # Occlusion puts lines in place of waves; with beats in their place it asks another question.
            "sign_agreement": interval(agreement, of_effects) if options.baseline == "flat" else None,
        },
        "randomised": {
            "rank_correlation": interval(found.likeness),
            "recordings_of_layers": len(found.cascade[0][1]) if found.cascade else 0,
            "layers": [
                {"from_layer": layer, "rank_correlation": interval(values, slice(len(values)))}
                for layer, values in found.cascade
            ],
        },
        "rows": [
            *rows(found.sums, GRADIENTS, None),
            *rows(found.control, GRADIENTS, UNTRAINED),
            *(rows(lost, OCCLUSION, None, of_effects) if count else ()),
        ],
    }  # fmt: skip


def sign_agreement(gained: Floats, effects: Floats) -> Floats:
    """Return the share of the effect of occlusion whose sign integrated gradients agree with, (n,); NaN without effect.

    Args:
        gained: (n, 12, segments) sums of attributions.
        effects: (n, 12, segments) of occlusion, NaN = no such segment.
    """
    weight = np.abs(np.nan_to_num(effects)).reshape(len(effects), -1)
    same = (np.sign(gained) == np.sign(np.nan_to_num(effects))).reshape(len(effects), -1)
    total = weight.sum(axis=1)
    return np.where(total > 0, (weight * same).sum(axis=1) / np.where(total > 0, total, 1.0), np.nan)


def _attention(context: AnalysisContext, found: Attended, options: AttributionOptions) -> dict[str, Any]:
    table = shares(found.sums, context.subjects(found.rows), options.resamples, context.seed)
    return {
        "recordings": len(found.rows),
        "leads_resolved": found.leads_resolved,
        "patch_seconds": found.patch_seconds,
        "class_token": _interval(found.class_token, context.subjects(found.rows), options, context.seed),
        "rows": [
            _row(share, None, "", ROLLOUT, None) for share in table if found.leads_resolved or share.lead == "all"
        ],
    }


def _as_sums(effects: Floats, sums: SegmentSums) -> SegmentSums:
    """Return effects of segments as sums; what lies outside of marked beats was not occluded and is left out."""
    filled = np.nan_to_num(effects)
    unmarked = ((0, 0), (0, 0), (0, sums.area.shape[2] - filled.shape[2]))
    area = sums.area.copy()
    area[:, :, filled.shape[2] :] = 0.0
    signed = np.pad(filled, unmarked)
    return SegmentSums(np.abs(signed), signed, area)


def _row(share: Share, target: str | None, unit: str, method: str, control: str | None) -> dict[str, Any]:
    return {
        "kind": "attribution" if target else "attention",
        "target": target,
        "method": method,
        "lead": share.lead,
        "region": share.region,
        "share_of_mass": _plain(share.share_of_mass.value),
        "share_low": _plain(share.share_of_mass.low),
        "share_high": _plain(share.share_of_mass.high),
        "share_of_area": _plain(share.share_of_area),
        "ratio": _plain(share.ratio.value),
        "ci_low": _plain(share.ratio.low),
        "ci_high": _plain(share.ratio.high),
        "contribution": _plain(share.contribution.value),
        "contribution_low": _plain(share.contribution.low),
        "contribution_high": _plain(share.contribution.high),
        "unit": unit,
        "control": control,
        "n": share.subjects,
    }


def _interval(values: Floats, subjects: NDArray, options: AttributionOptions, seed: int) -> dict[str, float | None]:
    """Return the mean of what is known, with its interval by subject."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return {"value": None, "ci_low": None, "ci_high": None}
    weights = Resamples.draw(subjects[known], options.resamples, seed).weights(np.arange(len(known)))
    found = interval_of(float(values[known].mean()), weights @ values[known] / weights.sum(axis=1))
    return {"value": _plain(found.value), "ci_low": _plain(found.low), "ci_high": _plain(found.high)}


def _plain(value: Any) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
