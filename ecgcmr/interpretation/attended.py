"""Where a model's attention lies over many recordings: rollout by part of the beat and lead, and one example."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ecgcmr.interpretation.attention import attention_maps
from ecgcmr.interpretation.beats import segments_of
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.recording_features import RecordingFeatures
from ecgcmr.interpretation.segment_mass import SegmentSums
from ecgcmr.leads import LEADS
from ecgcmr.shards import read_ecgs


@dataclass(frozen=True)
class AttentionExample:
    """The first window of one recording.

    Attributes:
        signal: (12, samples of a window).
        rollout: (rows, columns) shares of the patches.
        heads: (heads, rows, columns) of the last block.
        leads: Names of the leads that the encoder sees, in its order.
    """

    signal: NDArray[np.float32]
    rollout: NDArray[np.float32]
    heads: NDArray[np.float32]
    leads: tuple[str, ...]


@dataclass(frozen=True)
class Attended:
    """Attention of the model over n recordings.

    Attributes:
        rows: (n,) of the index.
        sums: Rollout, summed over parts of the beat; each recording's total is 1.
        class_token: (n,) share of the rollout on the class token, which is not in ``sums``.
        leads_resolved: Whether patches are of one lead each; else attention says nothing of leads.
        patch_seconds: How long a patch lasts: attention is no finer in time.
        example: The first recording.
    """

    rows: NDArray[np.int64]
    sums: SegmentSums
    class_token: NDArray[np.float64]
    leads_resolved: bool
    patch_seconds: float
    example: AttentionExample


def attend(context: AnalysisContext, features: RecordingFeatures, batch: int = 16) -> Attended:
    """Return where attention lies in all chosen recordings, the mean over their windows.

    Args:
        context: Says which recordings.
        features: How the model sees them.
        batch: Windows that go through the network together.

    Raises:
        UserError: The encoder has no attention that can be shown.
    """
    sums, class_token, example = [], [], None
    for rows in context.row_blocks():
        signals = read_ecgs(context.index, rows)
        seen = features.seen(signals.shape[2])
        segments = segments_of(context, rows, signals, seen.shape[1])
        for start in range(0, len(rows), batch):
            part = slice(start, start + batch)
            spread, shares, first = _spread(context, features, rows[part], signals[part], seen)
            sums.append(SegmentSums.of(spread, segments[part], seen))
            class_token.append(shares)
            example = example or first
    if example is None:
        raise ValueError("no recording is left to look at")
    columns = example.rollout.shape[1]
    return Attended(
        context.rows,
        SegmentSums.joined(sums),
        np.concatenate(class_token),
        example.rollout.shape[0] == len(example.leads),
        features.input.samples / columns / features.input.sampling_rate,
        example,
    )


def _spread(
    context: AnalysisContext, features: RecordingFeatures, rows: NDArray[np.int64], signals: NDArray, seen: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64], AttentionExample]:
    """Return rollout per sample (b, 12, T), the class token's share (b,), and the first recording."""
    x = torch.from_numpy(signals[:, :, : seen.shape[1]]).to(context.device)
    masks = features.lead_masks(context.index, rows)
    views = features.views(x, None if masks is None else masks.to(context.device))
    spread, shares = np.zeros((len(rows), *seen.shape)), np.zeros(len(rows))
    examples = []
    for start, view in zip(features.starts(signals.shape[2]), views, strict=True):
        found = attention_maps(features.encoder, view, features.readout)
        rollout = found.rollout.cpu().numpy()
        height, length = view.x.shape[1] // rollout.shape[1], view.x.shape[2] // rollout.shape[2]
        fine = rollout.repeat(height, axis=1).repeat(length, axis=2) / (height * length * len(views))
        spread[:, features.places, start : start + view.x.shape[2]] += fine
        shares += found.class_token.cpu().numpy() / len(views)
        names = tuple(LEADS[place] for place in features.places)
        signal = signals[0, :, start : start + view.x.shape[2]]
        examples.append(AttentionExample(signal, rollout[0], found.heads[0].cpu().numpy(), names))
    return spread, shares, examples[0]
