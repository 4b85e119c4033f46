"""A published encoder by its name, with the making of its input: what is given are recordings in mV."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.published.adapter import InputAdapter
from ecgcmr.encoders.published.registry import PublishedNetwork, published_encoder
from ecgcmr.errors import UserError
from ecgcmr.leads import LEADS
from ecgcmr.option_checks import check_least

RATE = 500.0
"""Hz of the recordings that are given, unless it is said."""


class PublishedECG(nn.Module):
    """A published network behind the preparation that it was trained with.

    It is given the twelve standard leads in mV, of a cohort that was prepared with ``--cleaning none``, and makes the
    network's input of them where the batch lies: its leads in its order, its rate, filters, scale and pieces. The
    feature is the mean over a recording's pieces; their tokens stand one piece after the other.

    Args:
        name: Of the registry, as ``ecgcmr import-weights --as`` takes it.
        samples: Of the recordings that are given; None: as long as the network's own input.
        sampling_rate: Theirs in Hz.
        pieces: Pieces of a recording, evenly spaced, where the published preparation cuts them out of longer ones.
        preparation: ``published``, or another of the names that the registry has for it.
        sizes: Arguments of the network that are not to be the published ones.

    Raises:
        UserError: Name or preparation is unknown, or recordings of that length and rate do not become the input.
    """

    def __init__(
        self,
        name: str,
        samples: int | None = None,
        sampling_rate: float = RATE,
        pieces: int = 1,
        preparation: str = "published",
        sizes: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        entry = published_encoder(name)
        if not 0 < sampling_rate < math.inf:
            raise UserError(f"{name}: sampling_rate {sampling_rate}: must be a number of Hz above 0")
        check_least(1, pieces=pieces, **({} if samples is None else {"samples": samples}))
        given = {**entry.init_args, **(sizes or {})}
        takes = entry.input_as(preparation, given)
        length = round(takes.seconds * sampling_rate) if samples is None else samples
        try:
            self._adapter = InputAdapter(takes, length, float(sampling_rate), pieces)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        if takes.any_length:
            given["samples"] = self._adapter.made.samples
        network: Any = build_network(entry, given)
        self.network: Any = network
        self.name = name
        steps = tuple(str(step) for step in takes.steps)
        self.input_spec = ECGInput(
            len(LEADS), float(sampling_rate), length, tuple(range(len(LEADS))), takes.unit, steps
        )
        self.feature_dim: int = network.feature_dim
        self.num_layers: int = network.num_layers
        self.channel_axis: int = network.channel_axis

    def network_input(self, x: Tensor) -> Tensor:
        """Make the network's input of recordings: (B, 12, samples) mV -> (B, pieces, its leads, its samples).

        Raises:
            ValueError: `x` is not as ``input_spec`` says.
        """
        self.input_spec.check(x)
        made, spec = self._adapter(x), self.network.input_spec
        shape = (spec.leads, spec.samples)
        return made if made.shape[2:] == shape else made.unflatten(-1, shape).squeeze(2)  # one row of all leads

    def forward_tokens(self, x: Tensor) -> Tensor:
        """Tokens (B, pieces * N, D) of recordings (B, 12, samples) in mV."""
        tokens = [self.network.forward_tokens(piece) for piece in self.network_input(x).unbind(1)]
        return torch.cat(tokens, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, D) of recordings (B, 12, samples) in mV: the mean over their pieces."""
        return torch.stack([self.network(piece) for piece in self.network_input(x).unbind(1)]).mean(dim=0)

    def no_weight_decay(self) -> set[str]:
        """Those of the network."""
        return {f"network.{name}" for name in self.network.no_weight_decay()}

    def layer_of(self, name: str) -> int:
        """Layer of a parameter in the network."""
        return self.network.layer_of(name.removeprefix("network."))

    def adapt_weights(self, weights: Mapping[str, Tensor], input_spec: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights of the same network for recordings of another rate or length, unchanged: they see neither."""
        return dict(weights)


def build_network(entry: PublishedNetwork, arguments: Mapping[str, Any]) -> nn.Module:
    """Build the bare network of a registry's entry.

    Raises:
        UserError: It has no such arguments, or they do not fit each other.
    """
    module, _, name = entry.class_path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)(**arguments)
    except TypeError as error:
        raise UserError(f"sizes of {entry.name} do not fit {name} ({error})") from error
