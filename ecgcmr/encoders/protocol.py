"""The contract every encoder meets, so that a stage can take any of them by `class_path` alone.

An encoder knows tensors and nothing of files or Lightning. It turns a batch into local features (tokens) and into one
pooled feature per recording, and it tells an optimiser how its parameters are layered.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from ecgcmr.contracts import lacking
from ecgcmr.errors import UserError


@dataclasses.dataclass(frozen=True)
class ECGInput:
    """What an ECG encoder expects: x of shape (B, leads, samples).

    Attributes:
        leads: Number of leads, 12 in the order I II III aVR aVL aVF V1..V6.
        sampling_rate: Hz.
        samples: Samples per lead (2,500 = 5 s at 500 Hz).
        lead_rows: For a subset of leads, the place of each among the twelve; None = 0, 1, 2 ...
        unit: Of the values, where the encoder depends on it; None = as the cohort has them.
        preparation: What the encoder itself makes of recordings that are otherwise as they were measured, a phrase a
            step; None = nothing.
    """

    leads: int
    sampling_rate: float
    samples: int
    lead_rows: tuple[int, ...] | None = None
    unit: str | None = None
    preparation: tuple[str, ...] | None = None

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless `x` is (B, leads, samples)."""
        if x.ndim != 3 or x.shape[1:] != (self.leads, self.samples):
            raise ValueError(f"expected ECGs of shape (B, {self.leads}, {self.samples}), got {tuple(x.shape)}")


