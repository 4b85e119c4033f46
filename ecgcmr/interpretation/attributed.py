"""What a number of a model rests on, over many recordings: attributions, occlusion and controls.

Maps of single recordings are summed up and let go; one is kept as an example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ecgcmr.errors import UserError
from ecgcmr.interpretation.attribution_blocks import AttributionOptions, Block, attribution_blocks
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.integrated_gradients import Attributions, Output, integrated_gradients
from ecgcmr.interpretation.median_beat import BeatValues, MeanBeat, on_median_beat
from ecgcmr.interpretation.occlusion import occlude
from ecgcmr.interpretation.questions import Question
from ecgcmr.interpretation.randomised import randomised_layers, untrained
from ecgcmr.interpretation.segment_mass import SegmentSums

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """One recording with its attribution.

    Attributes:
        signal: (12, stored samples) as it is stored.
        values: (12, T) attribution from the first sample on.
        seen: (12, T).
        output: Of the recording.
        baseline: Output of the baseline.
        beat: On its median beat; None where it has no beats.
    """

    signal: NDArray[np.float32]
    values: NDArray[np.float32]
    seen: NDArray[np.bool_]
    output: float
    baseline: float
    beat: BeatValues | None


@dataclass(frozen=True)
class Attributed:
    """What was found of n recordings.

    Attributes:
        rows: (n,) of the index; recordings without beats are left out where the baseline needs them.
        sums: Of the trained model.
        control: Of the same model with random weights.
        output: (n,) of the model.
        baseline: (n,) output of the baseline.
        complete: (n,) whether the attribution's sum is their difference.
        resolved: (n,) whether the difference stands out of rounding, so that a share of it can be asked for.
        error: (n,) by how much it is not.
        steps: (n,) gradients taken.
        likeness: (n,) rank correlation of the maps without sign with those of random weights, over leads and time.
        effects: (k, 12, segments) of occlusion, of the first k recordings.
        cascade: Layer -> (m,) rank correlation with the maps of a model whose weights are random from there up.
        mean_beat: Mean over recordings on the median beat; None where there are no beats.
        example: The first recording.
        beatless: Recordings without beats.
    """

    rows: NDArray[np.int64]
    sums: SegmentSums
    control: SegmentSums
    output: Floats
    baseline: Floats
    complete: NDArray[np.bool_]
    resolved: NDArray[np.bool_]
    error: Floats
    steps: NDArray[np.int64]
    likeness: Floats
    effects: Floats
    cascade: list[tuple[int, Floats]]
    mean_beat: BeatValues | None
    example: Example
    beatless: int


def attribute(context: AnalysisContext, question: Question, options: AttributionOptions) -> Attributed:
    """Attribute one number to the ECGs of all chosen recordings, block by block.

    Raises:
        UserError: No recording is left to look at, or one or an output is not finite.
    """
    generator = context.generator(f"attribution {question.name}")
    random = question.asked(untrained(question.features.encoder, generator))
    blocks: list[dict[str, Any]] = []
    mean_beat, beatless, occluded = MeanBeat(), 0, 0
    example: Example | None = None
    cascade: list[tuple[int, Floats]] = []
    for block in attribution_blocks(context, question, options):
        found = _gradients(question.output, block, question, options)
        control = _gradients(random, block, question, options)
        values, of_random = found.values.cpu().numpy(), control.values.cpu().numpy()
        on_beats = [
            None if beats is None else on_median_beat(beats, values[place], block.seen[place])
            for place, beats in enumerate(block.beats.found)
        ]
        for beat in on_beats:
            if beat is not None:
                mean_beat.add(beat)
        if example is None:
            outputs = float(found.output[0]), float(found.baseline[0])
            example = Example(block.signals[0], values[0], block.seen[0], *outputs, on_beats[0])
            few = block.first(options.cascade)
            cascade = _cascade(few, values, question, options, generator)
        few = block.first(options.occluded - occluded)
        occluded += len(few.rows)
        beatless += block.beatless
        blocks.append(
            {
                "rows": block.rows,
                "sums": SegmentSums.of(values, block.beats.segments, block.seen),
                "control": SegmentSums.of(of_random, block.beats.segments, block.seen),
                "output": found.output.cpu().numpy(),
                "baseline": found.baseline.cpu().numpy(),
                "complete": found.complete.cpu().numpy(),
                "resolved": found.resolved.cpu().numpy(),
                "error": found.error.cpu().numpy(),
                "steps": found.steps.cpu().numpy(),
                "likeness": likeness(values, of_random, block.seen),
                "effects": occlude(
                    question.output, few.x, few.beats.segments, few.given, batch=_batch(question, options)
                ),
            }
        )
    if example is None:
        raise UserError("no recording is left to attribute to: choose others, or baseline flat")
    joined: dict[str, Any] = {
        name: SegmentSums.joined([block[name] for block in blocks])
        if name in ("sums", "control")
        else np.concatenate([block[name] for block in blocks])
        for name in blocks[0]
    }
    return Attributed(**joined, cascade=cascade, mean_beat=mean_beat.mean(), example=example, beatless=beatless)


def likeness(first: NDArray, second: NDArray, seen: NDArray[np.bool_]) -> Floats:
    """Return the rank correlation of two maps without sign over what is seen: (n, 12, T) -> (n,); NaN of constants."""
    found = np.full(len(first), np.nan)
    for row in range(len(first)):
        ranks = np.stack([rankdata(np.abs(values[row][seen[row]])) for values in (first, second)])
        ranks -= ranks.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(ranks, axis=1).prod()
        found[row] = ranks[0] @ ranks[1] / lengths if lengths > 0 else np.nan
    return found


def _cascade(
    few: Block, values: NDArray, question: Question, options: AttributionOptions, generator: np.random.Generator
) -> list[tuple[int, Floats]]:
    """Return (layer, (m,) likeness) as weights are drawn anew from the top layer down."""
    if not len(few.rows):
        return []
    found = []
    for layer, encoder in randomised_layers(question.features.encoder, generator):
        maps = _gradients(question.asked(encoder), few, question, options).values.cpu().numpy()
        found.append((layer, likeness(values[: len(maps)], maps, few.seen)))
    return found


def _gradients(output: Output, block: Block, question: Question, options: AttributionOptions) -> Attributions:
    return integrated_gradients(
        output, block.x, block.baseline, block.given, tolerance=options.tolerance, most_steps=options.most_steps,
        batch=_batch(question, options),
    )  # fmt: skip


def _batch(question: Question, options: AttributionOptions) -> int:
    """Recordings whose windows go through the network together."""
    return max(1, options.batch // question.features.windows)
