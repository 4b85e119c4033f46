"""What every contrast of two embeddings shares, of two modalities or of two views of one.

Two batches of projections of the same subjects go into an objective that sees all ranks, with exact gradients. A split
is judged as a whole: its loss in chunks of one global batch, retrieval, and a probe of the features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecgcmr.encoders import Encoder
from ecgcmr.errors import UserError
from ecgcmr.objectives.projection import projection_head
from ecgcmr.objectives.protocol import HasTemperature, require_objective
from ecgcmr.stages.contrast_size import check_contrast_size
from ecgcmr.stages.finite_outputs import require_finite_outputs, require_finite_values
from ecgcmr.stages.optimisation import OptimiserSettings
from ecgcmr.stages.protocol import StageData
from ecgcmr.stages.stage_module import StageModule
from ecgcmr.stages.towers import Tower, follow, momentum_target
from ecgcmr.stages.whole_split import PENALTIES, EpochCollector, probe_scores, split_loss


class FurtherInputs:
    """Standardised phenotypes and patients' numbers of a batch, for objectives that ask for them.

    Args:
        needs: The objective's ``needs``; names of other inputs are left to the stage.
    """

    def __init__(self, needs: Collection[str]) -> None:
        self.needs = needs
        self._mean = self._deviation = torch.empty(0)
        self._subject = torch.empty(0, dtype=torch.int64)

    def load(self, data: StageData) -> None:
        """Read label statistics and subjects from the DataModule.

        Raises:
            UserError: Phenotypes are needed and ``data.labels`` names none.
        """
        if "phenotypes" in self.needs:
            if not data.label_names:
                raise UserError("data.labels is empty; the objective compares subjects by phenotypes: name some")
            self._mean, self._deviation = data.label_statistics(data.label_names)
        if "subjects" in self.needs:
            _, number = np.unique(data.index.subjects(), return_inverse=True)
            self._subject = torch.from_numpy(number.astype(np.int64))

    def of(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs of a batch, on its device."""
        result: dict[str, Tensor] = {}
        if "phenotypes" in self.needs:
            labels = batch["labels"]
            result["phenotypes"] = (labels - self._mean.to(labels)) / self._deviation.to(labels)
        if "subjects" in self.needs:
            row = batch["row"]
            self._subject = self._subject.to(row.device)  # once; looking up on the CPU would wait for the device
            result["subjects"] = self._subject[row]
        return result


class Contrast(StageModule):
    """A stage that contrasts projections ``a`` and ``b`` of the same subjects.

    Subclasses make encoders and projections, then call ``_contrast``; they give ``towers``, ``_embed``, ``_features``
    and ``_scores``.

    Args:
        projection_hidden: Hidden width of the projection heads.
        projection_size: Size of the embedding.
        projection_layers: Linear layers of a head.
        projection_norm: Batch norm over the global batch inside the heads, as BYOL and Barlow Twins have it.
        optimiser: Learning rate, decay and schedule.
        probe: Probe the features with ridge regression on the validation labels the DataModule carries.
        adapt_encoder_weights: Take weights of encoders that were made for another length, more leads or other images.
    """

    monitor = "val/loss"
    mode = "min"
    warmup_epochs = 10.0
    objective: Any  # meets ContrastiveObjective, checked at construction

    def __init__(
        self,
        projection_hidden: int = 512,
        projection_size: int = 128,
        projection_layers: int = 2,
        projection_norm: bool = False,
        optimiser: OptimiserSettings | None = None,
        probe: bool = True,
        adapt_encoder_weights: bool = False,
    ) -> None:
        super().__init__()
        self._head = (projection_hidden, projection_size, projection_layers, projection_norm)
        self.settings = optimiser or OptimiserSettings(
            lr=1e-4, weight_decay=1e-4, betas=(0.9, 0.999), warmup_epochs=self.warmup_epochs
        )
        self.probe = probe
        self.adapt_encoder_weights = adapt_encoder_weights

    def _projection(self, encoder: Encoder) -> nn.Module:
        return projection_head(encoder.feature_dim, *self._head)

    def _contrast(self, objective: nn.Module, offered: Collection[str]) -> None:
        """Take the objective and make what it needs.

        Args:
            objective: Loss of two batches of projections.
            offered: Further inputs that this stage has for it.
        """
        self.objective = require_objective(objective, offered)
        self.target = momentum_target(self.objective, self.towers)
        self._collector = EpochCollector()
        self._further = FurtherInputs(self.objective.needs)

    @property
    @abstractmethod
    def towers(self) -> list[Tower]:
        """Encoder and projection of each input; they share their weights with this stage."""

    @abstractmethod
    def _embed(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Return the projections ``a`` and ``b``, and what the objective needs further."""

    @abstractmethod
    def _features(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the features (B, D) that are probed."""

    @abstractmethod
    def _scores(self, collected: Mapping[str, Tensor], split: str) -> dict[str, Tensor]:
        """Return what is logged of the projections of a split, ``a`` and ``b`` (N, E) each and more, by name."""

    def setup(self, stage: str) -> None:
        """Check that there is something to contrast, and take from the data what the objective needs."""
        super().setup(stage)
        check_contrast_size(self, stage)
        if self.target is not None:  # a checkpoint that is resumed or judged is loaded after this
            self.target.copy_from(self.towers)
        self._further.load(self.data)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Contrast one batch, over all ranks."""
        embedded = self._embed(batch, training=True)
        further = {name: embedded[name] for name in self.objective.needs}
        with self.over_ranks():
            loss = self.objective(embedded["a"], embedded["b"], **further)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True)
        if isinstance(self.objective, HasTemperature) and isinstance(self.objective.temperature, Tensor):
            self.log("train/temperature", self.objective.temperature, on_step=False, on_epoch=True)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and let the target network follow, where the objective has one."""
        super().optimizer_step(*args, **kwargs)
        follow(self, self.target, self.towers)

    def _evaluate(self, batch: dict[str, Tensor], split: str) -> None:
        kept = self._embed(batch, training=False)
        if self.probe and "labels" in batch:
            kept["labels"] = batch["labels"]
            if "features" not in kept:
                kept["features"] = self._features(batch)
        self._collector.add(batch, **kept)

    def _finish(self, split: str) -> None:
        collected = self._collector.collect(self)
        require_finite_outputs(self, split, collected)
        loss = split_loss(self, collected)
        require_finite_values(self, split, {"loss": loss})
        self.log(f"{split}/loss", loss, sync_dist=True)
        self.log_dict(self._scores(collected, split))
        self.log_dict(probe_scores(collected, split, PENALTIES["ridge"], ["r2"]))
