"""What a downstream model says of ECGs, as differentiable numbers: the outputs that attributions explain.

Outputs are linear in the features: numbers in their units, findings and diseases as log odds, events as log risks.
Covariates beside the ECG stand at their training means; they shift an output by a constant that no difference of
outputs holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.interpretation.recording_features import RecordingFeatures


@dataclass(frozen=True)
class DownstreamReadout:
    """A downstream model: features of recordings and the head's lines.

    Attributes:
        features: What the head sees.
        weight: (K, D).
        bias: (K,).
        names: Of the K outputs.
        titles: Of the K outputs, for people.
        units: Of the K outputs.
    """

    features: RecordingFeatures
    weight: Tensor
    bias: Tensor
    names: tuple[str, ...]
    titles: tuple[str, ...]
    units: tuple[str, ...]

    def __call__(self, ecg: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Return all outputs (b, K) of whole recordings; arguments as of ``RecordingFeatures``."""
        return self.features(ecg, lead_mask) @ self.weight.T + self.bias

    def place_of(self, target: str) -> int:
        """Return the place of a target.

        Raises:
            UserError: There is none of that name.
        """
        if target not in self.names:
            raise UserError(f"--target {target}: the model predicts {', '.join(self.names)}")
        return self.names.index(target)

    def to(self, device: torch.device) -> DownstreamReadout:
        """Return it on a device; its encoder and attention over tokens are moved, not copied."""
        for network in (self.features.encoder, self.features.readout):
            if network is not None:
                network.to(device)
        return replace(self, weight=self.weight.to(device), bias=self.bias.to(device))

    def with_encoder(self, encoder: Any) -> DownstreamReadout:
        """Return the same head on another encoder."""
        return replace(self, features=self.features.with_encoder(encoder))
