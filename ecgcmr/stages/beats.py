"""Phases of the heartbeat in a batch: of ECG tokens by the R peaks around them, of cine frames by their place."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from data_modules.sampling import crop_starts
from ecgcmr.errors import UserError
from ecgcmr.objectives.cardiac_phase import NO_PEAK, detect_r_peaks

RPeakSource = Literal["stored", "detected"]


def frame_phases(names: tuple[str, ...]) -> list[float]:
    """Phases of a cohort's frames, which run from one R wave to the next.

    Args:
        names: Names of the frames in storage order.

    Raises:
        UserError: They are not the moments of a whole cycle (``t00``, ``t01``, ...).
    """
    if not all(re.fullmatch(r"t\d+", name) for name in names):
        raise UserError(
            f"the phases of the frames {', '.join(names)} are not known: prepare with --content all, or give "
            "model.objective.frame_phases"
        )
    return [number / len(names) for number in range(len(names))]


class BatchRPeaks:
    """R peaks of the ECGs in a batch, in samples of the crop.

    Args:
        source: "stored" takes those of the shards, also beyond the ends of the crop; "detected" finds them in the crop.
    """

    def __init__(self, source: RPeakSource) -> None:
        self.source = source
        self._stored = torch.empty(0, 0, dtype=torch.int64)
        self._starts: tuple[int, Tensor] | None = None

    def load(self, data: Any) -> None:
        """Read all R peaks of the cohort (512 bytes a recording), if they are to be taken from there.

        Raises:
            UserError: The cohort stores none.
        """
        layout = data.index.layout
        if self.source != "stored":
            return
        if layout.ecg is None or layout.ecg.max_beats == 0:
            raise UserError(f"{data.root}: stores no R peaks; prepare with beats, or set model.r_peaks to detected")
        stored = np.full((len(data.index), layout.ecg.max_beats), NO_PEAK, dtype=np.int64)
        places = data.index.locate(np.arange(len(data.index)))
        for shard in range(len(data.index.shards)):
            with data.index.reader(shard) as reader:
                rows = np.flatnonzero(places[:, 0] == shard)
                stored[rows] = reader.column("r_peaks")[places[rows, 1]]
        stored[stored < 0] = NO_PEAK
        self._stored = torch.from_numpy(stored)

    def of(self, batch: dict[str, Tensor], data: Any, epoch: int, training: bool) -> Tensor:
        """Return (B, K) samples from the start of the crop, ascending, then ``NO_PEAK``.

        Args:
            batch: With ``row``, ``ecg`` and, where leads are missing, ``lead_mask``.
            data: The DataModule the batch comes from.
            epoch: Epoch of a training batch.
            training: Whether the ECGs were cropped at random; those of evaluation begin at sample 0.
        """
        rate = data.index.layout.ecg.sampling_rate
        if self.source == "detected":
            ecg = batch["ecg"]
            if "lead_mask" in batch:
                ecg = torch.where(batch["lead_mask"][:, :, None], ecg, ecg.new_zeros(()))
            return detect_r_peaks(ecg, rate)
        row = batch["row"]
        self._stored = self._stored.to(row.device)  # once; looking up on the CPU would wait for the device
        peaks = self._stored[row]
        if training:
            starts = self._crop_starts(data, epoch, row.device)
            peaks = torch.where(peaks == NO_PEAK, peaks, peaks - starts[row][:, None])
        return peaks

    def _crop_starts(self, data: Any, epoch: int, device: torch.device) -> Tensor:
        """Where each row's crop of an epoch begins: as the sampler draws it, from seed, epoch and row alone."""
        if self._starts is None or self._starts[0] != epoch:
            room = data.index.layout.ecg.samples - data.samples
            starts = crop_starts(len(data.index), room, data.seed, epoch)
            self._starts = epoch, torch.from_numpy(starts).to(device)
        return self._starts[1]
