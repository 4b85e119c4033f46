"""Downstream prediction from the ECG alone: phenotype regression and disease or finding classification.

Both stages are one encoder with one linear head; they differ in loss, scores and in how an output is read. The protocol
says what is trained: everything (``finetune``, also used from random weights) or the head alone (``linear_probe``).
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn

from ecgcmr.encoders import require_encoder
from ecgcmr.errors import UserError
from ecgcmr.stages.collection import EpochCollector
from ecgcmr.stages.metrics import ClassificationScores, RegressionScores
from ecgcmr.stages.missing_leads import check_missing_leads, features_of
from ecgcmr.stages.optimisation import OptimiserSettings, layer_decayed_groups, optimisers_for, plain_groups
from ecgcmr.stages.transfer import check_input, start_from

PROTOCOLS = ("finetune", "linear_probe")


class _Downstream(lightning.LightningModule):
    """What both downstream stages share: encoder, head, protocol and the flow of an epoch.

    Subclasses give ``_loss``, ``_to_prediction`` and a scores metric. The head and the label statistics are made in
    ``setup``, when the DataModule has said which labels there are.
    """

    exports = {"encoder": "encoder"}
    takes_lead_mask = True
    scores: Any  # split -> metric
    encoder: Any  # meets the encoder contract, checked at construction
    label_mean: Tensor
    label_std: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        encoder_weights: str | None,
        protocol: str,
        optimiser: OptimiserSettings | None,
        adapt_encoder_weights: bool,
        scores: Any,
    ) -> None:
        super().__init__()
        if protocol not in PROTOCOLS:
            raise UserError(f"model.protocol is '{protocol}'; choose one of {', '.join(PROTOCOLS)}")
        self.encoder = require_encoder(encoder)
        self.encoder_weights = encoder_weights
        self.adapt_encoder_weights = adapt_encoder_weights
        self.protocol = protocol
        self.settings = optimiser or OptimiserSettings(base_lr=1e-3, weight_decay=0.1, warmup_epochs=5)
        self.head: nn.Linear | None = None
        self.scores = nn.ModuleDict({split: scores() for split in ("val", "test")})
        self._losses = {split: EpochCollector() for split in ("val", "test")}
        if protocol == "linear_probe":
            self.encoder.requires_grad_(False)

    def setup(self, stage: str) -> None:
        """Make the head for the DataModule's labels and take over exported weights."""
        check_input(self, self.encoder, "ecg", "model.encoder")
        check_missing_leads(self, self.encoder, "model.encoder")
        if self.head is None:
            trainer: Any = self.trainer
            names = trainer.datamodule.label_names
            mean, std = trainer.datamodule.label_statistics(names)
            self.register_buffer("label_mean", mean.float())
            self.register_buffer("label_std", std.float())
            self.head = nn.Linear(self.encoder.feature_dim, len(names))
            # From the run's seed, not from the generator's state here, which depends on the number of ranks.
            generator = torch.Generator().manual_seed(torch.initial_seed())
            nn.init.trunc_normal_(self.head.weight, std=0.01, generator=generator)
            nn.init.zeros_(self.head.bias)
        start_from(
            self, self.encoder, self.encoder_weights, "model.encoder_weights", adapt_input=self.adapt_encoder_weights
        )

    def train(self, mode: bool = True) -> _Downstream:
        """Switch to training; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.protocol == "linear_probe":
            self.encoder.eval()
        return self

    def forward(self, ecg: Tensor) -> Tensor:
        """Return the head's raw outputs (B, L) for ECGs (B, leads, T), all leads recorded."""
        return self._head(self.encoder(ecg))

    def _head(self, features: Tensor) -> Tensor:
        if self.head is None:
            raise RuntimeError("the head is made in setup(), when the labels are known: run through a Trainer")
        return self.head(features)

    def _output(self, batch: dict[str, Tensor]) -> Tensor:
        return self._head(features_of(self.encoder, batch))

    def _loss(self, output: Tensor, labels: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not define _loss")

    def _to_prediction(self, output: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not define _to_prediction")

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss over the known labels of one batch."""
        loss = self._loss(self._output(batch), batch["labels"])
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def _evaluate(self, batch: dict[str, Tensor], split: str) -> None:
        output = self._output(batch)
        self._losses[split].add(batch, output=output, labels=batch["labels"])
        valid = batch["valid"]
        self.scores[split].update(self._to_prediction(output)[valid], batch["labels"][valid])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Predict one batch."""
        self._evaluate(batch, "val")

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Predict one batch."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return predictions: phenotypes in their units, classes as probabilities."""
        return {"row": batch["row"], "valid": batch["valid"], "prediction": self._to_prediction(self._output(batch))}

    def on_validation_epoch_end(self) -> None:
        """Log loss and scores over the whole split."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Log loss and scores over the whole split."""
        self._finish("test")

    def _finish(self, split: str) -> None:
        collected = self._losses[split].collect(self)
        loss = self._loss(collected["output"].to(self.device), collected["labels"].to(self.device))
        values = {f"{split}/loss": loss.detach()}
        values |= {f"{split}/{name}": value for name, value in self.scores[split].compute().items()}
        self.scores[split].reset()
        self.log_dict(values)

    def configure_optimizers(self) -> Any:
        """AdamW with layer-wise decay of the learning rate; under a linear probe over the head alone."""
        groups = layer_decayed_groups(
            self.encoder, layer_decay=self.settings.layer_decay, weight_decay=self.settings.weight_decay
        )
        groups += plain_groups([self.head], weight_decay=self.settings.weight_decay) if self.head is not None else []
        return optimisers_for(self, groups, self.settings)


class PhenotypeRegression(_Downstream):
    """Predict phenotypes, all at once, from an ECG.

    Targets are standardised with the training split's mean and standard deviation; a missing one counts in no loss.

    Args:
        encoder: ECG encoder.
        encoder_weights: Run folder of a finished stage to start from; ``null`` trains from scratch.
        protocol: ``finetune`` trains everything, ``linear_probe`` the head alone.
        optimiser: Learning rate, decay and schedule.
        adapt_encoder_weights: Take ``encoder_weights`` that were made for another length or for more leads too.
    """

    monitor = "val/loss"
    mode = "min"

    def __init__(
        self,
        encoder: nn.Module,
        encoder_weights: str | None = None,
        protocol: str = "finetune",
        optimiser: OptimiserSettings | None = None,
        adapt_encoder_weights: bool = False,
    ) -> None:
        super().__init__(encoder, encoder_weights, protocol, optimiser, adapt_encoder_weights, RegressionScores)

    def _loss(self, output: Tensor, labels: Tensor) -> Tensor:
        target = (labels - self.label_mean) / self.label_std
        known = torch.isfinite(target)
        error = torch.where(known, output - torch.nan_to_num(target), 0.0)
        return error.square().sum() / known.sum().clamp_min(1)

    def _to_prediction(self, output: Tensor) -> Tensor:
        return output.float() * self.label_std + self.label_mean


class DiagnosisClassification(_Downstream):
    """Predict diseases or findings (each yes or no, several may hold) from an ECG.

    Args:
        encoder: ECG encoder.
        encoder_weights: Run folder of a finished stage to start from; ``null`` trains from scratch.
        protocol: ``finetune`` trains everything, ``linear_probe`` the head alone.
        label_smoothing: Pulls targets 0/1 towards 1/2, in [0, 1).
        balance: Weigh positives so that both classes of a target count alike (from training prevalence).
        optimiser: Learning rate, decay and schedule.
        adapt_encoder_weights: Take ``encoder_weights`` that were made for another length or for more leads too.
    """

    monitor = "val/auroc"
    mode = "max"

    def __init__(
        self,
        encoder: nn.Module,
        encoder_weights: str | None = None,
        protocol: str = "finetune",
        label_smoothing: float = 0.0,
        balance: bool = False,
        optimiser: OptimiserSettings | None = None,
        adapt_encoder_weights: bool = False,
    ) -> None:
        super().__init__(encoder, encoder_weights, protocol, optimiser, adapt_encoder_weights, ClassificationScores)
        self.label_smoothing = label_smoothing
        self.balance = balance

    def _loss(self, output: Tensor, labels: Tensor) -> Tensor:
        known = torch.isfinite(labels)
        target = torch.nan_to_num(labels) * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        # The mean of a 0/1 label is its prevalence in the training split.
        prevalence = self.label_mean.clamp(1e-3, 1.0 - 1e-3)
        weight = (1.0 - prevalence) / prevalence if self.balance else None
        loss = nn.functional.binary_cross_entropy_with_logits(output, target, pos_weight=weight, reduction="none")
        return torch.where(known, loss, 0.0).sum() / known.sum().clamp_min(1)

    def _to_prediction(self, output: Tensor) -> Tensor:
        return output.float().sigmoid()
