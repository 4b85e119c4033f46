"""Segments of the ECG and cine frames of the same phase of the heartbeat, projected, for the local term of PTACL.

ECG tokens have the phase that the R peaks around them say, cine frames that of their place in the cycle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from data_modules.sampling import crop_starts
from ecgcmr.encoders import FrameEncoder, LocalFeatureEncoder, View, require_encoder
from ecgcmr.errors import UserError
from ecgcmr.objectives.cardiac_phase import NO_PEAK, detect_r_peaks, phases_at
from ecgcmr.stages.protocol import CroppedData, StageData, require_data

if TYPE_CHECKING:
    from ecgcmr.stages.alignment import ECGCMRAlignment

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

    def load(self, data: StageData) -> None:
        """Read all R peaks of the cohort (512 bytes a recording), if they are to be taken from there.

        Raises:
            UserError: The cohort stores none, or the DataModule does not say how it crops.
        """
        layout = data.index.layout
        if self.source != "stored":
            return
        require_data(data, CroppedData, "model.r_peaks stored")
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

    def of(self, batch: Mapping[str, Tensor], data: CroppedData, epoch: int, training: bool) -> Tensor:
        """Return (B, K) samples from the start of the crop, ascending, then ``NO_PEAK``.

        Args:
            batch: With ``row``, ``ecg`` and, where leads are missing, ``lead_mask``.
            data: The DataModule the batch comes from.
            epoch: Epoch of a training batch.
            training: Whether the ECGs were cropped at random; those of evaluation begin at sample 0.
        """
        if self.source == "detected":
            ecg, lead_mask = View.from_batch(batch, "ecg")
            if lead_mask is not None:
                ecg = torch.where(lead_mask[:, :, None], ecg, ecg.new_zeros(()))
            return detect_r_peaks(ecg, data.input_spec["ecg"]["sampling_rate"])
        row = batch["row"]
        self._stored = self._stored.to(row.device)  # once; looking up on the CPU would wait for the device
        peaks = self._stored[row]
        if training:
            starts = self._crop_starts(data, epoch, row.device)
            peaks = torch.where(peaks == NO_PEAK, peaks, peaks - starts[row][:, None])
        return peaks

    def _crop_starts(self, data: CroppedData, epoch: int, device: torch.device) -> Tensor:
        """Where each row's crop of an epoch begins: as the sampler draws it, from seed, epoch and row alone."""
        if self._starts is None or self._starts[0] != epoch:
            ecg = data.index.layout.ecg
            room = 0 if ecg is None else ecg.samples - data.samples
            starts = crop_starts(len(data.index), room, data.seed, epoch)
            self._starts = epoch, torch.from_numpy(starts).to(device)
        return self._starts[1]


class CycleSegments:
    """What ``PTACLLoss`` needs beside the two projections.

    Args:
        stage: The alignment stage; its encoders, projections and objective are used as they are.
        r_peaks: Where R peaks come from.

    Raises:
        UserError: An encoder has no local features, or none for each frame.
    """

    def __init__(self, stage: ECGCMRAlignment, r_peaks: RPeakSource) -> None:
        require_encoder(stage.ecg_encoder, LocalFeatureEncoder)
        require_encoder(stage.cmr_encoder, FrameEncoder)
        self._stage = [stage]  # not the module itself: it would be its own child
        self._r_peaks = BatchRPeaks(r_peaks)
        self._frame_phase = torch.empty(0)

    def load(self, data: StageData) -> None:
        """Read R peaks and the frames' phases from the DataModule.

        Raises:
            UserError: They are not known.
        """
        cmr = data.index.layout.cmr
        names = () if cmr is None else cmr.frames
        given = self._stage[0].objective.frame_phases
        if given is not None and len(given) != len(names):
            raise UserError(f"model.objective.frame_phases has {len(given)} numbers, the cohort {len(names)} frames")
        self._frame_phase = torch.tensor(given if given is not None else frame_phases(names))
        self._r_peaks.load(data)

    def of(self, batch: Mapping[str, Tensor], frames: Tensor) -> dict[str, Tensor]:
        """Return the projected segments of a batch.

        Args:
            batch: With ``ecg``, ``row`` and, where leads are missing, ``lead_mask``.
            frames: (B, F, D) features of the frames.
        """
        stage = self._stage[0]
        tokens = _moments(stage.ecg_encoder, View.from_batch(batch, "ecg")).transpose(1, 2)
        spec = stage.ecg_encoder.input_spec
        count = tokens.shape[1]
        centres = (torch.arange(count, device=tokens.device) + 0.5) * (spec.samples / count)
        self._frame_phase = self._frame_phase.to(frames.device)  # once; from a list it would wait for the device
        peaks = self._r_peaks.of(batch, cast(CroppedData, stage.data), stage.current_epoch, stage.training)
        return stage.objective.segments(
            _rows(stage.ecg_projection, tokens),
            phases_at(centres, peaks, spec.sampling_rate),
            _rows(stage.cmr_projection, frames),
            self._frame_phase,
        )


def _moments(encoder: LocalFeatureEncoder, view: View) -> Tensor:
    """Return local features averaged over the recorded leads, (B, D, N): what lies at one time is one segment."""
    local = view.local_features(encoder)
    if view.lead_mask is None:
        return local.mean(dim=2)
    mask = view.lead_mask[:, None, :, None]
    return torch.where(mask, local, local.new_zeros(())).sum(dim=2) / mask.sum(dim=2)


def _rows(projection: nn.Module, x: Tensor) -> Tensor:
    """Apply a projection head to (B, N, D)."""
    return projection(x.flatten(0, 1)).unflatten(0, x.shape[:2])
