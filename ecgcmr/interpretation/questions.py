"""What is asked of a model about an ECG: one of its targets, or how alike ECG and image of a subject are to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ecgcmr.errors import UserError
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.integrated_gradients import Output
from ecgcmr.interpretation.recording_features import RecordingFeatures
from ecgcmr.interpretation.target_readout import DownstreamReadout

SIMILARITY = "image_similarity"


@dataclass(frozen=True)
class Question:
    """One number that a model gives for a whole recording.

    Attributes:
        name: Of the target.
        title: For people.
        unit: Empty where there is none.
        features: How the model sees recordings.
        asked: Encoder -> the number as a function of recordings and of what belongs to them.
        beside: Rows -> what belongs to each recording beside it, on the device.
    """

    name: str
    title: str
    unit: str
    features: RecordingFeatures
    asked: Callable[[Any], Output]
    beside: Callable[[NDArray[np.int64]], tuple[Tensor, ...]]

    @property
    def output(self) -> Output:
        """The number, of the model as it was trained."""
        return self.asked(self.features.encoder)


def questions(context: AnalysisContext, targets: Sequence[str] = ()) -> list[Question]:
    """Return what is asked of the model of a context.

    Args:
        context: With a readout of targets, or a pair.
        targets: Names; none: the first target, or of a model without targets the similarity with the own image.

    Raises:
        UserError: A target is not known, or the model has neither targets nor images.
    """
    readout = context.readout
    if isinstance(readout, DownstreamReadout):
        names = tuple(targets) or readout.names[:1]
        return [_target(context, readout, readout.place_of(name)) for name in names]
    if context.pair is None:
        raise UserError(
            "the model has nothing to attribute to the ECG: give a model folder, or the run folder of a downstream "
            "stage or of an alignment"
        )
    others = [name for name in targets if name != SIMILARITY]
    if others:
        raise UserError(f"--target {others[0]}: an alignment predicts no targets, only {SIMILARITY}")
    return [_similarity(context)]


def _target(context: AnalysisContext, readout: DownstreamReadout, place: int) -> Question:
    def asked(encoder: Any) -> Output:
        """Return the target's output of a readout on an encoder."""
        on_encoder = readout.with_encoder(encoder)
        return lambda x, *lead_mask: on_encoder(x, *lead_mask)[:, place]

    def beside(rows: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Return what the output takes beside the ECGs of some rows: masks of leads, where there are any."""
        return _masks(context, readout.features, rows)

    title, unit = readout.titles[place], readout.units[place]
    return Question(readout.names[place], title, unit, readout.features, asked, beside)


def _similarity(context: AnalysisContext) -> Question:
    pair = context.require_pair()
    features = RecordingFeatures(pair.ecg_encoder, windows=context.windows)

    def asked(encoder: Any) -> Output:
        """Return the similarity of an encoder's embedding with the image's."""
        of_encoder = features.with_encoder(encoder)

        def cosine(x: Tensor, image: Tensor, *lead_mask: Tensor) -> Tensor:
            """Return the cosine (B,) of each ECG's embedding with its image's."""
            embedding = F.normalize(pair.ecg_projection(of_encoder(x, *lead_mask)), dim=1)
            return (embedding * image).sum(dim=1)

        return cosine

    def beside(rows: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Return the embeddings of the images of some rows, and masks of leads, where there are any."""
        with torch.no_grad():
            image = pair.cmr_embedding(context.cmr(rows))
        return (image, *_masks(context, features, rows))

    return Question(SIMILARITY, "similarity with the own image", "cosine", features, asked, beside)


def _masks(context: AnalysisContext, features: RecordingFeatures, rows: NDArray[np.int64]) -> tuple[Tensor, ...]:
    masks = features.lead_masks(context.index, rows)
    return () if masks is None else (masks.to(context.device),)
