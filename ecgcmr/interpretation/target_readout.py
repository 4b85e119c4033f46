"""What a downstream model says of ECGs, as differentiable numbers: the outputs that attributions explain.

Outputs are linear in the features: numbers in their units, findings and diseases as log odds, events as log risks.
Covariates beside the ECG stand at their training means; they shift an output by a constant that no difference of
outputs holds.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.inference.export_run import export_run
from ecgcmr.inference.load import read_source
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_folder import DESCRIPTION_FILE, ModelFolder
from ecgcmr.interpretation.recording_features import RecordingFeatures
from ecgcmr.leads import LEADS

_UNITS = {"yes/no": "log odds", "event": "log risk"}


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

    @classmethod
    def of(cls, model: Model) -> DownstreamReadout:
        """Return the outputs of a model.

        Raises:
            UserError: It has no targets.
        """
        description, targets = model.description, model.description.targets
        if not targets:
            raise UserError(f"the model {description.name} has no targets to explain: it gives embeddings alone")
        prepared = description.preparation
        leads = tuple(LEADS.index(name) for name in prepared.leads)
        leave_out = tuple(prepared.leave_out_leads)
        return cls(
            features=RecordingFeatures(model.encoder, model.readout, description.windows, leave_out, leads),
            weight=model.get_buffer("weight")[:, : model.feature_dim].float(),
            bias=model.get_buffer("bias").float(),
            names=tuple(target.name for target in targets),
            titles=tuple(target.title for target in targets),
            units=tuple(_UNITS.get(target.kind, target.unit) for target in targets),
        )

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


def load_readout(folder: Path, trust: Collection[str] = ()) -> DownstreamReadout:
    """Load the outputs of a model folder, or of the run folder of a downstream stage, on the CPU.

    Args:
        folder: The folder.
        trust: Classes, modules or packages beside this package's that its encoder may be of.

    Raises:
        UserError: It is neither, is not whole, or has no targets.
    """
    if (folder / DESCRIPTION_FILE).is_file():
        return DownstreamReadout.of(Model.of(read_source(folder), trust))
    exported = export_run(folder, trust)
    return DownstreamReadout.of(Model.of(ModelFolder(folder, exported.description, exported.tensors), trust))
