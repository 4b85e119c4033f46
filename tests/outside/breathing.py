"""What a belt around the chest adds: the amplitude of a recording rises and falls with its breaths."""

import torch
from torch import Generator, Tensor

from ecgcmr.row_random import uniform


class Breathing:
    """Modulates recordings (B, leads, samples), each by its own depth, rate and phase."""

    def __init__(self, depth: float = 0.1, sampling_rate: float = 500.0) -> None:
        self.depth = depth
        self.sampling_rate = sampling_rate  # Hz; a cohort of another rate is refused

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        depth, rate, phase = uniform(generator, x, 3).unbind(1)  # (B,) each, in [0, 1)
        seconds = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype) / self.sampling_rate
        turns = (0.2 + 0.2 * rate[:, None]) * seconds + phase[:, None]
        return x * (1.0 + self.depth * depth[:, None] * (2.0 * torch.pi * turns).sin())[:, None]
