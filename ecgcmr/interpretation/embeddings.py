"""Embeddings of a context's recordings: features of both encoders, and both projections into the common space."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ecgcmr.encoders import View
from ecgcmr.encoders.readout import read_out
from ecgcmr.evaluation.finite_values import require_finite_features
from ecgcmr.interpretation.context import AnalysisContext, Rows


@dataclass(frozen=True)
class PairEmbeddings:
    """Both modalities of n recordings.

    Attributes:
        rows: (n,) positions in the index.
        ecg: (n, D) features of the ECG encoder, averaged over windows.
        cmr: (n, C) features of the image encoder.
        ecg_projected: (n, E) in the common space, not scaled to length 1.
        cmr_projected: (n, E).
    """

    rows: Rows
    ecg: NDArray[np.float32]
    cmr: NDArray[np.float32]
    ecg_projected: NDArray[np.float32]
    cmr_projected: NDArray[np.float32]


def ecg_features(context: AnalysisContext, rows: Rows | None = None) -> NDArray[np.float32]:
    """Return the features (n, D) of the ECG encoder, averaged over windows, of rows or of all that were chosen.

    Raises:
        UserError: A feature is not finite, or the recordings have no place for so many windows.
    """
    chosen = context if rows is None else replace(context, rows=rows)
    with torch.inference_mode():
        parts = [_numpy(read_out(context.ecg_encoder, None, View(x))) for _, x in chosen.window_blocks()]
    return _checked(parts, "the ECG encoder")


def pair_embeddings(context: AnalysisContext, ecg: NDArray[np.float32] | None = None) -> PairEmbeddings:
    """Return the embeddings of all chosen rows.

    Args:
        context: With a pair.
        ecg: (n, D) the features of the ECG encoder, where they are known already.

    Raises:
        UserError: There is no pair, or a value is not finite.
    """
    pair = context.require_pair()
    with torch.inference_mode():
        images = [View(x).features(pair.cmr_encoder) for _, x in context.cmr_blocks()]
        projected = [_numpy(pair.cmr_projection(part)) for part in images]
        ecg = ecg_features(context) if ecg is None else ecg
        of_ecg = [_numpy(pair.ecg_projection(torch.from_numpy(ecg).to(context.device)))]
    cmr = _checked([_numpy(part) for part in images], "the image encoder")
    return PairEmbeddings(
        context.rows,
        ecg,
        cmr,
        _checked(of_ecg, "the ECG projection"),
        _checked(projected, "the image projection"),
    )


def _numpy(x: torch.Tensor) -> NDArray[np.float32]:
    return x.float().cpu().numpy()


def _checked(parts: list[NDArray[np.float32]], what: str) -> NDArray[np.float32]:
    features = np.concatenate(parts)
    require_finite_features(features, what)
    return features
