"""Recordings, their beats and their baselines, block by block: what an attribution is taken of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.interpretation.beats import BlockBeats, beats_of, laid_on_beats, mean_median_beat
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.integrated_gradients import TOLERANCE
from ecgcmr.interpretation.questions import Question
from ecgcmr.option_checks import check_choice, check_least
from ecgcmr.probes.median_beat import Beats
from ecgcmr.shards import read_ecgs

BASELINES = ("flat", "mean_beat")
_TEMPLATE_ROWS = 200


@dataclass(frozen=True)
class AttributionOptions:
    """What is attributed, and how thoroughly.

    Attributes:
        targets: Names; none: the first target, or of an alignment the similarity with the own image.
        baseline: What the output is compared with. ``flat``: a lead without any deflection, which is 0 as the network
            sees it, since every recording is brought to mean 0; ``mean_beat``: the mean of the chosen recordings'
            median beats in the rhythm of the recording, so that what differs from the usual heart counts.
        occluded: Recordings for occlusion, the first ones.
        cascade: Recordings on which layers are randomised one after another, the first ones.
        figures: Whether figures are drawn.
        attention: Whether attention is shown, where the encoder has some.
        tolerance: Allowed error of completeness, a share of the difference of outputs.
        most_steps: Gradients of a recording at most.
        batch: Windows that go through the network together.
        resamples: Of subjects, for intervals.
    """

    targets: tuple[str, ...] = ()
    baseline: Literal["flat", "mean_beat"] = "flat"
    occluded: int = 50
    cascade: int = 16
    figures: bool = True
    attention: bool = True
    tolerance: float = TOLERANCE
    most_steps: int = 2048
    batch: int = 64
    resamples: int = 1000

    def __post_init__(self) -> None:
        """Raise UserError where an option is out of its range."""
        check_choice(BASELINES, baseline=self.baseline)
        check_least(1, batch=self.batch, resamples=self.resamples, most_steps=self.most_steps)
        check_least(0, occluded=self.occluded, cascade=self.cascade)


@dataclass(frozen=True)
class Block:
    """Some recordings.

    Attributes:
        rows: (b,) of the index.
        signals: (b, 12, stored samples), as they are stored.
        x: (b, 12, T) what the model is given of them, from the first sample on.
        baseline: Likewise, what it is compared with.
        given: What belongs to each recording beside it.
        seen: (b, 12, T) which samples the network looks at.
        beats: Of the recordings.
        beatless: Recordings of the block without beats, also those that the baseline left out.
    """

    rows: NDArray[np.int64]
    signals: NDArray[np.float32]
    x: Tensor
    baseline: Tensor
    given: tuple[Tensor, ...]
    seen: NDArray[np.bool_]
    beats: BlockBeats
    beatless: int

    def first(self, count: int) -> Block:
        """Return the first recordings."""
        end = slice(0, max(0, count))
        return Block(
            self.rows[end], self.signals[end], self.x[end], self.baseline[end], tuple(g[end] for g in self.given),
            self.seen[end], BlockBeats(self.beats.found[end], self.beats.segments[end]), self.beatless,
        )  # fmt: skip


def attribution_blocks(context: AnalysisContext, question: Question, options: AttributionOptions) -> Iterator[Block]:
    """Yield the chosen recordings, some at a time.

    Raises:
        UserError: The recordings have no place for the model's windows, or none has beats that a baseline needs.
    """
    template = _template(context) if options.baseline == "mean_beat" else None
    for rows in context.row_blocks():
        signals = read_ecgs(context.index, rows)
        seen = question.features.seen(signals.shape[2])
        beats = beats_of(context, rows, signals, seen.shape[1])
        there = np.array([one is not None for one in beats.found], dtype=bool)
        beatless = int((~there).sum())
        if template is not None:
            rows, signals = rows[there], signals[there]
            beats = BlockBeats([one for one in beats.found if one is not None], beats.segments[there])
        shown = np.broadcast_to(seen, (len(rows), *seen.shape)).copy()
        masks = question.features.lead_masks(context.index, rows)
        if masks is not None:
            shown &= masks.numpy()[:, :, None]
        x = torch.from_numpy(signals[:, :, : seen.shape[1]]).to(context.device)
        baseline = torch.zeros_like(x) if template is None else _laid(template, beats, x)
        if len(rows):
            given = question.beside(rows)
            yield Block(rows, signals, x, baseline, given, shown, beats, beatless)


def _template(context: AnalysisContext) -> tuple[NDArray[np.float64], int]:
    """Return the mean of the median beats of the first recordings, and where its R peak lies."""
    found: list[Beats] = []
    for start in range(0, min(len(context.rows), _TEMPLATE_ROWS), context.block):
        rows = context.rows[start : start + context.block]
        signals = read_ecgs(context.index, rows)
        found += [one for one in beats_of(context, rows, signals, 0).found if one is not None]
    if not found:
        raise UserError("baseline mean_beat: none of the recordings has beats; take baseline flat")
    return mean_median_beat(found), found[0].center


def _laid(template: tuple[NDArray[np.float64], int], beats: BlockBeats, x: Tensor) -> Tensor:
    laid = [laid_on_beats(*template, one.marks.r_peaks, x.shape[2]) for one in beats.found if one is not None]
    return torch.from_numpy(np.stack(laid)).to(x) if laid else torch.zeros_like(x)
