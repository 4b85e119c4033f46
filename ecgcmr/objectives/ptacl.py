"""PTACL: beside the patients, the moments within one patient's heartbeat are contrasted.

Selivanov et al. 2025 (arXiv 2506.20683). Segments of the ECG are drawn to the cine frames of the same phase of the RR
interval and apart from the other frames of the same patient. Both go through the projections of the global loss; no
weight is added. Details the paper leaves open are settled in docs/objectives.md.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.errors import UserError
from ecgcmr.objectives.cardiac_phase import average_by_phase
from ecgcmr.objectives.contrastive import CLIPLoss
from ecgcmr.objectives.gather import gather_rows, world_size
from ecgcmr.objectives.rows import check_pair, unit_rows
from ecgcmr.objectives.temperature import check_temperature


class PTACLLoss(nn.Module):
    """CLIP loss between patients plus, weighted, a local loss between the phases of each patient.

    Args:
        temperature: Of the global loss; the starting value if it is learned.
        image_to_ecg_weight: Weight of the direction from image to ECG in both losses, in [0, 1].
        learnable_temperature: Learn the temperature of the global loss.
        local_weight: Weight of the local loss.
        local_temperature: Of the local loss.
        segments: Phases that the cycle is cut into; None takes one per frame.
        frame_phases: Phase of each frame in [0, 1); None takes it from a cohort that holds the whole cycle.

    Raises:
        UserError: A number lies outside its range, or fewer than two phases are told apart.
    """

    needs: tuple[str, ...] = ("segments_a", "segments_b", "segments_present")

    def __init__(
        self,
        temperature: float = 0.1,
        image_to_ecg_weight: float = 0.5,
        learnable_temperature: bool = False,
        local_weight: float = 1.0,
        local_temperature: float = 0.1,
        segments: int | None = None,
        frame_phases: list[float] | None = None,
    ) -> None:
        super().__init__()
        check_temperature(local_temperature)
        if not local_weight >= 0.0:
            raise UserError(f"local_weight must not be negative, got {local_weight}")
        if segments is not None and segments < 2:
            raise UserError(f"segments {segments}: the cycle must be cut into at least 2")
        if frame_phases is not None:
            _check_phases(frame_phases)
        self.clip = CLIPLoss(temperature, image_to_ecg_weight, learnable_temperature)
        self.local_weight = local_weight
        self.local_temperature = local_temperature
        self.number = segments
        self.frame_phases = frame_phases

    @property
    def temperature(self) -> Tensor:
        """Temperature of the global loss now, a number for the log."""
        return self.clip.temperature

    def segments(self, ecg: Tensor, ecg_phase: Tensor, frames: Tensor, frame_phase: Tensor) -> dict[str, Tensor]:
        """Average projected tokens and frames of one phase; what the loss needs further.

        Args:
            ecg: (B, N, D) projected ECG tokens.
            ecg_phase: (B, N) phase of each token in [0, 1), NaN = unknown.
            frames: (B, F, D) projected frames.
            frame_phase: (F,) phase of each frame in [0, 1).

        Returns:
            ``segments_a``, ``segments_b`` (B, K, D) and ``segments_present`` (B, K).
        """
        centres = frame_phase
        if self.number is not None:
            centres = torch.arange(self.number, device=frames.device) / self.number
        segments_a, seen_a = average_by_phase(ecg, ecg_phase, centres)
        segments_b, seen_b = average_by_phase(frames, frame_phase.expand(len(frames), -1), centres)
        return {"segments_a": segments_a, "segments_b": segments_b, "segments_present": seen_a & seen_b}

    def forward(self, a: Tensor, b: Tensor, segments_a: Tensor, segments_b: Tensor, segments_present: Tensor) -> Tensor:
        """Loss of this rank's rows; the mean over ranks is that of the global batch.

        Args:
            a: (B, D) projected ECGs, not yet normalised.
            b: (B, D) projected images.
            segments_a: (B, K, D) projected segments of the ECG.
            segments_b: (B, K, D) projected frames of the same phases.
            segments_present: (B, K) whether a phase was seen in both; a patient with fewer than two adds nothing.

        Returns:
            A scalar.

        Raises:
            ValueError: The shapes of `a` and `b` differ.
            UserError: The global batch holds one recording alone.
        """
        check_pair(a, b)
        present = segments_present.bool()
        present = present & (present.sum(dim=1, keepdim=True) >= 2)
        with torch.autocast(a.device.type, enabled=False):
            local_a, local_b = unit_rows(a), unit_rows(b)
            gathered = gather_rows(torch.cat([local_a, local_b], dim=1), present.sum(dim=1))
            scale = world_size() / gathered.beside[0].sum().to(local_a.dtype).clamp(min=1)
            local = scale * self._local(segments_a, segments_b, present)
            return self.clip.of_gathered(local_a, local_b, gathered) + self.local_weight * local

    def _local(self, a: Tensor, b: Tensor, present: Tensor) -> Tensor:
        """Cross-entropy over the phases of each patient, summed over all phases of this rank's patients."""
        with torch.autocast(a.device.type, enabled=False):
            logits = unit_rows(a) @ unit_rows(b).transpose(1, 2) / self.local_temperature
            # Finite: where a patient shows no phase, a row of -inf would make the gradient NaN.
            logits = logits.masked_fill(~(present[:, :, None] & present[:, None]), torch.finfo(logits.dtype).min / 2)
            target = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
            weight = self.clip.image_to_ecg_weight
            from_ecg = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
            from_image = F.cross_entropy(logits, target, reduction="none")
            each = weight * from_image + (1.0 - weight) * from_ecg
            return torch.where(present, each, 0.0).sum()


def _check_phases(phases: list[float]) -> None:
    if len(phases) < 2 or len(set(phases)) < len(phases) or not all(0.0 <= phase < 1.0 for phase in phases):
        raise UserError(f"frame_phases must be at least two different numbers in [0, 1), got {list(phases)}")
