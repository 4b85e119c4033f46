"""What an encoder sees of a batch: recordings, and which of their leads are there. The one way into an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

from ecgcmr.encoders.protocol import Encoder, LocalFeatureEncoder, MaskableEncoder, VariableLeadEncoder, require_encoder


class View(NamedTuple):
    """What an encoder sees of a batch.

    An encoder is only given a lead mask where there is one, so that one that knows none serves whole recordings.

    Attributes:
        x: (B, ...) as the encoder takes it.
        lead_mask: (B, leads) bool, True = to be seen; None = all.
    """

    x: Tensor
    lead_mask: Tensor | None = None

    @classmethod
    def from_batch(cls, batch: Mapping[str, Tensor], modality: str) -> View:
        """Return the recordings of a batch; the mask of its leads says nothing of images."""
        return cls(batch[modality], batch.get("lead_mask") if modality == "ecg" else None)

    def rows(self, rows: Tensor | slice) -> View:
        """Return some of the recordings."""
        return View(self.x[rows], None if self.lead_mask is None else self.lead_mask[rows])

    def inputs(self, encoder: Encoder) -> Any:
        """Return what the encoder's methods are called with.

        Raises:
            UserError: Leads are left out, which the encoder cannot.
        """
        if self.lead_mask is None:
            return (self.x,)
        require_encoder(encoder, VariableLeadEncoder)
        return self.x, self.lead_mask

    def features(self, encoder: Encoder) -> Tensor:
        """Return the pooled features (B, D)."""
        return cast(nn.Module, encoder)(*self.inputs(encoder))

    def tokens(self, encoder: Encoder) -> Tensor:
        """Return the tokens (B, N, D) before pooling."""
        return encoder.forward_tokens(*self.inputs(encoder))

    def token_mask(self, encoder: Encoder) -> Tensor | None:
        """Return which tokens are of leads that are seen, (B, N) bool; None = all."""
        if self.lead_mask is None:
            return None
        return require_encoder(encoder, VariableLeadEncoder).token_mask(self.lead_mask)

    def local_features(self, encoder: LocalFeatureEncoder) -> Tensor:
        """Return the features of every place, (B, D, h, w)."""
        return encoder.local_features(*self.inputs(encoder))

    def visible(self, encoder: MaskableEncoder, keep: Tensor) -> Tensor:
        """Return the tokens (B, 1 + K, D) of the patches ``keep`` (B, K) alone, class token first."""
        x, *lead_mask = self.inputs(encoder)
        forward: Any = encoder.forward_visible
        return forward(x, keep, *lead_mask)
