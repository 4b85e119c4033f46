"""Floating-point operations of a training step, and what the machine reaches in a plain matrix product.

Only products count, a multiplication and an addition as two operations; norms, softmax, activations and the optimiser
do not, and what a kernel computes again to save memory does not either. A step's operations over its time and over the
rate of a matrix product measured in the same run is the fraction of the machine that the step makes use of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from ecgcmr.encoders import ECGVisionTransformer, MaskedAutoencoder

MATMUL_SIZE = 2048


def linear_flops(layer: nn.Linear, tokens: int) -> int:
    """Return the operations of a linear layer on some tokens, forward."""
    return 2 * tokens * layer.in_features * layer.out_features


def blocks_flops(blocks: Iterable[Any], tokens: int) -> int:
    """Return the operations of transformer blocks on one recording, forward: four linear layers each, QK and AV."""
    total = 0
    for block in blocks:
        layers = (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2)
        total += sum(linear_flops(layer, tokens) for layer in layers)
        total += 2 * 2 * tokens**2 * block.attn.proj.in_features
    return total


def autoencoder_step_flops(autoencoder: MaskedAutoencoder, batch: int) -> int:
    """Return the operations of forward and backward pass of the masked autoencoder, embedding visible patches only.

    What the decoder's first block projects of hidden patches counts once for the batch, as it is computed.

    The way back takes twice the way forward: a gradient of the input and one of the weights for each product. The
    patch embedding has no gradient of its input.

    Args:
        autoencoder: With an `ECGVisionTransformer`.
        batch: ECGs in the step.
    """
    encoder: ECGVisionTransformer = autoencoder.encoder
    decoder = autoencoder.decoder
    kept = autoencoder.masking.kept(autoencoder.grid, autoencoder.mask_ratio)
    embedding = 2 * kept * encoder.patch_embed.proj.weight.numel()
    rest = blocks_flops(encoder.blocks, 1 + kept)
    rest += linear_flops(decoder.embed, 1 + kept)
    rest += blocks_flops(decoder.blocks, 1 + autoencoder.num_patches)
    rest += linear_flops(decoder.pred, autoencoder.num_patches)
    first: Any = decoder.blocks[0]
    hidden = linear_flops(first.attn.qkv, 1 + autoencoder.num_patches)  # once for the batch
    rest += linear_flops(first.attn.qkv, 1 + kept) - hidden
    return batch * (2 * embedding + 3 * rest) + 3 * hidden


def matmul_work(dtype: torch.dtype, place: torch.device, wait: Callable[[], None]) -> tuple[Callable[[], None], int]:
    """Return a work that multiplies 2,048-square matrices, and its operations.

    On an accelerator it is many products, since one is over before the next could be asked for.
    """
    products = 1 if place.type == "cpu" else 64
    generator = torch.Generator(device=place).manual_seed(0)
    left, right = (torch.randn(MATMUL_SIZE, MATMUL_SIZE, generator=generator, device=place).to(dtype) for _ in range(2))

    def multiply() -> None:
        for _ in range(products):
            left @ right
        wait()

    return multiply, products * 2 * MATMUL_SIZE**3
