"""Segments of the ECG and cine frames of the same phase, projected, for the local term of PTACL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ecgcmr.encoders.protocol import require_local_features
from ecgcmr.errors import UserError
from ecgcmr.objectives.cardiac_phase import phases_at
from ecgcmr.stages.beats import BatchRPeaks, RPeakSource, frame_phases


class CycleSegments:
    """What ``PTACLLoss`` needs beside the two projections.

    Args:
        stage: The alignment stage; its encoders, projections and objective are used as they are.
        r_peaks: Where R peaks come from.

    Raises:
        UserError: An encoder has no local features, or none for each frame.
    """

    def __init__(self, stage: Any, r_peaks: RPeakSource) -> None:
        require_local_features(stage.ecg_encoder)
        if not hasattr(stage.cmr_encoder, "frame_features"):
            raise UserError(
                f"{type(stage.cmr_encoder).__name__} has no frame_features, a feature for each cine frame; use "
                "ecgcmr.encoders.cmr_frames.CMRFrameResNet"
            )
        self._stage = [stage]  # not the module itself: it would be its own child
        self._r_peaks = BatchRPeaks(r_peaks)
        self._frame_phase = torch.empty(0)

    def load(self, data: Any) -> None:
        """Read R peaks and the frames' phases from the DataModule.

        Raises:
            UserError: They are not known.
        """
        names = data.index.layout.cmr.frames
        given = self._stage[0].objective.frame_phases
        if given is not None and len(given) != len(names):
            raise UserError(f"model.objective.frame_phases has {len(given)} numbers, the cohort {len(names)} frames")
        self._frame_phase = torch.tensor(given if given is not None else frame_phases(names))
        self._r_peaks.load(data)

    def of(self, batch: dict[str, Tensor], frames: Tensor) -> dict[str, Tensor]:
        """Return the projected segments of a batch.

        Args:
            batch: With ``ecg``, ``row`` and, where leads are missing, ``lead_mask``.
            frames: (B, F, D) features of the frames.
        """
        stage = self._stage[0]
        tokens = _moments(stage.ecg_encoder, batch).transpose(1, 2)
        spec = stage.ecg_encoder.input_spec
        count = tokens.shape[1]
        centres = (torch.arange(count, device=tokens.device) + 0.5) * (spec.samples / count)
        self._frame_phase = self._frame_phase.to(frames.device)  # once; from a list it would wait for the device
        peaks = self._r_peaks.of(batch, stage.trainer.datamodule, stage.current_epoch, stage.training)
        return stage.objective.segments(
            _rows(stage.ecg_projection, tokens),
            phases_at(centres, peaks, spec.sampling_rate),
            _rows(stage.cmr_projection, frames),
            self._frame_phase,
        )


def _moments(encoder: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return local features averaged over the recorded leads, (B, D, N): what lies at one time is one segment."""
    if "lead_mask" not in batch:
        return encoder.local_features(batch["ecg"]).mean(dim=2)
    local, mask = encoder.local_features(batch["ecg"], batch["lead_mask"]), batch["lead_mask"][:, None, :, None]
    return torch.where(mask, local, local.new_zeros(())).sum(dim=2) / mask.sum(dim=2)


def _rows(projection: Any, x: Tensor) -> Tensor:
    """Apply a projection head to (B, N, D)."""
    return projection(x.flatten(0, 1)).unflatten(0, x.shape[:2])
