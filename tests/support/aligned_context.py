"""Contexts for analyses: an untrained pair on the synthetic cohort, and an encoder that reads what was planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from planted_cohort import SAMPLES, STORED
from tiny_configs import CMR_ENCODER, ENCODER
from torch import Tensor, nn

from ecgcmr.encoders import CMRResNet, ECGInput, ECGVisionTransformer
from ecgcmr.interpretation.context import AnalysisContext, in_evaluation
from ecgcmr.interpretation.pair import AlignedPair
from ecgcmr.objectives.projection import projection_head
from ecgcmr.shards import ShardIndex


def untrained_context(root: Path, split: str = "test", **options: Any) -> AnalysisContext:
    """Return a context of a split of ``cohort_root`` with a pair of random weights, the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ecg: Any = ECGVisionTransformer(**ENCODER["init_args"])
        cmr: Any = CMRResNet(**CMR_ENCODER["init_args"])
        heads = [projection_head(encoder.feature_dim, 16, 8) for encoder in (ecg, cmr)]
    networks: list[Any] = [in_evaluation(network, torch.device("cpu")) for network in (ecg, cmr, *heads)]
    index = ShardIndex.load(root)
    return AnalysisContext(index, index.positions(split), networks[0], AlignedPair(*networks), block=5, **options)


class PlantedEncoder(nn.Module):
    """Reads how strong the planted pulses of leads I and V1 are, and six leads' first samples, which are noise.

    Its features are scaled, so that an untrained copy, whose scale is drawn anew, is another encoder.
    """

    input_spec = ECGInput(12, 500.0, SAMPLES)
    feature_dim, num_layers = 8, 1

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(12 * SAMPLES, 8, bias=False)
        pulse = torch.sin(torch.linspace(0, 12, STORED))[:SAMPLES]
        weight = torch.zeros(8, 12, SAMPLES)
        weight[0, 0], weight[1, 6] = pulse / pulse.square().sum(), pulse / pulse.square().sum()
        for k in range(6):
            weight[2 + k, 1 + k % 5, k] = 1.0
        self.read.weight = nn.Parameter(weight.flatten(1))

    def forward_tokens(self, x: Tensor) -> Tensor:
        return self(x).unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x.flatten(1))

    def no_weight_decay(self) -> set[str]:
        return set()

    def layer_of(self, name: str) -> int:
        return 1


def planted_context(root: Path, rows: np.ndarray | None = None) -> AnalysisContext:
    """Return a context of the planted cohort's test rows, or of others, with the encoder that reads them."""
    index = ShardIndex.load(root)
    chosen = index.positions("test", need=("ecg",)) if rows is None else rows
    return AnalysisContext(index, chosen, in_evaluation(PlantedEncoder(), torch.device("cpu")))
