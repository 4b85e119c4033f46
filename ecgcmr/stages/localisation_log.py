"""Pictures of an alignment while it trains: where the ECG of a few validation subjects matches their images."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgcmr.encoders import View
from ecgcmr.interpretation.localisation import hidden_image_places, over_images, similarity
from ecgcmr.interpretation.pair import AlignedPair
from ecgcmr.stages.pictures import log_picture, takes_pictures
from ecgcmr.stages.stage_module import StageModule

SHOWN = 4
"""Subjects."""
_PLACES = 8
"""Places that are hidden, along rows and along columns."""


@torch.no_grad()
def log_localisation(stage: StageModule, pair: AlignedPair, batch: dict[str, Tensor]) -> None:
    """Draw the first recordings of a batch; without a logger that takes pictures, and on other ranks, nothing.

    Args:
        stage: In validation.
        pair: Its networks.
        batch: The first one of the validation split, whose order is fixed.
    """
    trainer = stage.trainer
    if not takes_pictures(trainer) or trainer.sanity_checking:
        return
    from ecgcmr.interpretation.figures.image_maps import MappedImage, draw_image_maps  # matplotlib takes a second

    valid = batch["valid"].nonzero()[:SHOWN, 0]
    images, typical = batch["cmr"][valid], batch["cmr"].float().mean(dim=0)
    query = torch.nn.functional.normalize(
        pair.ecg_projection(View.from_batch(batch, "ecg").features(pair.ecg_encoder)[valid]), dim=1
    )
    readings = {
        "published": pair.cmr_places(images),
        "by occlusion": hidden_image_places(pair, images, typical.to(images), _PLACES),
    }
    size = (images.shape[1], images.shape[2], images.shape[3])
    maps = {title: over_images(similarity(places, query).float(), pair, size) for title, places in readings.items()}
    shown = [
        MappedImage(
            images[place].float().cpu().numpy(),
            {title: each[place].cpu().numpy() for title, each in maps.items()},
            None,
            f"subject {place + 1}",
        )
        for place in range(len(images))
    ]
    units = {"published": "similarity (cosine)", "by occlusion": "loss of similarity (cosine)"}
    last = size[0] - 1
    figure = draw_image_maps(shown, last, f"image {last + 1} of {size[0]}", units)
    log_picture(trainer, "val/localisation", figure)
