"""Whole training steps at a published size: forward, backward and optimiser, of ours and of the plain twins.

Ours is what a stage runs under Lightning: networks and losses of this package, bfloat16 by autocast where asked for,
gradients set to None, the stages' own AdamW. Batches lie on the device already: loading is measured by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.benchmarks.plain import PlainEncoder, PlainImageEncoder, PlainMaskedAutoencoder, plain_loss
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer, MAEDecoder, MaskedAutoencoder
from ecgcmr.encoders.kernels import Kernels, use_kernels
from ecgcmr.objectives import CLIPLoss, MaskedReconstruction
from ecgcmr.objectives.projection import projection_head
from ecgcmr.stages.optimisation import OptimiserSettings, build_optimiser, layer_decayed_groups, plain_groups

_LEARNING_RATE, _DECAY = 1e-5, 0.15


def waiting(place: torch.device) -> Callable[[], None]:
    """Return what waits until a device has done what it was asked for."""
    return torch.cuda.synchronize if place.type == "cuda" else lambda: None


def training_step(
    loss: Callable[[], Tensor], optimiser: torch.optim.Optimizer, place: torch.device, low_precision: bool = False
) -> Callable[[], None]:
    """Return a callable that runs one step and waits for the device.

    Args:
        loss: Computes the loss of the batch.
        optimiser: Over all parameters behind it.
        place: Device of parameters and batch.
        low_precision: Autocast to bfloat16.
    """
    wait = waiting(place)

    def step() -> None:
        with torch.autocast(place.type, torch.bfloat16, enabled=low_precision):
            value = loss()
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        wait()

    return step


def own_optimiser(encoder: nn.Module, others: Iterable[nn.Module]) -> torch.optim.Optimizer:
    """Return the stages' AdamW over an encoder and what stands beside it."""
    groups = layer_decayed_groups(encoder, layer_decay=1.0, weight_decay=_DECAY)
    groups += plain_groups(others, weight_decay=_DECAY)
    settings = OptimiserSettings(lr=_LEARNING_RATE, weight_decay=_DECAY)
    return build_optimiser(groups, settings, global_batch=1, steps_per_epoch=1, epochs=1)[0]


def plain_optimiser(*modules: nn.Module) -> torch.optim.Optimizer:
    """Return AdamW as PyTorch makes it when told no more than the learning rate: not fused."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return torch.optim.AdamW(parameters, _LEARNING_RATE, betas=(0.9, 0.95), weight_decay=_DECAY)


class TrainingSteps:
    """Steps of a network over one batch that lies on the device."""

    network: Any
    place: torch.device
    optimiser: torch.optim.Optimizer

    def loss(self) -> Tensor:
        """Return the loss of the batch."""
        raise TypeError(f"{type(self).__name__} does not define loss")

    def ours(self, low_precision: bool) -> Callable[[], None]:
        """Return our step, in float32 or with bfloat16."""
        return training_step(self.loss, self.optimiser, self.place, low_precision)


def in_ways(steps: TrainingSteps, kernels: Kernels, low_precision: bool) -> Callable[[], None]:
    """Return a step that computes in some ways, whatever others of the same networks did before."""
    step = steps.ours(low_precision)

    def run() -> None:
        use_kernels(steps.network, kernels)
        step()

    return run


class AutoencoderSteps(TrainingSteps):
    """Steps of the masked autoencoder with a mask ratio of 0.8 and the published loss.

    Args:
        encoder: Ours.
        batch: ECGs in a step.
        place: Device.
    """

    mask_ratio = 0.8

    def __init__(self, encoder: ECGVisionTransformer, batch: int, place: torch.device) -> None:
        self.place = place
        self.decoder = MAEDecoder.for_encoder(encoder).to(place)
        self.network = MaskedAutoencoder(encoder.to(place), self.decoder, self.mask_ratio)
        spec = encoder.input_spec
        generator = torch.Generator(device=place).manual_seed(0)
        self.ecg = torch.randn(batch, spec.leads, spec.samples, generator=generator, device=place)
        self.noise = torch.rand(batch, self.network.num_patches, generator=generator, device=place)
        self.objective = MaskedReconstruction()
        self.optimiser = own_optimiser(encoder, [self.decoder])

    def loss(self) -> Tensor:
        """Return the loss of the batch."""
        output = self.network(self.ecg, self.noise)
        return self.objective(output.pred, self.ecg, output.mask, self.network.patch_size)["loss"]

    def eager(self) -> Callable[[], None]:
        """Return the plain twin's step, in float32."""
        twin = PlainMaskedAutoencoder(self.network.encoder, self.decoder, self.network.mask_ratio).to(self.place)
        return training_step(
            lambda: plain_loss(twin(self.ecg, self.noise), self.ecg), plain_optimiser(twin), self.place
        )


class AlignmentSteps(TrainingSteps):
    """Steps of the alignment with the CLIP loss and the published projection heads.

    Args:
        ecg_encoder: Ours.
        cmr_encoder: Ours.
        pairs: Pairs of ECG and image in a step.
        place: Device.
    """

    def __init__(
        self, ecg_encoder: ECGVisionTransformer, cmr_encoder: CMRResNet, pairs: int, place: torch.device
    ) -> None:
        self.place = place
        self.encoders = (ecg_encoder.to(place), cmr_encoder.to(place))
        self.heads = [projection_head(encoder.feature_dim, 512, 128).to(place) for encoder in self.encoders]
        self.network = nn.ModuleList([*self.encoders, *self.heads])
        ecg, cmr = ecg_encoder.input_spec, cmr_encoder.input_spec
        generator = torch.Generator(device=place).manual_seed(0)
        self.ecg = torch.randn(pairs, ecg.leads, ecg.samples, generator=generator, device=place)
        self.frames = torch.rand(pairs, cmr.frames, cmr.height, cmr.width, generator=generator, device=place)
        self.objective = CLIPLoss().to(place)
        self.optimiser = own_optimiser(ecg_encoder, [cmr_encoder, *self.heads])

    def loss(self) -> Tensor:
        """Return the loss of the batch."""
        ecg_encoder, cmr_encoder = self.encoders
        return self.objective(self.heads[0](ecg_encoder(self.ecg)), self.heads[1](cmr_encoder(self.frames)))

    def plain(self) -> Callable[[], None]:
        """Return the step of the plain twins in float32: images in the usual order, AdamW not fused."""
        ecg_encoder = PlainEncoder(self.encoders[0]).to(self.place)
        cmr_encoder = PlainImageEncoder(self.encoders[1])
        heads = [copy.deepcopy(head) for head in self.heads]

        def loss() -> Tensor:
            return self.objective(heads[0](ecg_encoder(self.ecg)), heads[1](cmr_encoder(self.frames)))

        return training_step(loss, plain_optimiser(ecg_encoder, cmr_encoder, *heads), self.place)
