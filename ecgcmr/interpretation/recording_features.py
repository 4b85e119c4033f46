"""The feature of whole recordings as a differentiable function: windows, encoder, readout and the mean over windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.leads import LeadChoice
from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.readout import AttentionReadout, read_out
from ecgcmr.encoders.view import View
from ecgcmr.interpretation.lead_places import lead_places
from ecgcmr.leads import LEADS
from ecgcmr.shards import ShardIndex
from ecgcmr.windows import cut_windows, window_starts


@dataclass(frozen=True)
class RecordingFeatures:
    """How a recording becomes a feature.

    Attributes:
        encoder: Of ECGs, in evaluation mode.
        readout: Pools its tokens; None: the encoder's own feature.
        windows: Windows of a recording, whose features are averaged.
        leave_out: Flags with which a lead of a recording is left out.
        leads: Places of the encoder's leads among the twelve; None: all twelve, or those that its input names.
    """

    encoder: Any
    readout: AttentionReadout | None = None
    windows: int = 1
    leave_out: tuple[str, ...] = ()
    leads: tuple[int, ...] | None = None

    def __call__(self, ecg: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Return the features of whole recordings.

        Args:
            ecg: (b, 12, T) from the first sample of what is stored; T is ``length`` of it, or more.
            lead_mask: (b, 12) bool, False = left out; None = all are seen.

        Returns:
            (b, D), the mean over windows.
        """
        views = self.views(ecg, lead_mask)
        mask = views[0].lead_mask
        x = torch.stack([view.x for view in views], dim=1) if len(views) > 1 else views[0].x
        return read_out(self.encoder, self.readout, View(x, mask)).float()

    def views(self, ecg: Tensor, lead_mask: Tensor | None = None) -> list[View]:
        """Return what the encoder is given of each window; arguments as of a call."""
        windows = cut_windows(ecg[:, self.places], self.input.samples, self.windows)
        mask = None if lead_mask is None else lead_mask[:, self.places]
        return [View(windows[:, place], mask) for place in range(self.windows)]

    @property
    def input(self) -> ECGInput:
        """What the encoder takes."""
        return self.encoder.input_spec

    @property
    def places(self) -> list[int]:
        """Places of the encoder's leads among the twelve.

        Raises:
            UserError: They are not known.
        """
        return list(self.leads) if self.leads else lead_places(self.input)

    def starts(self, stored: int) -> list[int]:
        """Return where the windows start in recordings of so many samples.

        Raises:
            UserError: There is no place for so many.
        """
        return window_starts(stored, self.input.samples, self.windows, "windows")

    def seen(self, stored: int) -> NDArray[np.bool_]:
        """Return which samples of the twelve leads lie in a window, (12, T up to the end of the last window)."""
        starts = self.starts(stored)
        found = np.zeros((len(LEADS), starts[-1] + self.input.samples), dtype=bool)
        for start in starts:
            found[self.places, start : start + self.input.samples] = True
        return found

    def lead_masks(self, index: ShardIndex, rows: NDArray[np.int64]) -> Tensor | None:
        """Return which leads of recordings are seen, (b, 12) bool; None where none is left out.

        Raises:
            UserError: The cohort stores no lead quality.
        """
        usable = LeadChoice(None, self.leave_out).usable(index)
        return None if usable is None else usable[torch.from_numpy(np.asarray(rows))]

    def with_encoder(self, encoder: Any) -> RecordingFeatures:
        """Return the same on another encoder."""
        return replace(self, encoder=encoder)
