"""Files as the authors of published encoders save them, with small random weights: names, keys and objects beside."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.encoders.published import Published
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.encoders.published.published_ecg import build_network
from ecgcmr.encoders.published.registry import PublishedNetwork

CINEMA_BESIDE = (
    "dec_linear.weight",
    "dec_embed_dict.sax.mask_token",
    "decoder.blocks.0.attn.kv.bias",
    "pred_head_dict.lax_2c.bias",
    "enc_down_dict.another.pos_embed",
    "enc_fusion_dict.another.norm.bias",
)
"""Of CineMA's file: the decoder, and further views."""
HEADS = {
    "ecgfounder": ("dense.weight", "first_bn.running_mean", "stage_list.0.block_list.0.bn1.weight"),
    "merl-resnet18": ("linear.weight",),
    "ecg-cpc": ("head_ssl.proj.0.weight",),
    "st-mem": ("head.weight",),
    "hubert-ecg-base": ("masked_spec_embed", "final_proj.0.weight"),
    "ecg-fm": ("mask_emb", "quantizer.vars"),
    "d-beta": ("ecg_encoder.mask_emb", "mlm_head.bias"),
    "merl-vit-tiny": ("head.weight",),
    **dict.fromkeys(("cinema", "cinema-2ch", "cinema-3ch", "cinema-4ch"), CINEMA_BESIDE),
}
"""Tensors beside the encoder's, of which the import says that they are left out."""


def published_name(names: PublishedNames, ours: str) -> str:
    """Return how the authors call one of our tensors: the renaming backwards."""
    for pattern, replacement in names.renamed:
        form = re.escape(replacement).replace(r"\\1", "(.+?)").replace(r"\\2", r"(.+?)").replace(r"\\3", r"(.+?)")
        found = re.fullmatch(form, ours)
        if found is None:
            continue
        plain = re.sub(r"\(\?:([^|)]*)\|[^)]*\)", r"\1", pattern)  # the first of several spellings
        for group in found.groups():
            plain = re.sub(r"\([^)]*\)", lambda _, group=group: group, plain, count=1)
        published = plain.replace("\\", "")
        if names.ours([published])[published] == ours:
            return published
    assert names.ours([ours])[ours] == ours, f"nobody publishes {ours}"
    return ours


def published_tensors(entry: PublishedNetwork, prefix: bool = False) -> tuple[dict[str, Tensor], nn.Module]:
    """Return tensors of a small network under their published names, and the network."""
    torch.manual_seed(3)
    network = build_network(entry, {**entry.init_args, **entry.small}).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    before = entry.layout.names.prefixes[0] if prefix else ""
    state = {before + published_name(entry.layout.names, name): value for name, value in network.state_dict().items()}
    return state | {before + name: torch.ones(2) for name in HEADS.get(entry.name, ())}, network


def save_published(entry: Published, path: Path, *, prefix: bool = False, **beside: Any) -> nn.Module:
    """Write such a file, under the key its authors use, and return the network that is in it."""
    tensors, network = published_tensors(entry, prefix)
    holder = entry.layout.holders[0]
    content: dict[str, Any] = {holder: tensors, "epoch": 7} if holder else dict(tensors)
    for keys in entry.layout.read.values():
        place = content
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = False
    torch.save(content | beside, path)
    return network


def foreign_object() -> Any:
    """Return an object of a class whose module only its authors have; importing it again fails."""
    module: Any = types.ModuleType("authors_own_code")

    class Settings:
        def __init__(self) -> None:
            self.rate = 240

    Settings.__module__, Settings.__qualname__ = "authors_own_code", "Settings"
    module.Settings = Settings
    sys.modules["authors_own_code"] = module
    return Settings()
