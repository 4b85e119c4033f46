"""What a batch is: names, shapes and types, in the loader and on the device.

Records travel from the worker to the device in their storage type (float16, uint8), which moves half or a quarter of
the bytes, and become float32 there.
"""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor
from torch.nn import functional as F


class Batch(TypedDict, total=False):
    """B rows. A key that was not asked for is absent.

    Attributes:
        ecg: (B, leads, samples) float32 in the layout's unit; straight from the loader in the storage type. With
            several windows, of training or of evaluation, (B, windows, leads, samples), and straight from the loader
            (B, leads, stored samples).
        cmr: (B, frames, height, width) float32 in [0, 1]; straight from the loader uint8.
        lead_mask: (B, leads) bool, False marks a lead that is to be left out; in batches from the data module, with
            ``leave_out_leads`` alone.
        measurements: (B, M) float32 in the measurements' units, NaN = missing; from ``MeasuredDataModule`` alone.
        labels: (B, labels) float32 in the labels' units, NaN = missing.
        row: (B,) int64 position in the index.
        valid: (B,) bool; False marks padding that evens out the ranks and must not count. All True in training.
        epoch: Only in training batches straight from the loader; the data module takes it out to seed the augmentation.
    """

    ecg: Tensor
    cmr: Tensor
    lead_mask: Tensor
    measurements: Tensor
    labels: Tensor
    row: Tensor
    valid: Tensor
    epoch: int


def to_float(batch: Batch, image_size: int | None = None) -> Batch:
    """Turn ECGs into float32 and frames into float32 in [0, 1], where the batch lies. Floats stay as they are.

    Args:
        batch: Straight from the loader.
        image_size: Resize frames to this many rows and columns (bilinear, averaging where it shrinks); None leaves
            them as they are stored.
    """
    result = batch.copy()
    if "ecg" in batch:
        result["ecg"] = batch["ecg"].float()
    if "cmr" in batch and batch["cmr"].dtype == torch.uint8:
        frames = batch["cmr"].float().div_(255)
        if image_size is not None and frames.shape[-2:] != (image_size, image_size):
            frames = F.interpolate(frames, (image_size, image_size), mode="bilinear", antialias=True)
        result["cmr"] = frames
    return result
