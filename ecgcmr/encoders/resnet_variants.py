"""The sizes of residual networks (He et al. 2016), shared by the networks over images, volumes and ECGs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ecgcmr.errors import UserError

Variant = Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "custom"]
VARIANTS: dict[str, tuple[str, list[int], list[int]]] = {
    "resnet10": ("basic", [1, 1, 1, 1], [64, 128, 256, 512]),
    "resnet18": ("basic", [2, 2, 2, 2], [64, 128, 256, 512]),
    "resnet34": ("basic", [3, 4, 6, 3], [64, 128, 256, 512]),
    "resnet50": ("bottleneck", [3, 4, 6, 3], [64, 128, 256, 512]),
    "resnet101": ("bottleneck", [3, 4, 23, 3], [64, 128, 256, 512]),
}
"""Kind of block, blocks per stage and channels per stage."""

EXPANSION = {"basic": 1, "bottleneck": 4}
"""Channels of a block's output over those inside it."""


def resolve_variant(
    variant: str,
    block: str | None,
    layers: list[int] | None,
    widths: list[int] | None,
    variants: Mapping[str, tuple[str, list[int], list[int]]] = VARIANTS,
) -> tuple[str, list[int], list[int]]:
    """Kind of block, blocks per stage and channels per stage of a named variant or of explicit numbers.

    Args:
        variant: A name of `variants`, or "custom".
        block: "basic" or "bottleneck"; for "custom" only, as are the next two.
        layers: Blocks in each of the four stages.
        widths: Channels of each of the four stages, before the bottleneck's expansion.
        variants: Kind of block, blocks and channels per stage by name.

    Raises:
        UserError: The variant is unknown, or the explicit numbers are missing, surplus or of the wrong length.
    """
    explicit = {"block": block, "layers": layers, "widths": widths}
    if variant != "custom":
        if variant not in variants:
            raise UserError(f"unknown ResNet variant {variant!r}: choose {', '.join(variants)} or custom")
        surplus = [name for name, value in explicit.items() if value is not None]
        if surplus:
            raise UserError(f"{', '.join(surplus)} can only be given with variant custom, not with {variant}")
        return variants[variant]
    if block is None or layers is None or widths is None:
        missing = [name for name, value in explicit.items() if value is None]
        raise UserError(f"variant custom needs {', '.join(missing)} as well")
    if block not in EXPANSION:
        raise UserError(f"unknown block {block!r}: choose basic or bottleneck")
    if len(layers) != 4 or len(widths) != 4 or min(*layers, *widths) < 1:
        raise UserError(f"layers and widths need four positive numbers each, got {list(layers)} and {list(widths)}")
    return block, list(layers), list(widths)
