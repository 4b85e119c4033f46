"""The contract every encoder meets, so that a stage can take any of them by `class_path` alone.

An encoder knows tensors and nothing of files or Lightning. It turns a batch into local features (tokens) and into one
pooled feature per recording, and it tells an optimiser how its parameters are layered.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from ecgcmr.errors import UserError


@dataclasses.dataclass(frozen=True)
class ECGInput:
    """What an ECG encoder expects: x of shape (B, leads, samples).

    Attributes:
        leads: Number of leads, 12 in the order I II III aVR aVL aVF V1..V6.
        sampling_rate: Hz.
        samples: Samples per lead (2,500 = 5 s at 500 Hz).
    """

    leads: int
    sampling_rate: float
    samples: int


@dataclasses.dataclass(frozen=True)
class CMRInput:
    """What a CMR encoder expects: x of shape (B, frames, height, width), intensities in [0, 1].

    Attributes:
        frames: Number of cine frames of the slice, in the cohort's order (ES, mid, ED).
        height: Rows in pixels.
        width: Columns in pixels.
    """

    frames: int
    height: int
    width: int


InputSpec = ECGInput | CMRInput


@runtime_checkable
class Encoder(Protocol):
    """Any `torch.nn.Module` with these members is an encoder; there is nothing to inherit from.

    Layer-wise learning-rate decay uses `decay ** (num_layers - layer_of(name))`: the embedding is layer 0, anything
    after the last block (final norm, pooling) is layer `num_layers`, where a head of the stage also belongs.
    """

    @property
    def input_spec(self) -> ECGInput | CMRInput:
        """Shape and sampling of the input."""

    @property
    def feature_dim(self) -> int:
        """D, the width of tokens and of the pooled feature."""

    @property
    def num_layers(self) -> int:
        """Largest value of `layer_of`."""

    def forward_tokens(self, x: Tensor) -> Tensor:
        """Local features (B, N, D), before pooling and before the final norm."""

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features (B, D)."""

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that take no weight decay, beyond biases and norms."""

    def layer_of(self, name: str) -> int:
        """Layer of a parameter, 0..num_layers, by its name inside this encoder."""


@runtime_checkable
class MaskableEncoder(Encoder, Protocol):
    """An encoder that a masked autoencoder can train: it can encode only the patches that are left visible."""

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along leads and along time; their product is the number of patches N."""

    @property
    def patch_size(self) -> tuple[int, int]:
        """Leads and samples of one patch."""

    def forward_visible(self, x: Tensor, keep: Tensor) -> Tensor:
        """Encode the patches named by `keep` (B, K) only: (B, 1 + K, D), class token first, after the final norm."""


_MEMBERS = ("input_spec", "feature_dim", "num_layers", "forward_tokens", "forward", "no_weight_decay", "layer_of")
_MASKABLE_MEMBERS = (*_MEMBERS, "grid", "patch_size", "forward_visible")


def _require(candidate: Any, members: tuple[str, ...], kind: str) -> None:
    name = candidate.__name__ if isinstance(candidate, type) else type(candidate).__name__
    if not (isinstance(candidate, nn.Module) or (isinstance(candidate, type) and issubclass(candidate, nn.Module))):
        raise UserError(f"{name} is not a torch.nn.Module: give an encoder class by class_path (docs/encoders.md)")
    missing = [member for member in members if not hasattr(candidate, member)]
    if missing:
        raise UserError(f"{name} is not {kind}: it lacks {', '.join(missing)} (docs/encoders.md lists the contract)")


def require_encoder(candidate: Any) -> Any:
    """Return `candidate` if it meets the encoder contract.

    Raises:
        UserError: It is no module, or members are missing; the message lists them.
    """
    _require(candidate, _MEMBERS, "an encoder")
    return candidate


def require_maskable(candidate: Any) -> Any:
    """Return `candidate` if a masked autoencoder can train it.

    Raises:
        UserError: Members are missing; the message lists them.
    """
    _require(candidate, _MASKABLE_MEMBERS, "an encoder for masked autoencoding")
    return candidate
