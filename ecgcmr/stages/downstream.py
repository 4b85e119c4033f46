"""Downstream prediction from the ECG alone, from CMR alone, or from either with age, sex and body size.

All downstream stages are one encoder with one linear head; they differ in loss, scores and in how an output is read.
The protocol says what is trained: everything (``finetune``, also used from random weights) or a part of it
(``trained``), the head alone (``linear_probe``), or the head and an attention pooling over the frozen encoder's tokens
(``attention_probe``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn

from ecgcmr.encoders import View, require_encoder
from ecgcmr.encoders.readout import AttentionReadout, CovariateInputs, encoder_modality, read_out
from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_choice
from ecgcmr.shards.index import MODALITIES
from ecgcmr.stages.block_scores import left_out_name, rows_without
from ecgcmr.stages.covariates import covariate_inputs, covariates_of_a_checkpoint
from ecgcmr.stages.finite_outputs import require_finite_outputs, require_finite_values
from ecgcmr.stages.head_start import HEAD_STARTS, check_head_start, start_head
from ecgcmr.stages.optimisation import OptimiserSettings, layer_decayed_groups, optimisers_for, plain_groups
from ecgcmr.stages.partly_trained import PartlyTrained
from ecgcmr.stages.protocol import StageData
from ecgcmr.stages.stage_module import predicted
from ecgcmr.stages.trained_part import (
    TrainedPart,
)
from ecgcmr.stages.transfer import check_input, check_missing_leads, start_from
from ecgcmr.stages.whole_split import EpochCollector
from ecgcmr.stages.window_pooling import check_window_pooling, window_pooling_for

PROTOCOLS = ("finetune", "linear_probe", "attention_probe")


class Downstream(PartlyTrained):
    """What the downstream stages share: encoder, head, protocol and the flow of an epoch.

    Subclasses give ``task``, ``monitor``, ``mode``, ``score_kind``, ``_loss`` and ``_to_prediction``. Head and label
    statistics are made in ``setup``, when the DataModule has said which labels there are. A loss is this rank's part:
    its mean over ranks is the loss over the known labels of the global batch.

    Args:
        encoder: ECG or CMR encoder.
        encoder_weights: Run folder of a finished stage to start from; ``null`` trains from scratch.
        protocol: ``finetune`` trains everything, ``linear_probe`` the head alone, ``attention_probe`` the head and an
            attention pooling over the frozen encoder's tokens.
        optimiser: Learning rate, decay and schedule.
        adapt_encoder_weights: Take ``encoder_weights`` that were made for another length or for more leads too.
        attention_heads: Heads of the ``attention_probe``; divides the encoder's token width.
        trained: What ``finetune`` trains of the encoder, beside the head: ``all``; ``last:K``, the last K blocks and
            what stands above them; ``low_rank:R``, updates of rank R of its weight matrices; ``norms``, norms and
            biases.
        window_pooling: What makes one feature of those of several windows: their ``mean``, or ``attention`` with a
            learned query, which begins as the mean and needs ``data.train_windows`` of 2 or more.
        head_start: Where the head starts: ``probe`` at the closed-form probe on the frozen features of the training
            rows, ``random`` near 0; ``auto`` takes the probe where ``encoder_weights`` are given and the loss has one.

    Attributes:
        score_kind: Metric of a split.
        probe_kind: Kind of task whose probe minimises the loss over a linear head; None where there is none.
        target_scores: Of the split that was judged last: column -> its scores, and ``n`` its known labels.
        left_out_blocks: See ``ScoredInBlocks``.
        starts_at_probe: As well.
    """

    exports = {"encoder": "encoder"}
    takes_windows = True
    left_out_blocks = 0
    starts_at_probe = False
    score_kind: Callable[[], nn.Module]
    probe_kind: str | None = None
    scores: Any  # split -> metric
    encoder: Any  # meets the encoder contract, checked at construction
    label_mean: Tensor  # (L,) of the training rows
    label_std: Tensor  # (L,), 0 for a target that no training row has

    def __init__(
        self,
        encoder: nn.Module,
        encoder_weights: str | None = None,
        protocol: str = "finetune",
        optimiser: OptimiserSettings | None = None,
        adapt_encoder_weights: bool = False,
        attention_heads: int = 4,
        trained: str = "all",
        window_pooling: str = "mean",
        head_start: str = "auto",
    ) -> None:
        super().__init__()
        if protocol not in PROTOCOLS:
            raise UserError(f"model.protocol is '{protocol}'; choose one of {', '.join(PROTOCOLS)}")
        check_choice(HEAD_STARTS, **{"model.head_start": head_start})
        self.head_start = head_start
        self.encoder = require_encoder(encoder)
        self.encoder_weights = encoder_weights
        self.adapt_encoder_weights = adapt_encoder_weights
        self.protocol = protocol
        self.modality = encoder_modality(self.encoder)
        self.settings = optimiser or OptimiserSettings(base_lr=1e-3, weight_decay=0.1, warmup_epochs=5)
        attends = protocol == "attention_probe"
        self.readout = AttentionReadout(self.encoder.feature_dim, attention_heads) if attends else None
        self.window_pooling = window_pooling_for(window_pooling, self.encoder.feature_dim)
        self.covariates: CovariateInputs | None = None
        self.head: nn.Linear | None = None
        self.label_names: list[str] = []
        self.scores = nn.ModuleDict({split: self.score_kind() for split in ("val", "test")})
        self._losses = {split: EpochCollector() for split in ("val", "test")}
        self._noted: set[str] = set()
        self.target_scores: dict[int, dict[str, float]] = {}
        part = TrainedPart.from_text(trained)
        if self._is_frozen and part.kind != "all":
            raise UserError(f"model.trained is {trained}, but model.protocol {protocol} trains none of the encoder")
        self._train_part(part)
        if self._is_frozen:
            self.encoder.requires_grad_(False)

    @property
    def partly_trained(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    @property
    def _is_frozen(self) -> bool:
        """Whether the encoder is probed."""
        return self.protocol != "finetune"

    def setup(self, stage: str) -> None:
        """Make the head for the DataModule's labels and take over exported weights."""
        super().setup(stage)
        data = self.data
        check_head_start(self)
        if self.modality not in data.input_spec:
            if self.modality not in MODALITIES:
                raise UserError(
                    f"model.encoder takes {self.modality}; a downstream stage takes an encoder of ECGs or images"
                )
            raise UserError(f"model.encoder takes {self.modality.upper()}: set data.input to {self.modality}")
        check_input(self, self.encoder, self.modality, "model.encoder")
        check_missing_leads(self, self.encoder, "model.encoder")
        if self.head is None:
            self.label_names = list(data.label_names)
            self._check_targets(data)
            if self.takes_statistics_from_checkpoint:
                count = len(self.label_names)
                mean, std = torch.full((count,), torch.nan), torch.ones(count)
                self.covariates = covariates_of_a_checkpoint(data)
            else:
                mean, std = data.label_statistics(self.label_names)
                self.covariates = covariate_inputs(data)
            # Weights that are NaN are refused wherever they are judged, written or read.
            self.register_buffer("label_mean", mean.float().nan_to_num(0.0))
            self.register_buffer("label_std", torch.where(mean.isnan(), 0.0, std.float()))
            width = self.encoder.feature_dim + (0 if self.covariates is None else self.covariates.width)
            self.head = nn.Linear(width, len(self.label_names) * self._outputs)
            # From the run's seed, not from the generator's state here, which depends on the number of ranks.
            generator = torch.Generator().manual_seed(torch.initial_seed())
            nn.init.trunc_normal_(self.head.weight, std=0.01, generator=generator)
            nn.init.zeros_(self.head.bias)
        start_from(
            self, self.encoder, self.encoder_weights, "model.encoder_weights", adapt_input=self.adapt_encoder_weights
        )
        if self.trainer.state.fn == "fit":
            check_window_pooling(self.window_pooling, data)
            self._begin_part()

    @property
    def takes_statistics_from_checkpoint(self) -> bool:
        """Whether the scale of labels and covariates comes with a checkpoint that is evaluated.

        It is that of the rows that were trained on, whatever cohort is evaluated, also one without training rows.
        """
        return self.trainer.state.fn != "fit" and self.loads_checkpoint

    @property
    def trained_mean(self) -> Tensor:
        """Mean of each target (L,) over the training rows, NaN for one that none of them has."""
        return torch.where(self.label_std > 0, self.label_mean, torch.nan)

    @property
    def _outputs(self) -> int:
        """Outputs of the head per label."""
        return 1

    def _check_targets(self, data: StageData) -> None:
        """Check that the DataModule's targets are of the task.

        Raises:
            UserError: They are of another task.
        """
        if data.diseases:
            raise UserError(
                f"data.diseases is the target of ecgcmr.stages.TimeToEvent; {type(self).__name__} takes data.labels"
            )

    def on_fit_start(self) -> None:
        """Start the head at the probe, where that is asked for and the fit begins here."""
        start_head(self)

    def forward(self, x: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the head's raw outputs (B, L) for recordings as the encoder takes them, all leads recorded.

        Args:
            x: ECGs (B, leads, T), windows of ECGs (B, W, leads, T), or frames (B, F, H, W).
            covariates: (B, C) in their units, NaN = missing, where the stage was trained with some.
        """
        return self._head(read_out(self.encoder, self.readout, View(x), self.window_pooling), covariates)

    def _with_covariates(self, features: Tensor, covariates: Tensor | None) -> Tensor:
        """Return what the head is given, (B, D), of features and covariates in their units."""
        if self.covariates is None:
            return features
        if covariates is None:
            raise ValueError("this stage was trained with covariates: give them")
        return torch.cat([features, self.covariates(covariates)], dim=1)

    def _head(self, features: Tensor, covariates: Tensor | None) -> Tensor:
        if self.head is None:
            raise RuntimeError("the head is made in setup(), when the labels are known: run through a Trainer")
        features = self._with_covariates(features, covariates)
        # Never in bfloat16: predictions of eight bits would tie.
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.to(self.head.weight.dtype))

    def _features(self, batch: dict[str, Tensor]) -> Tensor:
        return read_out(self.encoder, self.readout, View.from_batch(batch, self.modality), self.window_pooling)

    def _output(self, batch: dict[str, Tensor]) -> Tensor:
        return self._head(self._features(batch), batch.get("covariates"))

    def probe_rows(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what a probe is fitted on of one batch: ``features`` (B, D) as the head sees them, and ``targets``."""
        features = self._with_covariates(self._features(batch), batch.get("covariates"))
        return {"features": features, "targets": self._targets(batch)}

    def as_output(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Turn a probe's line, weight (L, D) and bias (L,), into one whose values are the head's outputs."""
        return weight, bias

    def _targets(self, batch: dict[str, Tensor]) -> Tensor:
        """Return what loss and scores compare with, (B, L, ...), NaN = missing."""
        return batch["labels"]

    def _loss(self, output: Tensor, targets: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not define _loss")

    def _is_defined(self, targets: Tensor) -> bool:
        """Tell whether a loss over these targets says anything."""
        return bool(torch.isfinite(targets).any())

    def _to_prediction(self, output: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not define _to_prediction")

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss over the known labels of one global batch."""
        output = self._output(batch)
        with self.over_ranks():
            loss = self._loss(output, self._targets(batch))
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def _evaluate(self, batch: dict[str, Tensor], split: str) -> None:
        output, targets = self._output(batch), self._targets(batch)
        self._losses[split].add(batch, output=output, targets=targets)
        valid = batch["valid"]
        self.scores[split].update(self._to_prediction(output)[valid], targets[valid])

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return predictions: phenotypes in their units, classes as probabilities, risks of events.

        ``finite`` says of which rows the outputs were finite; a target that was not trained is NaN all the same.
        """
        output = self._output(batch)
        prediction = self._to_prediction(output)
        return predicted(batch, prediction, output, torch.where(prediction.isinf(), prediction, 0.0))

    def _finish(self, split: str) -> None:
        collected = self._losses[split].collect(self)
        require_finite_outputs(self, split, collected)
        output, targets = collected["output"], collected["targets"]
        # Each rank takes its share: a loss adds up over ranks.
        own = slice(self.trainer.global_rank, None, self.trainer.world_size)
        loss = self._loss(output[own].to(self.device), targets[own].to(self.device)).detach()
        defined = self._is_defined(targets)
        require_finite_values(self, split, {"loss": loss} if defined else {})
        self.log(f"{split}/loss", loss if defined else loss * float("nan"), sync_dist=True)
        metric = self.scores[split]
        self.log_dict({f"{split}/{name}": value for name, value in metric.compute().items()})
        self.target_scores = dict(metric.by_target)
        self._note(split, metric.unscored)
        metric.reset()
        if split == "val" and self.left_out_blocks:
            self._finish_without_blocks(output, targets)

    def _finish_without_blocks(self, output: Tensor, targets: Tensor) -> None:
        """Log what chooses ``best.ckpt`` without each block of the validation rows."""
        score = self.monitor.removeprefix("val/")
        for block, rows in enumerate(rows_without(len(output), self.left_out_blocks)):
            kept, truth = output[rows].to(self.device), targets[rows].to(self.device)
            if score == "loss":
                own = slice(self.trainer.global_rank, None, self.trainer.world_size)
                value = self._loss(kept[own], truth[own]).detach()
            else:
                metric: Any = self.score_kind()
                metric.sync_on_compute = False  # every rank holds all rows
                metric.update(self._to_prediction(kept), truth)
                value = metric.compute()[score]
            self.log(left_out_name(self.monitor, block), value, sync_dist=True)

    def _note(self, split: str, unscored: dict[int, str]) -> None:
        """Say once a run and split which targets count in no score."""
        if not unscored or split in self._noted or self.trainer.sanity_checking:
            return
        self._noted.add(split)
        names = [f"{self.label_names[column]} ({reason})" for column, reason in sorted(unscored.items())]
        further = f" and {len(names) - 8} more" if len(names) > 8 else ""
        rank_zero_info(f"note: {split} scores leave out {', '.join(names[:8])}{further}")

    def configure_optimizers(self) -> Any:
        """AdamW with layer-wise decay of the learning rate; under a probe over readout and head alone."""
        groups = layer_decayed_groups(
            self.encoder, layer_decay=self.settings.layer_decay, weight_decay=self.settings.weight_decay
        )
        heads = [module for module in (self.readout, self.window_pooling, self.head) if module is not None]
        groups += plain_groups(heads, weight_decay=self.settings.weight_decay)
        return optimisers_for(self, groups, self.settings)
