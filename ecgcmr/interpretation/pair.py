"""The two encoders of an alignment and the heads that bring their features into one space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders import View


@dataclass(frozen=True)
class AlignedPair:
    """What an alignment leaves.

    Attributes:
        ecg_encoder: Meets the encoder contract.
        cmr_encoder: Likewise.
        ecg_projection: From the ECG's features (B, D) to the common space (B, E).
        cmr_projection: From the image's.
    """

    ecg_encoder: Any
    cmr_encoder: Any
    ecg_projection: nn.Module
    cmr_projection: nn.Module

    def ecg_embedding(self, ecg: Tensor) -> Tensor:
        """Return unit vectors (B, E) of ECGs (B, leads, T)."""
        return F.normalize(self.ecg_projection(View(ecg).features(self.ecg_encoder)), dim=1)

    def cmr_embedding(self, cmr: Tensor) -> Tensor:
        """Return unit vectors (B, E) of images (B, F, H, W)."""
        return F.normalize(self.cmr_projection(View(cmr).features(self.cmr_encoder)), dim=1)
