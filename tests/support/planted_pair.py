"""A pair of encoders made by hand that reads one lead's QRS and one quadrant of the image, and a cohort to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecgcmr.encoders import CMRInput, ECGInput
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.pair import AlignedPair
from ecgcmr.shards import CMRLayout, ECGLayout, Layout, ShardIndex, ShardRows, write_index, write_shard

SUBJECTS, SAMPLES, SIDE, FRAMES = 12, 500, 64, ("ES", "ED")
LEAD, TOKEN, CELLS = 1, 5, 16
QRS = ((100, 150), (300, 350))
_BOUNDS = {"P": (-50, -20), "T": (40, 90)}


class _Planted(nn.Module):
    """Features of three numbers: what is read, and a constant that only this tower has."""

    feature_dim, num_layers = 3, 1

    def __init__(self, place: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.eye(3)[place] * 0.5)

    def what(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _vectors(self, read: Tensor) -> Tensor:
        return read.unsqueeze(-1) * torch.eye(3)[0] + self.constant

    def forward(self, x: Tensor) -> Tensor:
        return self._vectors(self.what(x).mean(dim=(1, 2)) * 20)

    def local_features(self, x: Tensor) -> Tensor:
        return self._vectors(self.what(x)).movedim(-1, 1)

    def forward_tokens(self, x: Tensor) -> Tensor:
        return self.local_features(x).flatten(2).transpose(1, 2)

    def no_weight_decay(self) -> set[str]:
        return set()

    def layer_of(self, name: str) -> int:
        return 0


class QuadrantReader(_Planted):
    """Reads how bright the upper left quadrant is."""

    def __init__(self) -> None:
        super().__init__(1)
        self.input_spec = CMRInput(len(FRAMES), SIDE, SIDE)

    def what(self, x: Tensor) -> Tensor:
        cells = nn.functional.adaptive_avg_pool2d(x.mean(dim=1, keepdim=True), CELLS)[:, 0]
        mask = torch.zeros(CELLS, CELLS)
        mask[: CELLS // 2, : CELLS // 2] = 1
        return cells * mask


class QRSReader(_Planted):
    """Reads how large one lead is where it is large."""

    def __init__(self) -> None:
        super().__init__(2)
        self.input_spec = ECGInput(12, 500.0, SAMPLES)

    def what(self, x: Tensor) -> Tensor:
        tokens = nn.functional.avg_pool1d(torch.relu(x.abs() - 0.5), TOKEN)
        mask = torch.zeros(12, 1)
        mask[LEAD] = 1
        return tokens * mask


class _Blind(nn.Module):
    """Gives the same features whatever it sees."""

    feature_dim, num_layers = 3, 1

    def __init__(self, spec: Any, grid: tuple[int, int]) -> None:
        super().__init__()
        self.input_spec, self.grid = spec, grid
        self.constant = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.constant.expand(len(x), 3)

    def local_features(self, x: Tensor) -> Tensor:
        return self.constant[None, :, None, None].expand(len(x), 3, *self.grid)

    def forward_tokens(self, x: Tensor) -> Tensor:
        return self.local_features(x).flatten(2).transpose(1, 2)

    def no_weight_decay(self) -> set[str]:
        return set()

    def layer_of(self, name: str) -> int:
        return 0


def planted_pair() -> AlignedPair:
    """Return the pair that reads one lead's QRS and one quadrant."""
    return AlignedPair(QRSReader().eval(), QuadrantReader().eval(), nn.Identity(), nn.Identity())


def blind_pair() -> AlignedPair:
    """Return a pair that reads nothing."""
    ecg, cmr = ECGInput(12, 500.0, SAMPLES), CMRInput(len(FRAMES), SIDE, SIDE)
    return AlignedPair(_Blind(ecg, (1, 50)), _Blind(cmr, (4, 4)), nn.Identity(), nn.Identity())


class PlantedTruth:
    """Masks with the LV cavity in the quadrant that is read, and waves around the planted QRS."""

    has_masks = has_waves = True

    def masks(self, rows: np.ndarray) -> np.ndarray:
        mask = np.zeros((len(rows), len(FRAMES), SIDE, SIDE), dtype=np.uint8)
        mask[..., : SIDE // 2, : SIDE // 2] = 1
        mask[..., SIDE // 2 :, : SIDE // 2] = 2
        mask[..., SIDE // 2 :, SIDE // 2 :] = 3
        return mask

    def r_peaks(self, rows: np.ndarray) -> np.ndarray:
        return np.tile([*[sum(bounds) // 2 for bounds in QRS], -1], (len(rows), 1))

    def waves(self, rows: np.ndarray) -> np.ndarray:
        beats = np.full((len(rows), 3, 8), -1)
        for beat, (start, stop) in enumerate(QRS):
            p, t = [start + edge for edge in _BOUNDS["P"]], [stop + edge for edge in _BOUNDS["T"]]
            beats[:, beat] = [p[0], sum(p) // 2, p[1], start, stop, t[0], sum(t) // 2, t[1]]
        return beats


def planted_context(root: Path, pair: AlignedPair, **changes: Any) -> AnalysisContext:
    """Write a cohort of noise with the planted QRS in all leads, and return a context of it."""
    random = np.random.default_rng(0)
    ecg = 0.1 * random.standard_normal((SUBJECTS, 12, SAMPLES), dtype=np.float32)
    for start, stop in QRS:
        ecg[:, :, start:stop] += 2.0 + random.random((SUBJECTS, 1, 1), dtype=np.float32)
    layout = Layout(
        ECGLayout(samples=SAMPLES), CMRLayout(FRAMES, SIDE, SIDE, 2.5), (), {"ecg": {}, "cmr": {}, "version": 1}
    )
    everyone = np.ones(SUBJECTS, dtype=bool)
    rows = ShardRows(
        subject=[f"{k:032x}" for k in range(SUBJECTS)],
        split=["val"] * 2 + ["test"] * (SUBJECTS - 2),
        ecg=ecg,
        has_ecg=everyone,
        cmr=random.integers(100, 256, (SUBJECTS, len(FRAMES), SIDE, SIDE)).astype(np.uint8),
        has_cmr=everyone,
        labels=np.zeros((SUBJECTS, 0), dtype=np.float32),
    )
    write_index(root, layout, [write_shard(root / "shards" / "shard-00000.h5", layout, rows)])
    index = ShardIndex.load(root)
    given: dict[str, Any] = {"truth": PlantedTruth(), "block": 4, **changes}
    return AnalysisContext(index, index.positions("test"), pair.ecg_encoder, pair=pair, **given)
