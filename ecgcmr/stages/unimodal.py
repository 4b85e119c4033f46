"""Contrastive pre-training on one modality: two views of a recording are drawn together.

SimCLR, BYOL, Barlow Twins and CLOCS are this stage with their objective and views; the first also for cine frames,
where it initialises the image encoder of the alignment (Turgut et al., arXiv 2308.05764).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import lightning
import torch
from torch import Tensor, nn

from data_modules.sampling import PURPOSE
from ecgcmr.augmentations.sampling_rates import check_rates
from ecgcmr.encoders import require_encoder
from ecgcmr.errors import UserError
from ecgcmr.objectives import NTXentLoss
from ecgcmr.objectives.protocol import FURTHER_INPUTS, require_objective
from ecgcmr.objectives.rows import unit_rows
from ecgcmr.row_random import RowGenerator
from ecgcmr.stages.collection import EpochCollector
from ecgcmr.stages.contrast_size import check_contrast_size
from ecgcmr.stages.finite_outputs import finite_rows, require_finite_outputs, require_finite_values
from ecgcmr.stages.further_inputs import FurtherInputs
from ecgcmr.stages.missing_leads import check_missing_leads
from ecgcmr.stages.online_probe import cross_fitted_r2
from ecgcmr.stages.optimisation import OptimiserSettings, layer_decayed_groups, optimisers_for, plain_groups
from ecgcmr.stages.projection import projection_head
from ecgcmr.stages.towers import Tower, follow, momentum_target
from ecgcmr.stages.transfer import start_from
from ecgcmr.stages.views import TwoViews, View, check_views
from ecgcmr.stages.whole_split import retrieval_scores, split_loss

Modality = Literal["ecg", "cmr"]
_OFFERED = [name for name in FURTHER_INPUTS if not name.startswith("segments")]


class UnimodalContrast(lightning.LightningModule):
    """Pre-train one encoder by comparing two views of each recording.

    The views are made here and not by the DataModule, whose batches stay as they are stored.

    Args:
        encoder: ECG or CMR encoder; its weights are what later stages use.
        views: How two views are made; ``AugmentedViews`` or, for CLOCS, ``PatientViews``.
        modality: "ecg" or "cmr".
        objective: Loss of two batches of projections over the global batch; default NT-Xent (SimCLR).
        projection_hidden: Hidden width of the projection head.
        projection_size: Size of the embedding.
        projection_layers: Linear layers of the head.
        projection_norm: Batch norm over the global batch inside the head, as BYOL and Barlow Twins have it.
        optimiser: Learning rate, decay and schedule.
        encoder_weights: Folder of an exported encoder to start from.
        probe: Probe the features with ridge regression on the validation labels the DataModule carries.
        seed: Seed of the views.
        adapt_encoder_weights: Take ``encoder_weights`` that were made for another length, more leads or other images.
    """

    monitor = "val/loss"
    mode = "min"
    exports = {"encoder": "encoder"}
    task = "pre-training"
    takes_lead_mask = True
    accept_other_preparation = False
    loads_checkpoint = False
    encoder: Any  # meets the encoder contract, checked at construction

    def __init__(
        self,
        encoder: nn.Module,
        views: TwoViews,
        modality: Modality = "ecg",
        objective: nn.Module | None = None,
        projection_hidden: int = 512,
        projection_size: int = 128,
        projection_layers: int = 2,
        projection_norm: bool = False,
        optimiser: OptimiserSettings | None = None,
        encoder_weights: str | None = None,
        probe: bool = True,
        seed: int = 0,
        adapt_encoder_weights: bool = False,
    ) -> None:
        super().__init__()
        if seed < 0:
            raise UserError(f"model.seed {seed}: must be at least 0")
        if modality not in get_args(Modality):
            raise UserError(f"unknown modality {modality!r}: choose one of {', '.join(get_args(Modality))}")
        self.encoder = require_encoder(encoder)
        self.views = views
        self.modality = modality
        self.projection = projection_head(
            self.encoder.feature_dim, projection_hidden, projection_size, projection_layers, projection_norm
        )
        self.objective = require_objective(objective or NTXentLoss(), _OFFERED)
        self.target = momentum_target(self.objective, [self.tower])
        self.settings = optimiser or OptimiserSettings(lr=1e-4, weight_decay=1e-4, betas=(0.9, 0.999), warmup_epochs=10)
        self.encoder_weights = encoder_weights
        self.adapt_encoder_weights = adapt_encoder_weights
        self.probe = probe
        self.seed = seed
        self._collector = EpochCollector()
        self._further = FurtherInputs(self.objective.needs)

    @property
    def tower(self) -> nn.Module:
        """Encoder and projection as one callable, sharing their weights with this stage."""
        return Tower(self.encoder, self.projection)

    def setup(self, stage: str) -> None:
        """Hold the encoder against the data, and take over exported weights at the start of a fit."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.modality not in data.input_spec:
            raise UserError(f"model.modality is {self.modality}, which {type(data).__name__} does not give")
        check_views(self.views, self.encoder, data.input_spec[self.modality], self.modality)
        check_contrast_size(self, stage)
        if self.modality == "ecg":
            check_rates(self.views.augmentation, data.input_spec["ecg"]["sampling_rate"])
            check_missing_leads(self, self.encoder, "model.encoder")
        adapt = self.adapt_encoder_weights
        start_from(self, self.encoder, self.encoder_weights, "model.encoder_weights", adapt_input=adapt)
        if self.target is not None:  # a checkpoint that is resumed or judged is loaded after this
            self.target.copy_from([self.tower])
        self._further.load(data)

    def forward(self, x: Tensor) -> Tensor:
        """Return pooled features (B, D) of recordings as the encoder takes them."""
        return self.encoder(x)

    def _whole(self, batch: dict[str, Tensor]) -> View:
        """Return the recordings of a batch; the mask of its leads says nothing of images."""
        return View(batch[self.modality], batch.get("lead_mask") if self.modality == "ecg" else None)

    def _embed(self, batch: dict[str, Tensor], *key: int) -> dict[str, Tensor]:
        """Return projections ``a`` and ``b`` of two views, and what the objective needs further.

        Args:
            batch: One batch.
            key: What the views depend on beside seed and row.
        """
        whole = self._whole(batch)
        key = (self.seed, PURPOSE.views, *key)
        first, second = (RowGenerator(batch["row"], *key, view, device=whole.x.device) for view in (0, 1))
        views = self.views(whole, first, second)
        tower = self.tower
        embedded = {name: tower(view) for name, view in zip("ab", views, strict=True)} | self._further.of(batch)
        if self.target is not None:
            embedded["target_a"], embedded["target_b"] = (self.target(0, view) for view in views)
        return embedded

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Compare two views of one batch, over all ranks."""
        embedded = self._embed(batch, 1, self.current_epoch)
        loss = self.objective(**embedded)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True)
        if isinstance(temperature := getattr(self.objective, "temperature", None), Tensor):
            self.log("train/temperature", temperature, on_step=False, on_epoch=True)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and let the target network follow, where the objective has one."""
        super().optimizer_step(*args, **kwargs)
        follow(self, self.target, [self.tower])

    def _evaluate(self, batch: dict[str, Tensor]) -> None:
        kept = self._embed(batch, 0)  # the same views in every epoch
        if self.probe and "labels" in batch:
            kept |= {"features": self._features(batch), "labels": batch["labels"]}
        self._collector.add(batch, **kept)

    def _features(self, batch: dict[str, Tensor]) -> Tensor:
        return self.views.whole(self._whole(batch)).encoded_by(self.encoder)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Embed one batch; everything is judged over the whole split at the epoch's end."""
        self._evaluate(batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """As in validation."""
        self._evaluate(batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return pooled features of a batch."""
        features = self._features(batch)
        return {
            "row": batch["row"],
            "valid": batch["valid"],
            "prediction": features,
            "finite": finite_rows(features),
        }

    def on_validation_epoch_end(self) -> None:
        """Log loss, retrieval of one view by the other, spread and probe of the split."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        self._finish("test")

    def _finish(self, split: str) -> None:
        collected = self._collector.collect(self)
        require_finite_outputs(self, split, collected)
        a, b = collected["a"], collected["b"]
        loss = split_loss(self, collected)
        require_finite_values(self, split, {"loss": loss})
        self.log(f"{split}/loss", loss, sync_dist=True)
        # 1 where embeddings fill all directions alike, 0 where they collapsed to a point, which no loss of BYOL shows.
        spread = unit_rows(a).std(dim=0, correction=0).square().sum().sqrt()
        self.log_dict({f"{split}/spread": spread} | retrieval_scores(a, b, f"{split}/view"))
        if "labels" in collected:
            scores = cross_fitted_r2(collected["features"], collected["labels"])
            if torch.isfinite(scores).any():
                self.log(f"{split}/probe_r2", scores.nanmean().float())

    def configure_optimizers(self) -> Any:
        """AdamW over the encoder, the projection and the objective's own parameters."""
        decay = self.settings.weight_decay
        groups = layer_decayed_groups(self.encoder, layer_decay=self.settings.layer_decay, weight_decay=decay)
        groups += plain_groups([self.projection, self.objective], weight_decay=decay, prefix="objective_")
        return optimisers_for(self, groups, self.settings)
