"""Contrastive pre-training on one modality: two views of a recording are drawn together.

SimCLR, BYOL, Barlow Twins and CLOCS are this stage with their objective and views; the first also for cine frames,
where it initialises the image encoder of the alignment (Turgut et al., arXiv 2308.05764).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from torch import Tensor, nn

from data_modules.sampling import PURPOSE
from ecgcmr.augmentations.sampling_rates import check_rates
from ecgcmr.encoders import View, require_encoder
from ecgcmr.errors import UserError
from ecgcmr.objectives import NTXentLoss
from ecgcmr.objectives.protocol import FURTHER_INPUTS, THIRD
from ecgcmr.objectives.rows import unit_rows
from ecgcmr.option_checks import check_least
from ecgcmr.row_random import RowGenerator
from ecgcmr.stages.contrast import Contrast
from ecgcmr.stages.optimisation import layer_decayed_groups, optimisers_for, plain_groups
from ecgcmr.stages.stage_module import predicted
from ecgcmr.stages.towers import Tower
from ecgcmr.stages.transfer import check_measured, check_missing_leads, check_pixels, start_from
from ecgcmr.stages.views import TwoViews, check_views
from ecgcmr.stages.whole_split import retrieval_scores

Modality = Literal["ecg", "cmr"]
_OFFERED = [name for name in FURTHER_INPUTS if not name.startswith("segments") and name != THIRD]


class UnimodalContrast(Contrast):
    """Pre-train one encoder by comparing two views of each recording.

    The views are made here and not by the DataModule, whose batches stay as they are stored.

    Args:
        encoder: ECG or CMR encoder; its weights are what later stages use.
        views: How two views are made; ``AugmentedViews`` or, for CLOCS, ``PatientViews``.
        modality: "ecg" or "cmr".
        objective: Loss of two batches of projections over the global batch; default NT-Xent (SimCLR).
        encoder_weights: Folder of an exported encoder to start from.
        seed: Seed of the views.
        options: Those of ``Contrast``.
    """

    exports = {"encoder": "encoder"}
    task = "pre-training"
    encoder: Any  # meets the encoder contract, checked at construction

    def __init__(
        self,
        encoder: nn.Module,
        views: TwoViews,
        modality: Modality = "ecg",
        objective: nn.Module | None = None,
        encoder_weights: str | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_least(0, **{"model.seed": seed})
        if modality not in get_args(Modality):
            raise UserError(f"unknown modality {modality!r}: choose one of {', '.join(get_args(Modality))}")
        self.encoder = require_encoder(encoder)
        self.views = views
        self.modality = modality
        self.projection = self._projection(self.encoder)
        self._contrast(objective or NTXentLoss(), _OFFERED)
        self.encoder_weights = encoder_weights
        self.seed = seed

    @property
    def towers(self) -> list[Tower]:
        """Encoder and projection as one callable, sharing their weights with this stage."""
        return [Tower(self.encoder, self.projection)]

    def setup(self, stage: str) -> None:
        """Compare the encoder with the data, and take over exported weights at the start of a fit."""
        given = self.data.input_spec
        if self.modality not in given:
            raise UserError(f"model.modality is {self.modality}, which {type(self.data).__name__} does not give")
        check_pixels(self, self.encoder, "model.encoder")
        check_views(self.views, self.encoder, given[self.modality], self.modality)
        check_measured(self, self.encoder, "model.encoder")
        if self.modality == "ecg":
            check_rates(self.views.augmentation, given["ecg"]["sampling_rate"])
            check_missing_leads(self, self.encoder, "model.encoder")
        adapt = self.adapt_encoder_weights
        start_from(self, self.encoder, self.encoder_weights, "model.encoder_weights", adapt_input=adapt)
        super().setup(stage)

    def forward(self, x: Tensor) -> Tensor:
        """Return pooled features (B, D) of recordings as the encoder takes them."""
        return self.encoder(x)

    def _features(self, batch: dict[str, Tensor]) -> Tensor:
        return self.views.whole(View.from_batch(batch, self.modality)).features(self.encoder)

    def _embed(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Return projections of two views, new ones in each epoch of training, and what the objective needs further."""
        whole = View.from_batch(batch, self.modality)
        key = (self.seed, PURPOSE.views, *((1, self.current_epoch) if training else (0,)))
        first, second = (RowGenerator(batch["row"], *key, view, device=whole.x.device) for view in (0, 1))
        views = self.views(whole, first, second)
        [tower] = self.towers
        embedded = {name: tower(view) for name, view in zip("ab", views, strict=True)} | self._further.of(batch)
        if self.target is not None:
            embedded["target_a"], embedded["target_b"] = (self.target(0, view) for view in views)
        return embedded

    def _scores(self, collected: Mapping[str, Tensor], split: str) -> dict[str, Tensor]:
        """Retrieval of one view by the other, and spread."""
        a, b = collected["a"], collected["b"]
        # 1 where embeddings fill all directions alike, 0 where they collapsed to a point, which no loss of BYOL shows.
        spread = unit_rows(a).std(dim=0, correction=0).square().sum().sqrt()
        return {f"{split}/spread": spread} | retrieval_scores(a, b, f"{split}/view")

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return pooled features of a batch."""
        return predicted(batch, self._features(batch))

    def configure_optimizers(self) -> Any:
        """AdamW over the encoder, the projection and the objective's own parameters."""
        decay = self.settings.weight_decay
        groups = layer_decayed_groups(self.encoder, layer_decay=self.settings.layer_decay, weight_decay=decay)
        groups += plain_groups([self.projection, self.objective], weight_decay=decay, prefix="objective_")
        return optimisers_for(self, groups, self.settings)
