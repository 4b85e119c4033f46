"""ECG-CMR alignment: one subject's ECG and cardiac MRI are drawn together, different subjects' apart.

After Turgut et al. (arXiv 2308.05764). The objective sees the batch of all ranks, with exact gradients.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ecgcmr.encoders import LocalFeatureEncoder, View, require_encoder
from ecgcmr.interpretation.pair import AlignedPair
from ecgcmr.objectives import CLIPLoss
from ecgcmr.objectives.protocol import FURTHER_INPUTS, THIRD
from ecgcmr.option_checks import check_least
from ecgcmr.stages.cycle_segments import CycleSegments, RPeakSource
from ecgcmr.stages.localisation_log import log_localisation
from ecgcmr.stages.modality_alignment import ModalityAlignment, Side


class ECGCMRAlignment(ModalityAlignment):
    """Align an ECG encoder with a CMR encoder by a contrastive objective.

    Args:
        ecg_encoder: ECG encoder; its weights are what later stages use.
        cmr_encoder: CMR encoder.
        objective: Loss of (ECG projections, CMR projections) over the global batch; any of ``ecgcmr.objectives``.
        ecg_encoder_weights: Run folder of a finished pre-training whose ECG encoder to start from.
        cmr_encoder_weights: The same for the CMR encoder.
        r_peaks: For PTACL: "stored" in the cohort, or "detected" in each ECG as it is.
        maps_every_epochs: Draw in TensorBoard where the ECG matches the image (``val/localisation``), of the same few
            validation subjects every so many epochs; 0 draws nothing.
        options: Those of ``Contrast``; the ECG features are probed.
    """

    exports = {"encoder": "ecg_encoder", "cmr_encoder": "cmr_encoder"}
    cmr_encoder: Any  # meets the encoder contract, checked at construction

    def __init__(
        self,
        ecg_encoder: nn.Module,
        cmr_encoder: nn.Module,
        objective: nn.Module | None = None,
        ecg_encoder_weights: str | None = None,
        cmr_encoder_weights: str | None = None,
        r_peaks: RPeakSource = "stored",
        maps_every_epochs: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.ecg_encoder = require_encoder(ecg_encoder)
        self.cmr_encoder = require_encoder(cmr_encoder)
        self.ecg_projection = self._projection(self.ecg_encoder)
        self.cmr_projection = self._projection(self.cmr_encoder)
        self.ecg_encoder_weights = ecg_encoder_weights
        self.cmr_encoder_weights = cmr_encoder_weights
        self._contrast(objective or CLIPLoss(), [name for name in FURTHER_INPUTS if name != THIRD])
        check_least(0, **{"model.maps_every_epochs": maps_every_epochs})
        if maps_every_epochs:
            require_encoder(self.cmr_encoder, LocalFeatureEncoder)
        self.maps_every_epochs = maps_every_epochs
        self._cycle = CycleSegments(self, r_peaks) if "segments_a" in self.objective.needs else None

    @property
    def sides(self) -> list[Side]:
        """ECG, then images."""
        return [
            Side("ecg", "ecg", self.ecg_encoder, self.ecg_projection, self.ecg_encoder_weights),
            Side("cmr", "cmr", self.cmr_encoder, self.cmr_projection, self.cmr_encoder_weights),
        ]

    def setup(self, stage: str) -> None:
        """As every alignment, then take R peaks from the data where they are needed."""
        super().setup(stage)
        if self._cycle is not None:
            self._cycle.load(self.data)

    def _embed(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """As every alignment; phases of the heartbeat are contrasted too, where the objective asks for them."""
        if self._cycle is None:
            return super()._embed(batch, training=training)
        features, images = self._features(batch), View.from_batch(batch, "cmr")
        frames = self.cmr_encoder.frame_features(images.x)
        embedded = {"features": features, "a": self.ecg_projection(features), "b": self.cmr_projection(frames.mean(1))}
        embedded |= self._further.of(batch) | self._cycle.of(batch, frames)
        return embedded | self._targets([View.from_batch(batch, "ecg"), images])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Judge one batch, and draw maps of the first one."""
        super().validation_step(batch, batch_idx)
        every = self.maps_every_epochs
        if batch_idx == 0 and every and (self.current_epoch + 1) % every == 0:
            pair = AlignedPair(self.ecg_encoder, self.cmr_encoder, self.ecg_projection, self.cmr_projection)
            log_localisation(self, pair, batch)
