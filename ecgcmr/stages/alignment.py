"""ECG-CMR alignment: one subject's ECG and cardiac MRI are drawn together, different subjects' apart.

After Turgut et al. (arXiv 2308.05764). The objective sees the batch of all ranks, with exact gradients.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ecgcmr.encoders import LocalFeatureEncoder, View, require_encoder
from ecgcmr.interpretation.pair import AlignedPair
from ecgcmr.objectives import CLIPLoss
from ecgcmr.objectives.protocol import FURTHER_INPUTS
from ecgcmr.option_checks import check_least
from ecgcmr.stages.contrast import Contrast
from ecgcmr.stages.cycle_segments import CycleSegments, RPeakSource
from ecgcmr.stages.localisation_log import log_localisation
from ecgcmr.stages.optimisation import layer_decayed_groups, optimisers_for, plain_groups
from ecgcmr.stages.stage_module import predicted
from ecgcmr.stages.towers import Tower
from ecgcmr.stages.transfer import check_input, check_missing_leads, start_from
from ecgcmr.stages.whole_split import retrieval_scores


class ECGCMRAlignment(Contrast):
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
    task = "alignment"
    warmup_epochs = 30.0
    ecg_encoder: Any  # both meet the encoder contract, checked at construction
    cmr_encoder: Any

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
        self._contrast(objective or CLIPLoss(), FURTHER_INPUTS)
        self.ecg_encoder_weights = ecg_encoder_weights
        self.cmr_encoder_weights = cmr_encoder_weights
        check_least(0, **{"model.maps_every_epochs": maps_every_epochs})
        if maps_every_epochs:
            require_encoder(self.cmr_encoder, LocalFeatureEncoder)
        self.maps_every_epochs = maps_every_epochs
        self._cycle = CycleSegments(self, r_peaks) if "segments_a" in self.objective.needs else None

    @property
    def towers(self) -> list[Tower]:
        """Encoder and projection of each modality, ECG first; they share their weights with this stage."""
        pairs = ((self.ecg_encoder, self.ecg_projection), (self.cmr_encoder, self.cmr_projection))
        return [Tower(encoder, projection) for encoder, projection in pairs]

    def setup(self, stage: str) -> None:
        """Compare the encoders with the data, and take over exported weights at the start of a fit."""
        check_input(self, self.ecg_encoder, "ecg", "model.ecg_encoder")
        check_input(self, self.cmr_encoder, "cmr", "model.cmr_encoder")
        check_missing_leads(self, self.ecg_encoder, "model.ecg_encoder")
        adapt = self.adapt_encoder_weights
        start_from(self, self.ecg_encoder, self.ecg_encoder_weights, "model.ecg_encoder_weights", adapt_input=adapt)
        start_from(self, self.cmr_encoder, self.cmr_encoder_weights, "model.cmr_encoder_weights", adapt_input=adapt)
        super().setup(stage)
        if self._cycle is not None:
            self._cycle.load(self.data)

    def forward(self, ecg: Tensor) -> Tensor:
        """Return pooled ECG features (B, D) before the projection."""
        return self.ecg_encoder(ecg)

    def _features(self, batch: dict[str, Tensor]) -> Tensor:
        return View.from_batch(batch, "ecg").features(self.ecg_encoder)

    def _embed(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Return ECG features, both projections ``a`` and ``b``, and what the objective needs further."""
        features, images = self._features(batch), View.from_batch(batch, "cmr")
        embedded = {"features": features, "a": self.ecg_projection(features)} | self._further.of(batch)
        if self._cycle is None:
            embedded["b"] = self.cmr_projection(images.features(self.cmr_encoder))
        else:
            frames = self.cmr_encoder.frame_features(images.x)
            embedded["b"] = self.cmr_projection(frames.mean(dim=1))
            embedded |= self._cycle.of(batch, frames)
        if self.target is not None:
            embedded["target_a"] = self.target(0, View.from_batch(batch, "ecg"))
            embedded["target_b"] = self.target(1, images)
        return embedded

    def _scores(self, a: Tensor, b: Tensor, split: str) -> dict[str, Tensor]:
        """Retrieval of one modality by the other, both ways."""
        return retrieval_scores(a, b, f"{split}/ecg_to_cmr") | retrieval_scores(b, a, f"{split}/cmr_to_ecg")

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Judge one batch, and draw maps of the first one."""
        super().validation_step(batch, batch_idx)
        every = self.maps_every_epochs
        if batch_idx == 0 and every and (self.current_epoch + 1) % every == 0:
            pair = AlignedPair(self.ecg_encoder, self.cmr_encoder, self.ecg_projection, self.cmr_projection)
            log_localisation(self, pair, batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return ECG projections of a batch, for retrieval."""
        return predicted(batch, self.ecg_projection(self._features(batch)))

    def configure_optimizers(self) -> Any:
        """AdamW over both encoders, their projections and the objective's own parameters."""
        decay = self.settings.weight_decay
        groups = layer_decayed_groups(
            self.ecg_encoder, layer_decay=self.settings.layer_decay, weight_decay=decay, prefix="ecg_"
        )
        groups += plain_groups([self.cmr_encoder], weight_decay=decay, prefix="cmr_")
        groups += plain_groups([self.ecg_projection, self.cmr_projection, self.objective], weight_decay=decay)
        return optimisers_for(self, groups, self.settings)
