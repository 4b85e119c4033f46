"""From an encoder to one feature per recording: its own pooling, or attention that is trained on its tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.encoders import AttentionPooling, CMRInput
from ecgcmr.encoders.transformer import NORM_EPS
from ecgcmr.errors import UserError


class AttentionReadout(nn.Module):
    """Multi-head attention with the mean token as query, then LayerNorm, as in the published downstream model.

    Args:
        width: Token width.
        heads: Attention heads; divides the width.

    Raises:
        UserError: It does not.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise UserError(f"model.attention_heads is {heads}; it must divide the encoder's token width {width}")
        self.attention = AttentionPooling(width, heads)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, D), over the tokens where ``mask`` (B, N) is True."""
        return self.norm(self.attention(tokens, mask))


def modality_of(encoder: Any) -> str:
    """Return what an encoder takes: ``ecg`` or ``cmr``."""
    return "cmr" if isinstance(encoder.input_spec, CMRInput) else "ecg"


def read_out(encoder: Any, readout: nn.Module | None, x: Tensor, lead_mask: Tensor | None = None) -> Tensor:
    """Return one feature per recording, (B, D), the mean over its windows where it has several.

    Args:
        encoder: Meets the encoder contract.
        readout: Pools its tokens; None: the encoder's own feature.
        x: A batch as the encoder takes it; or windows of ECGs, (B, W, leads, T).
        lead_mask: (B, leads) bool, True = recorded; None: all are, or the encoder knows no leads.
    """
    if x.ndim == 4 and modality_of(encoder) == "ecg":
        windows = x.shape[1]
        masks = None if lead_mask is None else lead_mask.repeat_interleave(windows, dim=0)
        features = _read_out(encoder, readout, x.flatten(0, 1), masks).unflatten(0, (-1, windows))
        # Not in bfloat16, which would round the mean.
        return features.mean(dim=1, dtype=torch.promote_types(features.dtype, torch.float32))
    return _read_out(encoder, readout, x, lead_mask)


def _read_out(encoder: Any, readout: nn.Module | None, x: Tensor, lead_mask: Tensor | None) -> Tensor:
    """As ``read_out``, of a batch as the encoder takes it."""
    masks = () if lead_mask is None else (lead_mask,)
    if readout is None:
        return encoder(x, *masks)
    # A probe's encoder is frozen: nothing of it is kept for a backward pass.
    with torch.set_grad_enabled(torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())):
        tokens = encoder.forward_tokens(x, *masks)
    return readout(tokens, None if lead_mask is None else encoder.token_mask(lead_mask))
