"""Two views of one recording, for stages that learn from a single modality."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ecgcmr.encoders import Encoder, View
from ecgcmr.errors import UserError
from ecgcmr.row_random import RowGenerator
from ecgcmr.stages.transfer import check_shape, require_lead_masks

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


class TwoViews(abc.ABC):
    """Makes two views of each recording of a batch; draws depend on the recording and not on its batch.

    Attributes:
        augmentation: What the views are augmented by, None for nothing.
    """

    augmentation: Augmentation | None = None

    @abc.abstractmethod
    def __call__(self, whole: View, first: RowGenerator, second: RowGenerator) -> tuple[View, View]:
        """Return two views of the recordings of a batch, each drawing from its own generator."""

    def given_samples(self, samples: int) -> int:
        """Return how many samples the encoder sees where the data gives ``samples``."""
        return samples

    def whole(self, whole: View) -> View:
        """Return what the encoder sees of recordings where features, and not views, are wanted."""
        return whole


class AugmentedViews(TwoViews):
    """The same recording twice, augmented in two ways (SimCLR, BYOL, Barlow Twins).

    Args:
        augmentation: ``(x, generator) -> x`` for batches of the modality; see ``ecgcmr.augmentations``.
    """

    def __init__(self, augmentation: Callable) -> None:
        self.augmentation: Augmentation = augmentation

    def __call__(self, whole: View, first: RowGenerator, second: RowGenerator) -> tuple[View, View]:
        """Return two augmentations; the leads that are seen stay the same."""
        x, mask = whole
        return View(self.augmentation(x, first), mask), View(self.augmentation(x, second), mask)


class PatientViews(TwoViews):
    """Different parts of one ECG (CLOCS, Kiyasseh et al. 2021): a patient's heart is the same over time and leads.

    Segments alone are CMSC, leads alone CMLC, both together CMSMLC. The published encoder sees one lead at a time;
    this one sees a random half of the recorded leads in one view and the others in the second, so that it serves 12
    leads. Of an odd number the second view has one more; a single lead is in both.

    Args:
        segments: Take the first and the second half in time; the data then gives twice the encoder's samples.
        leads: Split the leads at random; needs an encoder that takes a ``lead_mask``.
        augmentation: ``(x, generator) -> x`` for each view, or None.

    Raises:
        UserError: Neither segments nor leads differ.
    """

    def __init__(self, segments: bool = True, leads: bool = False, augmentation: Callable | None = None) -> None:
        if not (segments or leads):
            raise UserError("views of a patient need segments, leads or both to differ")
        self.segments = segments
        self.leads = leads
        self.augmentation: Augmentation | None = augmentation

    def __call__(self, whole: View, first: RowGenerator, second: RowGenerator) -> tuple[View, View]:
        """Return two parts of recordings (B, leads, samples)."""
        x, mask = whole
        early, late = (x, x)
        if self.segments:
            half = x.shape[-1] // 2
            early, late = x[..., :half], x[..., half : 2 * half]
        mask_early, mask_late = _halves(x, mask, first) if self.leads else (mask, mask)
        if self.augmentation is not None:
            early, late = self.augmentation(early, first), self.augmentation(late, second)
        return View(early, mask_early), View(late, mask_late)

    def given_samples(self, samples: int) -> int:
        """Return half where segments are taken."""
        return samples // 2 if self.segments else samples

    def whole(self, whole: View) -> View:
        """Return the first segment."""
        return View(whole.x[..., : self.given_samples(whole.x.shape[-1])], whole.lead_mask)


def _halves(x: Tensor, mask: Tensor | None, generator: RowGenerator) -> tuple[Tensor, Tensor]:
    """Deal the recorded leads of x (B, leads, samples) out at random: two masks (B, leads)."""
    draws = generator.uniform(x.shape[1])
    if mask is not None:
        draws = draws.masked_fill(~mask, 2.0)  # behind all others
    place = draws.argsort(dim=1).argsort(dim=1)
    count = torch.full_like(place[:, :1], x.shape[1]) if mask is None else mask.sum(dim=1, keepdim=True)
    first = place < (count // 2).clamp_min(1)
    second = (place >= (count // 2).minimum(count - 1)) & (place < count)
    return first, second


def check_views(views: TwoViews, encoder: Encoder, given: Mapping[str, Any], modality: str) -> None:
    """Compare the encoder with the views that the data gives, before a batch of the wrong shape does.

    Args:
        views: How views are made.
        encoder: Meets the encoder contract.
        given: The DataModule's ``input_spec`` of the modality.
        modality: ``ecg`` or ``cmr``.

    Raises:
        UserError: Shapes differ, views of an ECG are asked of images, or the encoder takes no missing leads.
    """
    if isinstance(views, PatientViews):
        if modality != "ecg":
            raise UserError("PatientViews are parts of an ECG; use AugmentedViews for images")
        if views.leads:
            require_lead_masks(encoder, given["leads"])
    seen = dict(given)
    if "samples" in seen:
        seen["samples"] = views.given_samples(seen["samples"])
    check_shape(encoder, seen, modality, "model.encoder", "its views have")
