"""What a downstream model says of ECGs, as differentiable numbers: the outputs that attributions explain.

Whole recordings go in. Their windows are cut, encoded and averaged inside, so that an attribution goes through the mean
over windows to every sample that the network sees. Outputs are linear in the features: numbers in their units, findings
and diseases as log odds, events as log risks. Covariates beside the ECG stand at their training means; they shift an
output by a constant that no difference of outputs holds.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgcmr.encoders.readout import AttentionReadout, read_out
from ecgcmr.encoders.view import View
from ecgcmr.errors import UserError
from ecgcmr.inference.export_run import export_run
from ecgcmr.inference.load import read_source
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_folder import DESCRIPTION_FILE, ModelFolder
from ecgcmr.leads import LEADS
from ecgcmr.windows import cut_windows, window_starts

_UNITS = {"yes/no": "log odds", "event": "log risk"}


@dataclass(frozen=True)
class DownstreamReadout:
    """A downstream model: encoder, readout and the head's lines.

    Attributes:
        encoder: In evaluation mode, its weights without gradients.
        readout: Pools its tokens; None: the encoder's own feature.
        weight: (K, D) of the features.
        bias: (K,).
        names: Of the K outputs.
        titles: Of the K outputs, for people.
        units: Of the K outputs.
        leads: Places of the encoder's leads among the twelve.
        windows: Windows of a recording, whose features are averaged.
        leave_out: Flags with which a lead of a recording is left out.
    """

    encoder: Any
    readout: AttentionReadout | None
    weight: Tensor
    bias: Tensor
    names: tuple[str, ...]
    titles: tuple[str, ...]
    units: tuple[str, ...]
    leads: tuple[int, ...]
    windows: int = 1
    leave_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: Model) -> DownstreamReadout:
        """Return the outputs of a model.

        Raises:
            UserError: It has no targets.
        """
        description = model.description
        if not description.targets:
            raise UserError(f"the model {description.name} has no targets: it gives embeddings alone")
        targets = description.targets
        return cls(
            encoder=model.encoder,
            readout=model.readout,
            weight=model.get_buffer("weight")[:, : model.feature_dim].float(),
            bias=model.get_buffer("bias").float(),
            names=tuple(target.name for target in targets),
            titles=tuple(target.title for target in targets),
            units=tuple(_UNITS.get(target.kind, target.unit) for target in targets),
            leads=tuple(LEADS.index(name) for name in description.preparation.leads),
            windows=description.windows,
            leave_out=tuple(description.preparation.leave_out_leads),
        )

    def __call__(self, ecg: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Return all outputs of whole recordings.

        Args:
            ecg: (b, 12, T) as they are stored, from their first sample on; T is ``seen_length`` or more.
            lead_mask: (b, 12) bool, False = left out; None = all are seen.

        Returns:
            (b, K), differentiable.
        """
        return self.features(ecg, lead_mask) @ self.weight.T + self.bias

    def features(self, ecg: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Return what the head sees, (b, D), the mean over windows; arguments as of a call."""
        windows = cut_windows(ecg[:, self.leads], self.samples, self.windows)
        view = View(windows if self.windows > 1 else windows[:, 0], self._mask(lead_mask))
        return read_out(self.encoder, self.readout, view).float()

    def window_views(self, ecg: Tensor, lead_mask: Tensor | None = None) -> list[View]:
        """Return what the encoder is given of each window; arguments as of a call."""
        windows = cut_windows(ecg[:, self.leads], self.samples, self.windows)
        return [View(windows[:, place], self._mask(lead_mask)) for place in range(self.windows)]

    def _mask(self, lead_mask: Tensor | None) -> Tensor | None:
        return None if lead_mask is None else lead_mask[:, self.leads]

    @property
    def samples(self) -> int:
        """Samples of a window."""
        return int(self.encoder.input_spec.samples)

    def starts(self, stored: int) -> list[int]:
        """Return where the windows of recordings of so many samples start."""
        return window_starts(stored, self.samples, self.windows, "windows")

    def seen(self, stored: int) -> NDArray[np.bool_]:
        """Return which samples of which of the twelve leads lie in a window, (12, stored)."""
        found = np.zeros((len(LEADS), stored), dtype=bool)
        for start in self.starts(stored):
            found[list(self.leads), start : start + self.samples] = True
        return found

    def place_of(self, target: str) -> int:
        """Return the place of a target.

        Raises:
            UserError: There is none of that name.
        """
        if target not in self.names:
            raise UserError(f"--target {target}: the model predicts {', '.join(self.names)}")
        return self.names.index(target)

    def with_encoder(self, encoder: Any) -> DownstreamReadout:
        """Return the same head on another encoder."""
        return replace(self, encoder=encoder)

    def to(self, device: torch.device) -> DownstreamReadout:
        """Return it on a device."""
        readout = None if self.readout is None else self.readout.to(device)
        return replace(
            self, encoder=self.encoder.to(device), readout=readout,
            weight=self.weight.to(device), bias=self.bias.to(device),
        )  # fmt: skip


def load_readout(folder: Path, trust: Collection[str] = ()) -> DownstreamReadout:
    """Load the outputs of a model folder, or of the run folder of a downstream stage.

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
