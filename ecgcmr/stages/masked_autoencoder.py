"""Masked-autoencoder pre-training of an ECG encoder: see a fifth of the patches, reconstruct the signal.

After Turgut et al. (arXiv 2308.05764) and He et al. (arXiv 2111.06377). The network and the loss are pure torch
(``ecgcmr.encoders.masked_autoencoder``, ``ecgcmr.objectives.reconstruction``); this module wires them to Lightning.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn

from ecgcmr.encoders import MAEDecoder, MaskedAutoencoder, require_maskable
from ecgcmr.objectives.reconstruction import MaskedReconstruction, unpatchify
from ecgcmr.stages.collection import EpochCollector
from ecgcmr.stages.figures import reconstruction_figure
from ecgcmr.stages.metrics import WeightedMeans
from ecgcmr.stages.online_probe import cross_fitted_r2
from ecgcmr.stages.optimisation import OptimiserSettings, layer_decayed_groups, optimisers_for, plain_groups
from ecgcmr.stages.randomness import noise_per_row, training_noise
from ecgcmr.stages.transfer import check_input, start_from

_PARTS = ("loss", "mse", "ncc")


class ECGMaskedAutoencoder(lightning.LightningModule):
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
        probe: Probe the features with ridge regression on the validation labels the DataModule carries.
        seed: Seed of the masks.
    """

    monitor = "val/loss"
    mode = "min"
    exports = {"encoder": "encoder"}
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
        probe: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = require_maskable(encoder)
        self.decoder = MAEDecoder.for_encoder(
            self.encoder, width=decoder_width, depth=decoder_depth, heads=decoder_heads
        )
        # Shares its parts with the two attributes above; kept out of the module tree so that no weight is stored twice.
        self._autoencoder = [MaskedAutoencoder(self.encoder, self.decoder, mask_ratio=mask_ratio)]
        self.objective = objective or MaskedReconstruction()
        self.settings = optimiser or OptimiserSettings(base_lr=1e-5, weight_decay=0.15, warmup_epochs=40)
        self.encoder_weights = encoder_weights
        self.probe = probe
        self.seed = seed
        self.means = nn.ModuleDict({split: WeightedMeans(_PARTS) for split in ("val", "test")})
        self._collector = EpochCollector()

    @property
    def autoencoder(self) -> MaskedAutoencoder:
        """Encoder and decoder as one callable."""
        return self._autoencoder[0]

    def setup(self, stage: str) -> None:
        """Hold the encoder against the data, and take over exported weights at the start of a fit."""
        check_input(self, self.encoder, "ecg", "model.encoder")
        start_from(self, self.encoder, self.encoder_weights, "model.encoder_weights")

    def forward(self, ecg: Tensor) -> Tensor:
        """Return pooled features (B, D) of unmasked ECGs (B, leads, T)."""
        return self.encoder(ecg)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Reconstruct one augmented batch."""
        ecg = batch["ecg"]
        noise = training_noise(batch["row"], self.autoencoder.num_patches, self.seed, self.current_epoch)
        output = self.autoencoder(ecg, noise)
        parts = self.objective(output.pred, ecg, output.mask, self.autoencoder.patch_size)
        values = {f"train/{name}": parts[name].detach() for name in _PARTS}
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True)
        return parts["loss"]

    def _evaluate(self, batch: dict[str, Tensor], split: str) -> None:
        valid = batch["valid"]
        rows, ecg = batch["row"][valid], batch["ecg"][valid]
        if len(ecg) == 0:  # a rank may hold nothing but padding in its last batch
            return
        # Masks belong to the row: the same for every batch size and number of ranks.
        noise = noise_per_row(rows, self.autoencoder.num_patches, self.seed).to(ecg.device)
        output = self.autoencoder(ecg, noise)
        parts = self.objective(output.pred, ecg, output.mask, self.autoencoder.patch_size)
        self.means[split].update(parts, weight=len(ecg))
        if self.probe and "labels" in batch:
            self._collector.add(batch, features=self.encoder(batch["ecg"]), labels=batch["labels"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Reconstruct without augmentation, with masks fixed per recording."""
        self._evaluate(batch, "val")
        if batch_idx == 0 and self.trainer.is_global_zero and not self.trainer.sanity_checking:
            self._log_reconstruction(batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """As in validation."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return pooled features of a batch."""
        return {"row": batch["row"], "valid": batch["valid"], "prediction": self.encoder(batch["ecg"])}

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's means and the probe."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Log the epoch's means and the probe."""
        self._finish("test")

    def _finish(self, split: str) -> None:
        self.log_dict({f"{split}/{name}": value for name, value in self.means[split].compute().items()})
        self.means[split].reset()
        collected = self._collector.collect(self)
        if collected:
            scores = cross_fitted_r2(collected["features"], collected["labels"])
            if torch.isfinite(scores).any():
                self.log(f"{split}/probe_r2", scores.nanmean().float())

    def _log_reconstruction(self, batch: dict[str, Tensor]) -> None:
        experiment = getattr(self.logger, "experiment", None)
        if experiment is None or not hasattr(experiment, "add_figure"):
            return
        ecg = batch["ecg"][:1]
        noise = noise_per_row(batch["row"][:1], self.autoencoder.num_patches, self.seed).to(ecg.device)
        output = self.autoencoder(ecg, noise)
        patch_size = self.autoencoder.patch_size
        reconstruction = self.objective.reconstruct(output.pred, ecg, patch_size)
        removed = unpatchify(output.mask[:, :, None].expand_as(output.pred), patch_size, ecg.shape[1])
        figure = reconstruction_figure(
            ecg[0].float().cpu().numpy(),
            reconstruction[0].float().cpu().numpy(),
            removed[0].cpu().numpy().astype(bool),
            self.encoder.input_spec.sampling_rate,
        )
        experiment.add_figure("val/reconstruction", figure, global_step=self.global_step)

    def configure_optimizers(self) -> Any:
        """AdamW over encoder and decoder, warm-up and cosine by step."""
        groups = layer_decayed_groups(
            self.encoder, layer_decay=self.settings.layer_decay, weight_decay=self.settings.weight_decay
        )
        groups += plain_groups([self.decoder], weight_decay=self.settings.weight_decay, prefix="decoder_")
        return optimisers_for(self, groups, self.settings)
