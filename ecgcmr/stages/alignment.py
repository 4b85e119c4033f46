"""ECG-CMR alignment: one subject's ECG and cardiac MRI are drawn together, different subjects' apart.

After Turgut et al. (arXiv 2308.05764). The objective sees the batch of all ranks, with exact gradients.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn

from ecgcmr.encoders import require_encoder
from ecgcmr.objectives import CLIPLoss
from ecgcmr.objectives.protocol import FURTHER_INPUTS, require_objective
from ecgcmr.stages.beats import RPeakSource
from ecgcmr.stages.collection import EpochCollector
from ecgcmr.stages.contrast_size import check_contrast_size
from ecgcmr.stages.cycle_segments import CycleSegments
from ecgcmr.stages.finite_outputs import finite_rows, require_finite_outputs, require_finite_values
from ecgcmr.stages.further_inputs import FurtherInputs
from ecgcmr.stages.missing_leads import check_missing_leads, features_of
from ecgcmr.stages.online_probe import cross_fitted_r2
from ecgcmr.stages.optimisation import OptimiserSettings, layer_decayed_groups, optimisers_for, plain_groups
from ecgcmr.stages.projection import projection_head
from ecgcmr.stages.towers import Tower, follow, momentum_target
from ecgcmr.stages.transfer import check_input, start_from
from ecgcmr.stages.views import View
from ecgcmr.stages.whole_split import retrieval_scores, split_loss


class ECGCMRAlignment(lightning.LightningModule):
    """Align an ECG encoder with a CMR encoder by a contrastive objective.

    Args:
        ecg_encoder: ECG encoder; its weights are what later stages use.
        cmr_encoder: CMR encoder.
        projection_hidden: Hidden width of both projection heads.
        projection_size: Size of the shared embedding.
        projection_layers: Linear layers of both heads.
        projection_norm: Batch norm over the global batch inside the heads.
        objective: Loss of (ECG projections, CMR projections) over the global batch; any of ``ecgcmr.objectives``.
        optimiser: Learning rate, decay and schedule.
        ecg_encoder_weights: Run folder of a finished pre-training whose ECG encoder to start from.
        cmr_encoder_weights: The same for the CMR encoder.
        probe: Probe the ECG features with ridge regression on the validation labels the DataModule carries.
        r_peaks: For PTACL: "stored" in the cohort, or "detected" in each ECG as it is.
        adapt_encoder_weights: Take the weights of both encoders from those made for another length, more leads or other
            images too.
    """

    monitor = "val/loss"
    mode = "min"
    exports = {"encoder": "ecg_encoder", "cmr_encoder": "cmr_encoder"}
    task = "alignment"
    takes_lead_mask = True
    accept_other_preparation = False
    loads_checkpoint = False
    ecg_encoder: Any  # both meet the encoder contract, checked at construction
    cmr_encoder: Any

    def __init__(
        self,
        ecg_encoder: nn.Module,
        cmr_encoder: nn.Module,
        projection_hidden: int = 512,
        projection_size: int = 128,
        projection_layers: int = 2,
        projection_norm: bool = False,
        objective: nn.Module | None = None,
        optimiser: OptimiserSettings | None = None,
        ecg_encoder_weights: str | None = None,
        cmr_encoder_weights: str | None = None,
        probe: bool = True,
        r_peaks: RPeakSource = "stored",
        adapt_encoder_weights: bool = False,
    ) -> None:
        super().__init__()
        self.ecg_encoder = require_encoder(ecg_encoder)
        self.cmr_encoder = require_encoder(cmr_encoder)
        head = (projection_hidden, projection_size, projection_layers, projection_norm)
        self.ecg_projection = projection_head(self.ecg_encoder.feature_dim, *head)
        self.cmr_projection = projection_head(self.cmr_encoder.feature_dim, *head)
        self.objective = require_objective(objective or CLIPLoss(), FURTHER_INPUTS)
        self.target = momentum_target(self.objective, self.towers)
        self.settings = optimiser or OptimiserSettings(lr=1e-4, weight_decay=1e-4, betas=(0.9, 0.999), warmup_epochs=30)
        self.ecg_encoder_weights = ecg_encoder_weights
        self.cmr_encoder_weights = cmr_encoder_weights
        self.adapt_encoder_weights = adapt_encoder_weights
        self.probe = probe
        self._collector = EpochCollector()
        self._further = FurtherInputs(self.objective.needs)
        self._cycle = CycleSegments(self, r_peaks) if "segments_a" in self.objective.needs else None

    @property
    def towers(self) -> list[nn.Module]:
        """Encoder and projection of each modality, ECG first; they share their weights with this stage."""
        pairs = ((self.ecg_encoder, self.ecg_projection), (self.cmr_encoder, self.cmr_projection))
        return [Tower(encoder, projection) for encoder, projection in pairs]

    def setup(self, stage: str) -> None:
        """Hold the encoders against the data, and take over exported weights at the start of a fit."""
        check_input(self, self.ecg_encoder, "ecg", "model.ecg_encoder")
        check_input(self, self.cmr_encoder, "cmr", "model.cmr_encoder")
        check_missing_leads(self, self.ecg_encoder, "model.ecg_encoder")
        check_contrast_size(self, stage)
        adapt = self.adapt_encoder_weights
        start_from(self, self.ecg_encoder, self.ecg_encoder_weights, "model.ecg_encoder_weights", adapt_input=adapt)
        start_from(self, self.cmr_encoder, self.cmr_encoder_weights, "model.cmr_encoder_weights", adapt_input=adapt)
        if self.target is not None:  # a checkpoint that is resumed or judged is loaded after this
            self.target.copy_from(self.towers)
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self._further.load(data)
        if self._cycle is not None:
            self._cycle.load(data)

    def forward(self, ecg: Tensor) -> Tensor:
        """Return pooled ECG features (B, D) before the projection."""
        return self.ecg_encoder(ecg)

    def _embed(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ECG features, both projections ``a`` and ``b``, and what the objective needs further."""
        features = features_of(self.ecg_encoder, batch)
        embedded = {"features": features, "a": self.ecg_projection(features)} | self._further.of(batch)
        if self._cycle is None:
            embedded["b"] = self.cmr_projection(self.cmr_encoder(batch["cmr"]))
        else:
            frames = self.cmr_encoder.frame_features(batch["cmr"])
            embedded["b"] = self.cmr_projection(frames.mean(dim=1))
            embedded |= self._cycle.of(batch, frames)
        if self.target is not None:
            embedded["target_a"] = self.target(0, View(batch["ecg"], batch.get("lead_mask")))
            embedded["target_b"] = self.target(1, View(batch["cmr"]))
        return embedded

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Contrast one augmented batch, over all ranks."""
        embedded = self._embed(batch)
        further = {name: embedded[name] for name in self.objective.needs}
        loss = self.objective(embedded["a"], embedded["b"], **further)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True)
        if isinstance(temperature := getattr(self.objective, "temperature", None), Tensor):
            self.log("train/temperature", temperature, on_step=False, on_epoch=True)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and let the target network follow, where the objective has one."""
        super().optimizer_step(*args, **kwargs)
        follow(self, self.target, self.towers)

    def _evaluate(self, batch: dict[str, Tensor]) -> None:
        kept = self._embed(batch)
        if self.probe and "labels" in batch:
            kept["labels"] = batch["labels"]
        self._collector.add(batch, **kept)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Embed one batch; everything is judged over the whole split at the epoch's end."""
        self._evaluate(batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """As in validation."""
        self._evaluate(batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return ECG projections of a batch, for retrieval."""
        embedding = self.ecg_projection(features_of(self.ecg_encoder, batch))
        return {
            "row": batch["row"],
            "valid": batch["valid"],
            "prediction": embedding,
            "finite": finite_rows(embedding),
        }

    def on_validation_epoch_end(self) -> None:
        """Log loss, retrieval and probe of the split."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Log loss, retrieval and probe of the split."""
        self._finish("test")

    def _finish(self, split: str) -> None:
        collected = self._collector.collect(self)
        require_finite_outputs(self, split, collected)
        a, b = collected["a"], collected["b"]
        loss = split_loss(self, collected)
        require_finite_values(self, split, {"loss": loss})
        self.log(f"{split}/loss", loss, sync_dist=True)
        scores = retrieval_scores(a, b, f"{split}/ecg_to_cmr") | retrieval_scores(b, a, f"{split}/cmr_to_ecg")
        self.log_dict(scores)
        if "labels" in collected:
            probe = cross_fitted_r2(collected["features"], collected["labels"])
            if torch.isfinite(probe).any():
                self.log(f"{split}/probe_r2", probe.nanmean().float())

    def configure_optimizers(self) -> Any:
        """AdamW over both encoders, their projections and the objective's own parameters."""
        decay = self.settings.weight_decay
        groups = layer_decayed_groups(
            self.ecg_encoder, layer_decay=self.settings.layer_decay, weight_decay=decay, prefix="ecg_"
        )
        groups += plain_groups([self.cmr_encoder], weight_decay=decay, prefix="cmr_")
        groups += plain_groups([self.ecg_projection, self.cmr_projection, self.objective], weight_decay=decay)
        return optimisers_for(self, groups, self.settings)
