"""What a stage computes with, cut into pieces small enough to be timed in a moment.

A transformer is timed by one of its blocks, as all are alike; any other encoder as a whole on one or two recordings.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.encoders import CMRVisionTransformer, ECGVisionTransformer, Encoder, MaskedAutoencoder
from ecgcmr.encoders.kernels import Kernels, OrdersImages, use_kernels
from ecgcmr.encoders.protocol import CMRInput, ECGInput
from ecgcmr.encoders.token_linear import MANY_TOKENS
from ecgcmr.encoders.transformer import Block


@dataclasses.dataclass(frozen=True)
class Part:
    """A piece of a network to be timed.

    Attributes:
        name: For people.
        module: Of the run itself; it is copied before it runs.
        shape: Of the input.
        count: Times that it runs for a recording.
        trains: Whether it runs both ways.
    """

    name: str
    module: nn.Module
    shape: tuple[int, ...]
    count: float
    trains: bool

    @property
    def kind(self) -> str:
        """``tokens``, ``images`` (whose order in memory can be chosen) or ``other``."""
        if isinstance(self.module, Block):
            return "tokens"
        return "images" if any(isinstance(module, OrdersImages) for module in self.module.modules()) else "other"

    @property
    def signature(self) -> str:
        """Tells parts apart that take different times: structure, sizes, input and whether it trains."""
        heads = [module.attn.heads for module in self.module.modules() if isinstance(module, Block)]
        weights = [tuple(weight.shape) for weight in self.module.parameters()]
        text = repr((type(self.module).__name__, repr(self.module), heads, weights, self.shape, self.trains))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def work(self, dtype: torch.dtype, kernels: Kernels) -> Callable[[], None]:
        """Return what runs the part once, forward and back if it trains, with products of a type."""
        module = copy.deepcopy(self.module).cpu().float().train(self.trains)
        use_kernels(module, kernels)
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(self.shape, generator=generator).requires_grad_(self.trains and self.kind == "tokens")

        def run() -> None:
            """Run it once."""
            with (
                torch.random.fork_rng(devices=[]),
                torch.set_grad_enabled(self.trains),
                torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16),
            ):
                out: Tensor = module(x)
            if self.trains:
                out.float().square().mean().backward()
                module.zero_grad(set_to_none=True)
                x.grad = None

        return run


def parts_of(stage: nn.Module, training: bool) -> list[Part]:
    """Return what a stage's encoders, and the decoder of a masked autoencoder, are made of.

    Args:
        stage: Any module that holds encoders.
        training: Whether it will be fitted; what is frozen runs forward alone all the same.
    """
    found: dict[str, Part] = {}
    for part in _all_parts(stage, training):
        known = found.get(part.signature)
        found[part.signature] = part if known is None else dataclasses.replace(part, count=known.count + part.count)
    return list(found.values())


def _all_parts(stage: nn.Module, training: bool) -> Iterator[Part]:
    taken: set[int] = set()
    for module in stage.modules():
        if isinstance(module, MaskedAutoencoder):
            kept = module.masking.kept(module.grid, module.mask_ratio)
            if isinstance(module.encoder, ECGVisionTransformer):
                yield from _blocks("encoder block", module.encoder.blocks, 1 + kept, training)
                taken |= {id(inner) for inner in module.encoder.modules()}
            yield from _blocks("decoder block", module.decoder.blocks, 1 + module.num_patches, training)
    for module in stage.modules():
        if id(module) in taken or module is stage or not isinstance(module, Encoder):
            continue
        taken |= {id(inner) for inner in module.modules()}
        if isinstance(module, (ECGVisionTransformer, CMRVisionTransformer)):
            tokens = module.grid[0] * module.grid[1] + int(isinstance(module, ECGVisionTransformer))
            yield from _blocks("encoder block", module.blocks, tokens, training)
        elif isinstance(module, nn.Module):
            yield _whole(module, training)


def _blocks(name: str, blocks: nn.Sequential, tokens: int, training: bool) -> Iterator[Part]:
    for block in blocks:
        if not isinstance(block, Block):
            continue
        width = block.attn.qkv.in_features
        recordings = -(-MANY_TOKENS // tokens)  # with fewer, nothing would run as a convolution
        trains = training and _trains(block)
        yield Part(f"{name} {width} x {tokens}", block, (recordings, tokens, width), 1.0 / recordings, trains)


def _whole(encoder: Any, training: bool) -> Part:
    spec = encoder.input_spec
    # Batch norm needs several values a channel, and the last feature map of a small image holds but one.
    recordings = 1 if isinstance(spec, CMRInput) and min(spec.height, spec.width) > 64 else 2
    sizes: tuple[int, ...]
    if isinstance(spec, ECGInput):
        sizes = (spec.leads, spec.samples)
    elif isinstance(spec, CMRInput):
        sizes = (spec.frames, spec.height, spec.width)
    else:
        sizes = (len(spec.names),)
    trains = training and _trains(encoder)
    return Part(type(encoder).__name__, encoder, (recordings, *sizes), 1.0 / recordings, trains)


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())
