"""A cohort of planted ECGs in shards, an encoder that reads one lead's QRS alone, and contexts of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from planted_outputs import V2, beating_ecgs
from torch import Tensor, nn

from ecgcmr.encoders import ECGInput
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.recording_features import RecordingFeatures
from ecgcmr.interpretation.target_readout import DownstreamReadout
from ecgcmr.leads import LEADS
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.index_writer import write_index
from ecgcmr.shards.layout import CMRLayout, ECGLayout, Layout
from ecgcmr.shards.shard import Beats, LeadQuality, ShardRows, write_shard

SAMPLES = 3000
_LEAST = 1.25  # T waves of the planted ECGs stay below, their QRS complexes do not


class HeightOfV2(nn.Module):
    """Reads how far lead V2 exceeds what its T wave reaches."""

    def __init__(self, samples: int = 1000) -> None:
        super().__init__()
        self.input_spec = ECGInput(len(LEADS), 500.0, samples)
        self.feature_dim, self.num_layers = 2, 1
        self.read = nn.Linear(1, 2)
        with torch.no_grad():  # weights by chance may be so small that no recording differs from the baseline
            self.read.weight.copy_(torch.tensor([[1.0], [-0.5]]))
            self.read.bias.zero_()

    def forward_tokens(self, x: Tensor) -> Tensor:
        above = torch.relu(x[:, V2].square() - _LEAST**2)
        return self.read(above[:, :, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_tokens(x).mean(dim=1)

    def no_weight_decay(self) -> set[str]:
        return set()

    def layer_of(self, name: str) -> int:
        return 1


@dataclass(frozen=True)
class KnownWaves:
    waves_of_all: np.ndarray
    has_masks: bool = False
    has_waves: bool = True

    def masks(self, rows: np.ndarray) -> np.ndarray:
        raise AssertionError("nobody segmented these")

    def r_peaks(self, rows: np.ndarray) -> np.ndarray:
        return self.waves_of_all[rows, :, 3] + 24

    def waves(self, rows: np.ndarray) -> np.ndarray:
        return self.waves_of_all[rows]


def write_beating_cohort(root: Path, count: int = 6, flags: np.ndarray | None = None) -> tuple[ShardIndex, np.ndarray]:
    """Write recordings of 6 s, two of each subject, with frames of 8 x 8 pixels; return them and their waves."""
    signals, waves, r_peaks = beating_ecgs(count, SAMPLES)
    ecg = ECGLayout(samples=SAMPLES, max_beats=waves.shape[1] if flags is not None else 0, quality=flags is not None)
    layout = Layout(ecg, CMRLayout(("ES", "mid", "ED"), 8, 8, 10.0), (), {})
    frames = np.random.default_rng(0).integers(0, 255, (count, 3, 8, 8)).astype(np.uint8)
    everyone = np.ones(count, dtype=bool)
    rows = ShardRows(
        [f"{row // 2:032x}" for row in range(count)], ["test"] * count, signals, everyone, frames, everyone,
        np.empty((count, 0), np.float32),
        beats=None if flags is None else Beats(r_peaks.astype(np.int16), waves.astype(np.int16)),
        quality=None if flags is None else LeadQuality(flags, np.ones(flags.shape, np.float32)),
    )  # fmt: skip
    entry = write_shard(root / "shards" / "shard-00000.h5", layout, rows)
    return write_index(root, layout, [entry], extra={"code": "test"}), waves


def readout_on(encoder: nn.Module, windows: int = 1, leave_out: tuple[str, ...] = ()) -> DownstreamReadout:
    encoder.eval().requires_grad_(False)
    weight = torch.randn(2, int(encoder.feature_dim), generator=torch.Generator().manual_seed(1))
    features = RecordingFeatures(encoder, None, windows, leave_out)
    titles = ("LV mass", "LV volume")
    return DownstreamReadout(
        features, 20 * weight, torch.tensor([100.0, 50.0]), ("lv_mass", "lv_edv"), titles, ("g", "mL")
    )


def context_of(
    index: ShardIndex, readout: DownstreamReadout, waves: np.ndarray | None = None, **options
) -> AnalysisContext:
    truth = None if waves is None else KnownWaves(waves)
    encoder = readout.features.encoder
    rows = np.arange(len(index))
    return AnalysisContext(
        index, rows, encoder, readout=readout, truth=truth, windows=readout.features.windows, block=4, **options
    )
