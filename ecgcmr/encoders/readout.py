"""What a head sees: one feature per recording, pooled by the encoder or by attention on its tokens, and covariates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgcmr.encoders.pooling import AttentionPooling
from ecgcmr.encoders.protocol import MODALITIES, Encoder
from ecgcmr.encoders.transformer import NORM_EPS
from ecgcmr.encoders.view import View
from ecgcmr.encoders.window_pooling import MeanOfWindows
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


def encoder_modality(encoder: Encoder) -> str:
    """Return what an encoder takes: ``ecg``, ``cmr`` or ``measurements``."""
    return MODALITIES.get(type(encoder.input_spec).__name__, "ecg")


def read_out(
    encoder: Encoder, readout: nn.Module | None, view: View, window_pooling: nn.Module | None = None
) -> Tensor:
    """Return one feature per recording, (B, D).

    Args:
        encoder: Meets the encoder contract.
        readout: Pools its tokens; None: the encoder's own feature.
        view: A batch as the encoder takes it; or windows of ECGs, (B, W, leads, T), whose lead mask is the recording's.
        window_pooling: Makes one feature of those of the windows, (B, W, D) -> (B, D); None: their mean.
    """
    if view.x.ndim == 4 and encoder_modality(encoder) == "ecg":
        windows = view.x.shape[1]
        masks = None if view.lead_mask is None else view.lead_mask.repeat_interleave(windows, dim=0)
        features = _read_out(encoder, readout, View(view.x.flatten(0, 1), masks)).unflatten(0, (-1, windows))
        return (window_pooling or MeanOfWindows())(features)
    return _read_out(encoder, readout, view)


def _read_out(encoder: Encoder, readout: nn.Module | None, view: View) -> Tensor:
    """As ``read_out``, of a batch as the encoder takes it."""
    if readout is None:
        return view.features(encoder)
    # A probe's encoder is frozen: nothing of it is kept for a backward pass, but for one to the recording itself.
    trained = isinstance(encoder, nn.Module) and any(p.requires_grad for p in encoder.parameters())
    with torch.set_grad_enabled(torch.is_grad_enabled() and (trained or view.x.requires_grad)):
        tokens = view.tokens(encoder)
    return readout(tokens, view.token_mask(encoder))


class CovariateInputs(nn.Module):
    """Covariates standardised by the training rows, and which of them are missing.

    A missing one takes the training mean, and its indicator is 1. Mean and deviation are kept with the weights, so that
    another cohort is standardised as the training cohort was.

    Args:
        mean: (C,) of the training rows.
        deviation: (C,) likewise, above 0.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("deviation", deviation.float())

    @property
    def width(self) -> int:
        """Number of columns of the result, two a covariate."""
        return 2 * len(self.mean)

    def forward(self, values: Tensor) -> Tensor:
        """(B, C) in the covariates' units, NaN = missing -> (B, 2 C): standardised values, then indicators."""
        missing = ~torch.isfinite(values)
        standardised = torch.where(missing, 0.0, (values - self.mean) / self.deviation)
        return torch.cat([standardised, missing.to(standardised)], dim=1)
