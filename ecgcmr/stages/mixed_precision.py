"""What mixed precision a trainer runs with: on CPUs Lightning takes bfloat16 for ``16-mixed`` too, without a scaler."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.plugins import MixedPrecision


def is_mixed(trainer: Any) -> bool:
    """Return whether a trainer computes products in half precision, with weights in float32."""
    return isinstance(trainer.precision_plugin, MixedPrecision)


def has_loss_scaler(trainer: Any) -> bool:
    """Return whether a trainer scales losses so that gradients in float16 do not vanish; they may then overflow."""
    plugin = trainer.precision_plugin
    return isinstance(plugin, MixedPrecision) and plugin.scaler is not None
