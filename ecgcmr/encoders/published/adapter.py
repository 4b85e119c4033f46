"""From recordings in mV, of any rate, to what a published network was trained on: planned once, applied in torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ecgcmr.encoders.published.input_steps import Cut, PickLeads, Shape, Step, precise
from ecgcmr.errors import UserError
from ecgcmr.leads import LEADS


@dataclass(frozen=True)
class PublishedInput:
    """What a published network sees.

    Attributes:
        leads: Names of its leads, in its order.
        sampling_rate: Hz.
        samples: Of each lead.
        steps: From the twelve standard leads in mV to that, in order. Steps behind a ``Cut`` see each piece by itself.
        any_length: Whether the network takes other numbers of samples too.
        unit: Of the recordings that the steps begin with.
    """

    leads: tuple[str, ...]
    sampling_rate: float
    samples: int
    steps: tuple[Step, ...]
    any_length: bool = False
    unit: str = "mV"

    @property
    def seconds(self) -> float:
        """Length of what the network sees at once."""
        return self.samples / self.sampling_rate

    def variant(self, samples: int | None = None, leads: tuple[str, ...] | None = None) -> PublishedInput:
        """Return the same for a network of another length, or of other leads."""
        samples, leads = samples or self.samples, leads or self.leads
        steps: list[Step] = []
        for step in self.steps:
            if isinstance(step, PickLeads):
                step = PickLeads(leads)
            elif isinstance(step, Cut) and samples != self.samples:
                step = Cut(round(step.samples * samples / self.samples))
            steps.append(step)
        return dataclasses.replace(self, samples=samples, leads=leads, steps=tuple(steps))


class InputAdapter:
    """Makes a network's input, where the batch lies; it has no weights.

    Args:
        published: What the network sees.
        samples: Of the recordings that are given, (B, 12, samples).
        sampling_rate: Theirs, in Hz.
        pieces: Pieces of a recording that are looked at one by one, where the steps cut any.

    Raises:
        UserError: The steps do not lead from such recordings to what the network sees.
    """

    def __init__(self, published: PublishedInput, samples: int, sampling_rate: float, pieces: int = 1) -> None:
        cuts = any(isinstance(step, Cut) for step in published.steps)
        if pieces > 1 and not cuts:
            raise UserError(f"pieces {pieces}: this network takes whole recordings; data.evaluation_windows cuts them")
        steps = [
            dataclasses.replace(step, pieces=pieces) if isinstance(step, Cut) else step for step in published.steps
        ]
        shape = Shape(len(LEADS), samples, sampling_rate)
        self.operations = []
        for step in steps:
            operation, shape = step.plan(shape)
            self.operations.append(operation)
        self.samples = samples
        self.cuts = cuts
        self.pieces = pieces
        self.made = shape
        if not published.any_length and not _same_length(shape, published):
            needed = math.ceil(published.seconds * sampling_rate - 1e-6)
            raise UserError(
                f"samples {samples} at {sampling_rate:g} Hz become {shape.samples} samples, the network takes "
                f"{published.samples} ({published.seconds:g} s): set samples: {needed}"
            )

    def __call__(self, x: Tensor) -> Tensor:
        """(B, 12, T) in mV -> (B, pieces, leads, samples of the network), in the type of x."""
        if x.shape[0] == 0:
            return x.new_zeros(0, self.pieces, self.made.leads, self.made.samples)
        with torch.autocast(x.device.type, enabled=False):
            made = x.to(precise(x.device))
            for operation in self.operations:
                made = operation(made)
            made = made if self.cuts else made.unsqueeze(1)
        return made.to(x.dtype)


def _same_length(shape: Shape, published: PublishedInput) -> bool:
    """Compare all samples: those of one row in place of several are counted together."""
    return shape.samples * shape.leads == published.samples * len(published.leads)