@dataclasses.dataclass(frozen=True)
class CMRInput:
    """What a CMR encoder expects: x of shape (B, frames, height, width), intensities in [0, 1].

    Attributes:
        frames: Number of images of a subject in the cohort's order: cine frames of one slice (ES, mid, ED), or slices
            of a stack, or phases times slices.
        height: Rows in pixels.
        width: Columns in pixels.
        view: `sax`, `2ch`, `3ch` or `4ch`, where the encoder depends on it; None = any.
        pixel_mm: Size of a pixel, where the encoder depends on it; None = as the cohort has them.
        slices: Of each moment, where the encoder looks at stacks as stacks; None = it does not ask.
        slice_mm: Distance of neighbouring slices, where the encoder depends on it.
    """

    frames: int
    height: int
    width: int
    view: str | None = None
    pixel_mm: float | None = None
    slices: int | None = None
    slice_mm: float | None = None

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless `x` is (B, frames, height, width)."""
        if x.ndim != 4 or x.shape[1:] != (self.frames, self.height, self.width):
            shape = f"(B, {self.frames}, {self.height}, {self.width})"
            raise ValueError(f"expected CMR images of shape {shape}, got {tuple(x.shape)}")


@dataclasses.dataclass(frozen=True)
class MeasurementInput:
    """What an encoder of measurements expects: x of shape (B, M) in the measurements' units, NaN = not measured.

    Attributes:
        names: M names of labels, in the order of the columns.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless `x` is (B, M)."""
        if x.ndim != 2 or x.shape[1] != len(self.names):
            raise ValueError(f"expected measurements of shape (B, {len(self.names)}), got {tuple(x.shape)}")


InputSpec = ECGInput | CMRInput | MeasurementInput
MODALITIES: dict[str, str] = {"ECGInput": "ecg", "CMRInput": "cmr", "MeasurementInput": "measurements"}
"""Kind of an input, as a card names it -> what stands in a batch under this name."""


@runtime_checkable
class Encoder(Protocol):
    """Any `torch.nn.Module` with these members is an encoder; there is nothing to inherit from.

    Layer-wise learning-rate decay uses `decay ** (num_layers - layer_of(name))`: the embedding is layer 0, anything
    after the last block (final norm, pooling) is layer `num_layers`, where a head of the stage also belongs.
    """

    @property
    def input_spec(self) -> InputSpec:
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
class SizedEncoder(Protocol):
    """An encoder whose arguments may name a size, whose numbers `encoder.yaml` then keeps."""

    @classmethod
    def spelled_out(cls, init_args: Mapping[str, Any]) -> dict[str, Any]:
        """Constructor arguments with the numbers of a size in place of its name."""


@runtime_checkable
class LayeredEncoder(Encoder, Protocol):
    """An encoder whose layers 1 to ``num_layers`` - 1 are modules that are called, so that each can be probed."""

    @property
    def channel_axis(self) -> int:
        """Where the channels are in what a layer gives: 1 for (B, D, T), -1 for (B, N, D)."""


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
        """Encode the patches named by `keep` (B, K) only: (B, 1 + K, D), class token first, after the final norm.

        An encoder without a class token puts the mean of what it sees there.
        """


@runtime_checkable
class VariableLeadEncoder(Encoder, Protocol):
    """An ECG encoder that leaves missing leads out instead of reading zeros in their place.

    Its `forward`, `forward_tokens` (and `forward_visible`, where there is one) take a second argument
    `lead_mask`: (B, leads) bool, True = recorded; None = all are. What stands in a missing lead, NaN included, has no
    influence on any output or gradient.
    """

    def token_mask(self, lead_mask: Tensor) -> Tensor:
        """Which tokens of `forward_tokens` are of recorded leads: (B, leads) -> (B, N) bool."""


@runtime_checkable
class LocalFeatureEncoder(Encoder, Protocol):
    """An encoder whose tokens have places on a plane: the image, or leads x time of an ECG."""

    def local_features(self, x: Tensor) -> Tensor:
        """Features of every place, (B, D, h, w), before pooling.

        They went through the same final norm as the pooled feature, so that a projection head trained on that one can
        be laid over them (localisation maps).
        """


@runtime_checkable
class AttendingEncoder(Encoder, Protocol):
    """An encoder of self-attention over a class token and patches, whose attention can be looked at."""

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along leads and along time; the tokens after the class token, one row after another."""

    @property
    def blocks(self) -> nn.Sequential:
        """Blocks of ``transformer.make_blocks``, each with its attention ``attn``."""

    def pooling_shares(self, encoded: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """How much of each token (B, 1 + N, D) after the last block is in the pooled feature: (B, 1 + N), sum 1."""


@runtime_checkable
class LocalStackEncoder(LocalFeatureEncoder, Protocol):
    """An image encoder whose places also tell the images of a subject apart, or groups of them: frames, or slices."""

    @property
    def stack_channels(self) -> int:
        """How often the images run through the stack: once for frames or slices, P times for P phases of slices."""

    def local_stack(self, x: Tensor) -> Tensor:
        """Features of every place, (B, S, D, h, w), in the order of the images; their mean over S is the local one."""


@runtime_checkable
class FrameEncoder(Encoder, Protocol):
    """An image encoder that looks at each cine frame by itself."""

    def frame_features(self, x: Tensor) -> Tensor:
        """One feature per frame: (B, frames, height, width) -> (B, frames, D); their mean is the pooled feature."""


@runtime_checkable
class StandardisingEncoder(Encoder, Protocol):
    """An encoder of measurements, whose scale is that of the training rows and travels with its weights."""

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Keep mean and deviation (M,) of the training rows, both in `state_dict`."""


@runtime_checkable
class AdaptableEncoder(Encoder, Protocol):
    """An encoder that can take weights of one of its class that was built for another input."""

    def adapt_weights(self, weights: Mapping[str, Tensor], input_spec: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights of an encoder of this class with that input specification, made to fit this one.

        Raises:
            UserError: They cannot be made to fit, for instance because the sampling rates differ.
        """


_KINDS: dict[type, str] = {
    Encoder: "an encoder",
    MaskableEncoder: "an encoder for masked autoencoding",
    LayeredEncoder: "an encoder whose layers can be probed (it says channel_axis)",
    VariableLeadEncoder: "an encoder for recordings with missing leads",
    LocalFeatureEncoder: "an encoder with local features",
    AttendingEncoder: "an encoder whose attention over leads and time can be shown, as ECGVisionTransformer is",
    LocalStackEncoder: "an encoder with local features of single frames or slices",
    FrameEncoder: "an encoder with a feature for each cine frame, as ecgcmr.encoders.CMRFrameResNet is",
    StandardisingEncoder: "an encoder of measurements, as ecgcmr.encoders.MeasurementEncoder is",
    AdaptableEncoder: "an encoder that takes weights made for another input",
}


def require_encoder(candidate: Any, contract: type = Encoder) -> Any:
    """Return `candidate` if it meets the encoder contract, or one of those that extend it.

    Args:
        candidate: An encoder.
        contract: Any of this module's Protocols.

    Raises:
        UserError: It is no module, or members are missing; the message lists them.
    """
    name = candidate.__name__ if isinstance(candidate, type) else type(candidate).__name__
    if not (isinstance(candidate, nn.Module) or (isinstance(candidate, type) and issubclass(candidate, nn.Module))):
        raise UserError(f"{name} is not a torch.nn.Module: give an encoder class by class_path (docs/encoders.md)")
    missing = lacking(candidate, contract)
    if missing:
        raise UserError(_lacks(name, contract, missing))
    return candidate


def check_encoder_class(candidate: type, contract: type) -> None:
    """Check by its class, before one is built, that an encoder has the methods of a contract.

    Attributes are left to ``require_encoder``: a constructor may set them.

    Raises:
        UserError: Methods are missing; the message lists them.
    """
    methods = [
        name
        for name in lacking(candidate, contract)
        if inspect.isfunction(inspect.getattr_static(contract, name, None))
    ]
    if methods:
        raise UserError(_lacks(candidate.__name__, contract, methods))


def _lacks(name: str, contract: type, missing: list[str]) -> str:
    return f"{name} is not {_KINDS[contract]}: it lacks {', '.join(missing)} (docs/encoders.md lists the contract)"
