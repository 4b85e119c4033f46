"""ECG-CMR alignment: one subject's ECG and cardiac MRI are drawn together, different subjects' apart.

After Turgut et al. (arXiv 2308.05764). The contrastive loss sees the batch of all ranks, with exact gradients.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn

from ecgcmr.encoders import require_encoder
from ecgcmr.objectives.contrastive import CLIPLoss, recall_at, retrieval_ranks
from ecgcmr.stages.collection import EpochCollector
from ecgcmr.stages.online_probe import cross_fitted_r2
from ecgcmr.stages.optimisation import OptimiserSettings, layer_decayed_groups, optimisers_for, plain_groups
from ecgcmr.stages.transfer import check_input, start_from


def projection_head(width: int, hidden: int, size: int) -> nn.Sequential:
    """Return the published two-layer projection: width -> hidden -> ReLU -> size."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, size))


class ECGCMRAlignment(lightning.LightningModule):
    """Align an ECG encoder with a CMR encoder by a contrastive objective.

    Args:
        ecg_encoder: ECG encoder; its weights are what later stages use.
        cmr_encoder: CMR encoder.
        projection_hidden: Hidden width of both projection heads.
        projection_size: Size of the shared embedding.
        objective: Contrastive loss of (ECG projections, CMR projections) over the global batch.
        optimiser: Learning rate, decay and schedule.
        ecg_encoder_weights: Run folder of a finished pre-training whose ECG encoder to start from.
        cmr_encoder_weights: The same for the CMR encoder.
        probe: Probe the ECG features with ridge regression on the validation labels the DataModule carries.
    """

    monitor = "val/loss"
    mode = "min"
    exports = {"encoder": "ecg_encoder", "cmr_encoder": "cmr_encoder"}
    ecg_encoder: Any  # both meet the encoder contract, checked at construction
    cmr_encoder: Any

    def __init__(
        self,
        ecg_encoder: nn.Module,
        cmr_encoder: nn.Module,
        projection_hidden: int = 512,
        projection_size: int = 128,
        objective: nn.Module | None = None,
        optimiser: OptimiserSettings | None = None,
        ecg_encoder_weights: str | None = None,
        cmr_encoder_weights: str | None = None,
        probe: bool = True,
    ) -> None:
        super().__init__()
        self.ecg_encoder = require_encoder(ecg_encoder)
        self.cmr_encoder = require_encoder(cmr_encoder)
        self.ecg_projection = projection_head(self.ecg_encoder.feature_dim, projection_hidden, projection_size)
        self.cmr_projection = projection_head(self.cmr_encoder.feature_dim, projection_hidden, projection_size)
        self.objective = objective or CLIPLoss()
        self.settings = optimiser or OptimiserSettings(lr=1e-4, weight_decay=1e-4, betas=(0.9, 0.999), warmup_epochs=30)
        self.ecg_encoder_weights = ecg_encoder_weights
        self.cmr_encoder_weights = cmr_encoder_weights
        self.probe = probe
        self._collector = EpochCollector()

    def setup(self, stage: str) -> None:
        """Hold the encoders against the data, and take over exported weights at the start of a fit."""
        check_input(self, self.ecg_encoder, "ecg", "model.ecg_encoder")
        check_input(self, self.cmr_encoder, "cmr", "model.cmr_encoder")
        start_from(self, self.ecg_encoder, self.ecg_encoder_weights, "model.ecg_encoder_weights")
        start_from(self, self.cmr_encoder, self.cmr_encoder_weights, "model.cmr_encoder_weights")

    def forward(self, ecg: Tensor) -> Tensor:
        """Return pooled ECG features (B, D) before the projection."""
        return self.ecg_encoder(ecg)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Contrast one augmented batch, over all ranks."""
        ecg = self.ecg_projection(self.ecg_encoder(batch["ecg"]))
        cmr = self.cmr_projection(self.cmr_encoder(batch["cmr"]))
        loss = self.objective(ecg, cmr)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True)
        if isinstance(temperature := getattr(self.objective, "temperature", None), Tensor):
            self.log("train/temperature", temperature, on_step=False, on_epoch=True)
        return loss

    def _evaluate(self, batch: dict[str, Tensor]) -> None:
        features = self.ecg_encoder(batch["ecg"])
        kept = {
            "features": features,
            "ecg": self.ecg_projection(features),
            "cmr": self.cmr_projection(self.cmr_encoder(batch["cmr"])),
        }
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
        embedding = self.ecg_projection(self.ecg_encoder(batch["ecg"]))
        return {"row": batch["row"], "valid": batch["valid"], "prediction": embedding}

    def on_validation_epoch_end(self) -> None:
        """Log loss, retrieval and probe of the split."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Log loss, retrieval and probe of the split."""
        self._finish("test")

    def _finish(self, split: str) -> None:
        collected = self._collector.collect(self)
        ecg, cmr = collected["ecg"], collected["cmr"]
        loss = self._split_loss(ecg, cmr)
        self.log(f"{split}/loss", loss, sync_dist=True)
        ranks = {"ecg_to_cmr": retrieval_ranks(ecg, cmr), "cmr_to_ecg": retrieval_ranks(cmr, ecg)}
        scores: dict[str, Tensor] = {}
        for direction, rank in ranks.items():
            scores |= {f"{split}/{direction}_recall@{k}": recall_at(rank, k) for k in (1, 5)}
            # 0.5 is chance, 0 is perfect; comparable between splits of different size.
            scores[f"{split}/{direction}_median_rank"] = rank.float().median() / max(len(rank) - 1, 1)
        self.log_dict(scores)
        if "labels" in collected:
            probe = cross_fitted_r2(collected["features"], collected["labels"])
            if torch.isfinite(probe).any():
                self.log(f"{split}/probe_r2", probe.nanmean().float())

    def _split_loss(self, ecg: Tensor, cmr: Tensor) -> Tensor:
        """Return this rank's part of the loss over a whole split; its mean over ranks is the loss.

        The split is cut into chunks of one global training batch in index order, so that the value is comparable with
        the training loss and the same for every number of ranks. Each rank gives the objective its share of a chunk.
        """
        trainer: Any = self.trainer
        rank, world = trainer.global_rank, trainer.world_size
        chunk = min(len(ecg), trainer.datamodule.batch_size * world)
        losses = []
        with torch.no_grad():
            for start in range(0, len(ecg) - chunk + 1, chunk):
                own = slice(start + rank, start + chunk, world)
                losses.append(self.objective(ecg[own].to(self.device), cmr[own].to(self.device)))
        return torch.stack(losses).mean()

    def configure_optimizers(self) -> Any:
        """AdamW over both encoders, their projections and the objective's own parameters."""
        decay = self.settings.weight_decay
        groups = layer_decayed_groups(
            self.ecg_encoder, layer_decay=self.settings.layer_decay, weight_decay=decay, prefix="ecg_"
        )
        groups += plain_groups([self.cmr_encoder], weight_decay=decay, prefix="cmr_")
        groups += plain_groups([self.ecg_projection, self.cmr_projection, self.objective], weight_decay=decay)
        return optimisers_for(self, groups, self.settings)
