"""Every encoder of the package, small, in its variants; tests of what holds for all of them go through these."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from ecgcmr.encoders import CMRInput, ECGInput
from ecgcmr.encoders.published import published_encoders

VIT = "ecgcmr.encoders.ECGVisionTransformer"
RESNET = "ecgcmr.encoders.CMRResNet"
SMALL_VIT = {"samples": 200, "patch_size": [1, 50], "width": 32, "depth": 2, "heads": 4}
CMR_VIT = "ecgcmr.encoders.CMRVisionTransformer"
RESNET_3D = "ecgcmr.encoders.CMRResNet3d"
ECG_RESNET = "ecgcmr.encoders.ECGResNet"
ECG_S4 = "ecgcmr.encoders.ECGS4"
MEASURED = "ecgcmr.encoders.MeasurementEncoder"
SMALL_S4 = {"samples": 200, "width": 16, "depth": 2, "state_size": 4}
SMALL_CMR_VIT = {"height": 16, "width": 24, "embedding": 32, "depth": 2, "heads": 4}
SMALL_STAGES = {"variant": "custom", "layers": [1, 1, 2, 1], "widths": [8, 8, 16, 16]}
SMALL_RESNET = {"variant": "custom", "height": 48, "width": 64, "layers": [1, 1, 1, 1], "widths": [8, 8, 16, 16]}
PUBLISHED = "ecgcmr.encoders.published"
SMALL_TOWER = {"width": 16, "depth": 2, "heads": 4}
SMALL_WAVES = {**SMALL_TOWER, "position_kernel": 8, "position_groups": 4}
SMALL_CINEMA = {"size": 32, "widths": [4, 6], "stage_blocks": 1, "embedding": 24, "depth": 2, "heads": 4}
CASES = {
    "vit-mean": (VIT, {**SMALL_VIT, "pooling": "mean"}),
    "vit-cls": (VIT, {**SMALL_VIT, "pooling": "cls", "drop_path": 0.2}),
    "vit-attention": (VIT, {**SMALL_VIT, "pooling": "attention"}),
    "vit-several-leads-a-patch": (VIT, {**SMALL_VIT, "patch_size": [3, 40]}),
    "vit-learned-positions": (VIT, {**SMALL_VIT, "positions": "learned"}),
    "vit-of-three-leads": (VIT, {**SMALL_VIT, "leads": 3, "lead_rows": [1, 6, 11]}),
    "vit-checkpointed": (VIT, {**SMALL_VIT, "gradient_checkpointing": True}),
    "ecg-resnet-basic": (ECG_RESNET, {**SMALL_STAGES, "samples": 200, "block": "basic"}),
    "ecg-resnet-bottleneck": (ECG_RESNET, {**SMALL_STAGES, "samples": 200, "block": "bottleneck"}),
    "ecg-resnet-batch-norm": (ECG_RESNET, {**SMALL_STAGES, "samples": 200, "block": "basic", "norm": "batch"}),
    "ecg-xresnet1d": (
        ECG_RESNET,
        {"variant": "xresnet1d18", "samples": 200, "norm": "batch", "pooling": "mean_max", "downsample": 2},
    ),
    "ecg-s4": (ECG_S4, SMALL_S4),
    "ecg-s4-forwards": (ECG_S4, {**SMALL_S4, "bidirectional": False, "start": "inv", "downsample": 3}),
    "ecg-s4-mean-max": (ECG_S4, {**SMALL_S4, "pooling": "mean_max"}),
    "ecg-cnn": ("ecgcmr.encoders.ECGCNN", {"samples": 200, "widths": [8, 16, 12]}),
    "st-mem": (f"{PUBLISHED}.STMEM", {**SMALL_TOWER, "samples": 100, "patch": 25, "table_rows": 8}),
    "merl-vit": (f"{PUBLISHED}.MERLVisionTransformer", {**SMALL_TOWER, "samples": 100, "patch": 25}),
    "ecg-jepa": (f"{PUBLISHED}.ECGJEPA", {**SMALL_TOWER, "leads": 8, "samples": 100, "patch": 25}),
    "hubert-ecg": (f"{PUBLISHED}.HuBERTECG", {**SMALL_WAVES, "samples": 50, "convolutions": [8] * 5}),
    "ecg-fm": (f"{PUBLISHED}.ECGFM", {**SMALL_WAVES, "samples": 200, "convolutions": [8] * 4}),
    "ecg-fm-pre-norm": (
        f"{PUBLISHED}.ECGFM",
        {**SMALL_WAVES, "samples": 200, "convolutions": [8] * 4, "norm_first": True, "gradient_checkpointing": True},
    ),
    "d-beta": (f"{PUBLISHED}.DBETA", {**SMALL_WAVES, "samples": 200, "convolutions": [8] * 4}),
    "ecgfounder": (
        f"{PUBLISHED}.ECGFounder",
        {"samples": 200, "widths": [8, 16], "depths": [2, 1], "base_width": 8, "group_width": 4},
    ),
    "merl-resnet": (f"{PUBLISHED}.MERLResNet", {"samples": 200, "widths": [6, 8, 12, 16]}),
    "ecg-cpc": (
        f"{PUBLISHED}.ECGCPC",
        {"samples": 200, "width": 16, "depth": 2, "state_size": 4, "kernel_length": 100},
    ),
    **{
        f"prepared-{name}": (f"{PUBLISHED}.PublishedECG", {"name": name, "sizes": dict(entry.small)})
        for name, entry in published_encoders().items()
        if entry.vectors or entry.lead_sets  # others are the same networks in another size
    },
    "cinema-stacks": (f"{PUBLISHED}.CineMA", {**SMALL_CINEMA, "frames": 6, "slices": 3}),
    "cinema-long-axis": (
        f"{PUBLISHED}.CineMA",
        {**SMALL_CINEMA, "view": "4ch", "frames": 2, "size": 48, "drop_path": 0.2, "gradient_checkpointing": True},
    ),
    "cmr-vit": (CMR_VIT, SMALL_CMR_VIT),
    "cmr-vit-learned-positions": (CMR_VIT, {**SMALL_CMR_VIT, "positions": "learned", "drop_path": 0.2}),
    "resnet3d-frames": (RESNET_3D, {**SMALL_STAGES, "block": "basic", "height": 48, "width": 64}),
    "resnet-per-frame": (
        "ecgcmr.encoders.CMRFrameResNet",
        {**SMALL_STAGES, "block": "basic", "frames": 5, "height": 32, "width": 48},
    ),
    "resnet3d-phases-of-slices": (
        RESNET_3D,
        {**SMALL_STAGES, "block": "bottleneck", "frames": 10, "channels": 2, "height": 32, "width": 32},
    ),
    "resnet-basic": (RESNET, {**SMALL_RESNET, "block": "basic"}),
    "resnet-bottleneck": (RESNET, {**SMALL_RESNET, "block": "bottleneck", "frames": 2}),
    "resnet18": (RESNET, {"variant": "resnet18", "height": 64, "width": 64}),
    "measurement-tokens": (MEASURED, {"names": ["lvef", "ivs", "age", "sex"], "width": 16, "depth": 2, "heads": 2}),
    "measurement-mlp": (MEASURED, {"names": ["lvef", "ivs", "age"], "kind": "mlp", "width": 16, "depth": 2}),
    "example-of-the-docs": ("small_encoder.SmallConvEncoder", {"samples": 200, "width": 16}),
}


def build(case: str, seed: int = 0) -> Any:
    """Return the encoder of a case, the same each time, in evaluation mode."""
    class_path, init_args = CASES[case]
    module, _, name = class_path.rpartition(".")
    torch.manual_seed(seed)
    return getattr(importlib.import_module(module), name)(**init_args).eval()


def batch_for(encoder: Any, size: int, seed: int = 1) -> torch.Tensor:
    """Return recordings as an encoder takes them, in [0, 1)."""
    spec = encoder.input_spec
    shape: tuple[int, ...]
    if isinstance(spec, ECGInput):
        shape = (spec.leads, spec.samples)
    elif isinstance(spec, CMRInput):
        shape = (spec.frames, spec.height, spec.width)
    else:
        shape = (len(spec.names),)
    return torch.rand(size, *shape, generator=torch.Generator().manual_seed(seed))
