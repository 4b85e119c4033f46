"""Masked-autoencoder pre-training of an ECG encoder: see a fifth of the patches, reconstruct the signal.

After Turgut et al. (arXiv 2308.05764) and He et al. (arXiv 2111.06377). The network and the loss are pure torch
(``ecgcmr.encoders.masked_autoencoder``, ``ecgcmr.objectives.reconstruction``); this module wires them to Lightning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from data_modules.sampling import PURPOSE
from ecgcmr.augmentations.sampling_rates import check_rates
from ecgcmr.encoders import (
    MAEDecoder,
    MAEOutput,
    MaskableEncoder,
    MaskedAutoencoder,
    MaskingName,
    PatchMasking,
    View,
    require_encoder,
)
from ecgcmr.errors import UserError
from ecgcmr.objectives.reconstruction import MaskedReconstruction, unpatchify
from ecgcmr.objectives.view_agreement import CosineAgreement
from ecgcmr.option_checks import check_least
from ecgcmr.row_random import RowGenerator
from ecgcmr.stages.contrast_size import check_contrast_size
from ecgcmr.stages.figures import lead_names, reconstruction_figure
from ecgcmr.stages.finite_outputs import require_finite_outputs, require_finite_values
from ecgcmr.stages.metrics import WeightedMeans
from ecgcmr.stages.optimisation import OptimiserSettings, layer_decayed_groups, optimisers_for, plain_groups
from ecgcmr.stages.pictures import log_picture, takes_pictures
from ecgcmr.stages.randomness import noise_per_row, training_noise
from ecgcmr.stages.stage_module import StageModule, predicted
from ecgcmr.stages.transfer import check_input, check_missing_leads, start_from
from ecgcmr.stages.whole_split import EpochCollector, ProbeKind, probe_penalty, probe_scores

_PARTS = ("loss", "mse", "ncc")


@dataclass
class SecondViewSettings:
    """A second view of each recording, to agree with the first as in SimSiam (Chen and He 2021).

    The loss becomes reconstruction + weight x (1 - cosine); see ``ecgcmr.objectives.CosineAgreement``.

    Attributes:
        weight: Weight of the branch; 0 leaves it out.
        size: Width of projector and projections.
        hidden: Bottleneck of the predictor.
        augmentation: ``(ecg, generator) -> ecg`` for the second view, on top of the DataModule's; None leaves the views
            to differ by their masks alone.
    """

    weight: float = 0.0
    size: int = 512
    hidden: int = 128
    augmentation: Callable | None = None

    def __post_init__(self) -> None:
        if not self.weight >= 0.0:
            raise UserError(f"second_view.weight must not be negative, got {self.weight}")


class ECGMaskedAutoencoder(StageModule):
    """Pre-train an ECG encoder by reconstructing removed patches.

    Args:
        encoder: ECG encoder that can embed visible patches only (``ecgcmr.encoders.ECGVisionTransformer``).
        decoder_width: Width of the decoder's tokens.
        decoder_depth: Number of decoder blocks.
        decoder_heads: Attention heads of the decoder.
        objective: What a reconstruction is judged by.
        mask_ratio: Fraction of patches removed before the encoder, in (0, 1).
        optimiser: Learning rate, decay and schedule.
        encoder_weights: Folder of an exported encoder to start from.
        probe: Probe the features on the validation labels the DataModule carries: "ridge" (or true), "linear" (plain
            least squares) or false.
        seed: Seed of the masks.
        masking: What is removed: "random" patches, as published; whole leads ("lead"); a span of "time"; or a
            ``PatchMasking`` by ``class_path``.
        second_view: Weight and widths of the SimSiam-like branch on a second view; none by default.
        adapt_encoder_weights: Take ``encoder_weights`` that were made for another length or for more leads too.
    """

    monitor = "val/loss"
    mode = "min"
    exports = {"encoder": "encoder"}
    encoder_contracts = {"encoder": MaskableEncoder}
    task = "pre-training"
    means: Any  # split -> WeightedMeans
    encoder: Any  # meets MaskableEncoder, checked at construction

    def __init__(
        self,
        encoder: nn.Module,
        decoder_width: int = 256,
        decoder_depth: int = 2,
        decoder_heads: int = 8,
        objective: MaskedReconstruction | None = None,
        mask_ratio: float = 0.8,
        optimiser: OptimiserSettings | None = None,
        encoder_weights: str | None = None,
        probe: bool | ProbeKind = True,
        seed: int = 0,
        masking: MaskingName | PatchMasking = "random",
        second_view: SecondViewSettings | None = None,
        adapt_encoder_weights: bool = False,
    ) -> None:
        super().__init__()
        check_least(0, **{"model.seed": seed})
        self.encoder = require_encoder(encoder, self.encoder_contracts["encoder"])
        self.decoder = MAEDecoder.for_encoder(
            self.encoder, width=decoder_width, depth=decoder_depth, heads=decoder_heads
        )
        # Shares its parts with the two attributes above; kept out of the module tree so that no weight is stored twice.
        self._autoencoder = [MaskedAutoencoder(self.encoder, self.decoder, mask_ratio, masking)]
        self.objective = objective or MaskedReconstruction()
        self.settings = optimiser or OptimiserSettings(base_lr=1e-5, weight_decay=0.15, warmup_epochs=40)
        self.encoder_weights = encoder_weights
        self.adapt_encoder_weights = adapt_encoder_weights
        self.probe = probe_penalty(probe)
        self.seed = seed
        self.second_view = second_view or SecondViewSettings()
        self.agreement: CosineAgreement | None = None
        if self.second_view.weight > 0.0:
            self.agreement = CosineAgreement(self.encoder.feature_dim, self.second_view.size, self.second_view.hidden)
        self.means = nn.ModuleDict({split: WeightedMeans(_PARTS) for split in ("val", "test")})
        self._collector = EpochCollector()

    @property
    def autoencoder(self) -> MaskedAutoencoder:
        """Encoder and decoder as one callable."""
        return self._autoencoder[0]

    def setup(self, stage: str) -> None:
        """Compare the encoder with the data, and take over exported weights at the start of a fit."""
        super().setup(stage)
        check_input(self, self.encoder, "ecg", "model.encoder")
        check_missing_leads(self, self.encoder, "model.encoder")
        check_rates(self.second_view.augmentation, self.data.input_spec["ecg"]["sampling_rate"])
        if self.agreement is not None:
            check_contrast_size(self, stage, evaluation=False)
        adapt = self.adapt_encoder_weights
        start_from(self, self.encoder, self.encoder_weights, "model.encoder_weights", adapt_input=adapt)

    def forward(self, ecg: Tensor) -> Tensor:
        """Return pooled features (B, D) of unmasked ECGs (B, leads, T)."""
        return self.encoder(ecg)

    def _judged(self, view: View, noise: Tensor) -> tuple[MAEOutput, dict[str, Tensor]]:
        """Reconstruct ECGs and compare: the output, and the objective's terms."""
        output = self.autoencoder(view.x, noise, view.lead_mask)
        return output, self.objective(output.pred, view.x, output.mask, self.autoencoder.patch_size, view.lead_mask)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Reconstruct one augmented batch."""
        noise = training_noise(batch["row"], self.autoencoder.draws, self.seed, self.current_epoch)
        output, parts = self._judged(View.from_batch(batch, "ecg"), noise)
        values = {f"train/{name}": parts[name].detach() for name in _PARTS}
        loss = parts["loss"]
        if self.agreement is not None:
            disagreement = self._disagreement(batch, output)
            values["train/disagreement"] = disagreement.detach()
            loss = loss + self.second_view.weight * disagreement
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def _disagreement(self, batch: dict[str, Tensor], first: MAEOutput) -> Tensor:
        """Loss of the branch: a second view, masked (and augmented) anew, is encoded but not reconstructed."""
        (ecg, lead_mask), rows = View.from_batch(batch, "ecg"), batch["row"]
        key = (self.seed, self.current_epoch)
        noise = training_noise(rows, self.autoencoder.draws, *key, purpose=PURPOSE.second_mask)
        if self.second_view.augmentation is not None:
            generator = RowGenerator(rows, self.seed, PURPOSE.second_view, self.current_epoch, device=ecg.device)
            ecg = self.second_view.augmentation(ecg, generator)
        latent, masking = self.autoencoder.encode(ecg, noise, lead_mask)
        views = (
            self.autoencoder.pooled(*view, lead_mask) for view in ((first.latent, first.masking), (latent, masking))
        )
        with self.over_ranks():
            return self.agreement(*views)  # type: ignore[misc]

    def _evaluate(self, batch: dict[str, Tensor], split: str) -> None:
        valid = batch["valid"]
        view, rows = View.from_batch(batch, "ecg").rows(valid), batch["row"][valid]
        if len(view.x) == 0:  # a rank may hold nothing but padding in its last batch
            return
        # Masks belong to the row: the same for every batch size and number of ranks.
        noise = noise_per_row(rows, self.autoencoder.draws, self.seed).to(view.x.device)
        _, parts = self._judged(view, noise)
        self.means[split].update(parts, weight=len(view.x))
        if self.probe is not None and "labels" in batch:
            self._collector.add(batch, features=self._features(batch), labels=batch["labels"])

    def _features(self, batch: dict[str, Tensor]) -> Tensor:
        return View.from_batch(batch, "ecg").features(self.encoder)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Reconstruct without augmentation, with masks fixed per recording."""
        self._evaluate(batch, "val")
        if batch_idx == 0 and takes_pictures(self.trainer) and not self.trainer.sanity_checking:
            self._log_reconstruction(batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return pooled features of a batch."""
        return predicted(batch, self._features(batch))

    def _finish(self, split: str) -> None:
        means = self.means[split].compute()
        self.means[split].reset()
        collected = self._collector.collect(self)
        require_finite_outputs(self, split, collected)
        require_finite_values(self, split, means)
        self.log_dict({f"{split}/{name}": value for name, value in means.items()})
        if self.probe is not None:
            self.log_dict(probe_scores(collected, split, self.probe))

    def _log_reconstruction(self, batch: dict[str, Tensor]) -> None:
        ecg, lead_mask = View.from_batch(batch, "ecg").rows(slice(1))
        noise = noise_per_row(batch["row"][:1], self.autoencoder.draws, self.seed).to(ecg.device)
        output = self.autoencoder(ecg, noise, lead_mask)
        patch_size, specification = self.autoencoder.patch_size, self.encoder.input_spec
        reconstruction = self.objective.reconstruct(output.pred, ecg, patch_size)
        removed = unpatchify(output.mask[:, :, None].expand_as(output.pred), patch_size, ecg.shape[1])
        figure = reconstruction_figure(
            ecg[0].float().cpu().numpy(),
            reconstruction[0].float().cpu().numpy(),
            removed[0].cpu().numpy().astype(bool),
            specification.sampling_rate,
            lead_names(ecg.shape[1], specification.lead_rows),
        )
        log_picture(self.trainer, "val/reconstruction", figure)

    def configure_optimizers(self) -> Any:
        """AdamW over encoder, decoder and branch, warm-up and cosine by step."""
        groups = layer_decayed_groups(
            self.encoder, layer_decay=self.settings.layer_decay, weight_decay=self.settings.weight_decay
        )
        heads = [self.decoder] if self.agreement is None else [self.decoder, self.agreement]
        groups += plain_groups(heads, weight_decay=self.settings.weight_decay, prefix="decoder_")
        return optimisers_for(self, groups, self.settings)
