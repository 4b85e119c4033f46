"""Maps of where one modality matches the other: similarity of its embedding with the other's places.

Two readings of "place" are offered. Published (Turgut et al., arXiv 2308.05764): a place is the projected local feature
of the encoder, before pooling. By occlusion: a place is what the embedding loses when the place is hidden. Both are
vectors in the common space, whose products with the other modality's embedding make the map; they sum to nothing in
particular and have no unit.

A local feature of a deep network need not speak of its place: its receptive field may be the whole input, and attention
may keep what was gathered elsewhere in it. Occlusion asks the input itself, whatever the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ecgcmr.encoders import LocalStackEncoder
from ecgcmr.interpretation.pair import AlignedPair

Reading = Callable[[AlignedPair, Tensor], Tensor]
"""Makes vectors of places out of inputs: (b, S, h, w, E) of images, (b, h, w, E) of ECGs."""

ECG_TO_IMAGE, IMAGE_TO_ECG = "ecg_to_image", "image_to_ecg"
OCCLUSION = "_occlusion"
LEADS = "_leads"


@dataclass(frozen=True)
class OcclusionGrid:
    """Into how many places an input is divided.

    Attributes:
        image: Places along the rows and along the columns of an image.
        seconds: Length of a place of an ECG in seconds; all leads are hidden together.
    """

    image: int = 8
    seconds: float = 0.05


def image_readings(typical: Tensor, grid: OcclusionGrid) -> Mapping[str, Reading]:
    """Return the readings of images by the kind of map that they give.

    Args:
        typical: (F, H, W) what is put where a place is hidden.
        grid: Places of the occlusion.
    """
    return {
        ECG_TO_IMAGE: lambda pair, cmr: pair.cmr_places(cmr),
        ECG_TO_IMAGE + OCCLUSION: lambda pair, cmr: hidden_image_places(pair, cmr, typical, grid.image),
    }


def ecg_readings(sampling_rate: float, grid: OcclusionGrid) -> Mapping[str, Reading]:
    """Return the readings of ECGs by the kind of map that they give.

    Args:
        sampling_rate: Hz.
        grid: Places of the occlusion.
    """
    width = max(1, round(grid.seconds * sampling_rate))
    return {
        IMAGE_TO_ECG: lambda pair, ecg: pair.ecg_places(ecg),
        IMAGE_TO_ECG + OCCLUSION: lambda pair, ecg: hidden_times(pair, ecg, width),
        IMAGE_TO_ECG + OCCLUSION + LEADS: hidden_leads,
    }


def similarity(places: Tensor, query: Tensor) -> Tensor:
    """Return the map of each recording, in the shape of its places.

    Args:
        places: (b, ..., E).
        query: (b, E) unit vectors of the other modality.
    """
    return torch.einsum("b...e,be->b...", places, query)


def hidden_image_places(pair: AlignedPair, cmr: Tensor, typical: Tensor, count: int) -> Tensor:
    """Return what the image's embedding loses when a square of it is hidden, (b, 1, count, count, E).

    A hidden square shows the typical image, not grey: a heart with a grey hole is like no image that the network
    knows, and brighter places would change by more than darker ones.
    """
    whole = pair.cmr_embedding(cmr)
    rows, columns = (_bounds(size, count) for size in cmr.shape[-2:])
    losses = []
    for top, bottom in rows:
        for left, right in columns:
            hidden = cmr.clone()
            hidden[:, :, top:bottom, left:right] = typical[:, top:bottom, left:right]
            losses.append(whole - pair.cmr_embedding(hidden))
    return torch.stack(losses, dim=1).unflatten(1, (1, count, count))


def hidden_times(pair: AlignedPair, ecg: Tensor, width: int) -> Tensor:
    """Return what the ECG's embedding loses when a stretch of all leads is hidden, (b, 1, ceil(T / width), E).

    A hidden stretch is a straight line between its neighbours, which adds no step of its own. Stretches are of even
    length, as ``over_ecg`` lays them: one short stretch at the end would shift all others against the ECG.
    """
    whole, samples = pair.ecg_embedding(ecg), ecg.shape[2]
    losses = []
    for start, stop in _bounds(samples, -(-samples // width)):
        first, last = ecg[:, :, max(start - 1, 0), None], ecg[:, :, min(stop, samples - 1), None]
        hidden = ecg.clone()
        hidden[:, :, start:stop] = torch.lerp(first, last, torch.linspace(0, 1, stop - start + 2).to(ecg)[1:-1])
        losses.append(whole - pair.ecg_embedding(hidden))
    return torch.stack(losses, dim=1).unsqueeze(1)


def hidden_leads(pair: AlignedPair, ecg: Tensor) -> Tensor:
    """Return what the ECG's embedding loses when a lead is hidden throughout, as a flat line: (b, leads, 1, E)."""
    whole = pair.ecg_embedding(ecg)
    losses = []
    for lead in range(ecg.shape[1]):
        hidden = ecg.clone()
        hidden[:, lead] = 0.0
        losses.append(whole - pair.ecg_embedding(hidden))
    return torch.stack(losses, dim=1).unsqueeze(2)


def over_images(maps: Tensor, pair: AlignedPair, size: tuple[int, int, int], *, smooth: bool = True) -> Tensor:
    """Lay maps over all images of a subject, bilinear in the plane and linear along the stack.

    Args:
        maps: (b, S, h, w).
        pair: Whose image encoder tells what the stack is.
        size: (F, H, W) of the input.
        smooth: False keeps places square.

    Returns:
        (b, F, H, W).
    """
    encoder = pair.cmr_encoder
    channels = encoder.stack_channels if isinstance(encoder, LocalStackEncoder) and maps.shape[1] > 1 else 1
    depth = size[0] // channels
    how: dict[str, Any] = {"mode": "trilinear", "align_corners": False} if smooth else {"mode": "nearest-exact"}
    wide = F.interpolate(maps.unsqueeze(1), (depth, *size[1:]), **how)[:, 0]
    return wide.repeat(1, channels, 1, 1)


def over_ecg(maps: Tensor, leads: int, samples: int, *, smooth: bool = True) -> Tensor:
    """Lay maps (b, h, w) over leads and time: each row over its leads, linear in time. (b, leads, T)."""
    how: dict[str, Any] = {"mode": "linear", "align_corners": False} if smooth else {"mode": "nearest-exact"}
    long = F.interpolate(maps, samples, **how)
    return long.repeat_interleave(leads // long.shape[1], dim=1)


def edges(cmr: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the control that knows no network: how steep the images are (Sobel), (b, 1, h, w), as coarse as a map."""
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]).to(cmr)
    mean = F.pad(cmr.flatten(0, 1).unsqueeze(1), (1, 1, 1, 1), mode="replicate")
    steep = torch.hypot(F.conv2d(mean, kernel[None, None]), F.conv2d(mean, kernel.T[None, None]))
    return F.adaptive_avg_pool2d(steep.unflatten(0, cmr.shape[:2])[:, :, 0].mean(dim=1, keepdim=True), shape)


def slopes(ecg: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the same of ECGs: how steep they are, (b, h, w), as coarse as a map."""
    steep = F.pad(ecg.diff(dim=2).abs(), (0, 1))
    return F.adaptive_avg_pool2d(steep, cast(tuple[int, int], tuple(shape)))


def _bounds(size: int, count: int) -> list[tuple[int, int]]:
    """Divide pixels into places of even size."""
    return [(place * size // count, (place + 1) * size // count) for place in range(count)]
