"""What every analysis is given: a cohort, chosen rows, networks, and blocks of the networks' inputs.

An analysis goes through the rows block by block, so that memory is bounded by a block whatever their number. Inputs
are made as training makes them: windows of the stored record (`ecgcmr.windows`), frames in [0, 1] at the network's
size (`data_modules.batch`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from data_modules.batch import Batch, to_float
from ecgcmr.encoders import CMRInput, ECGInput
from ecgcmr.errors import UserError
from ecgcmr.interpretation.pair import AlignedPair
from ecgcmr.shards import ShardIndex, read_cmr, read_ecgs
from ecgcmr.windows import cut_windows, window_starts

Rows = NDArray[np.int64]


class TargetReadout(Protocol):
    """What a downstream model says of ECGs."""

    names: tuple[str, ...]
    """Of the K outputs."""
    units: tuple[str, ...]
    """Of the K outputs; empty where there is none."""

    def __call__(self, ecg: Tensor) -> Tensor:
        """(b, leads, T) -> (b, K), differentiable; numbers in their units, logits of findings and diseases."""


class Truth(Protocol):
    """What is known of recordings beside themselves, block by block."""

    @property
    def has_masks(self) -> bool:
        """Whether there are masks of any recording."""

    @property
    def has_waves(self) -> bool:
        """Whether there are R peaks and waves."""

    def masks(self, rows: Rows) -> NDArray[np.uint8]:
        """(b, F, H, W) on the pixels of the stored frames: 0 outside, 1 LV cavity, 2 myocardium, 3 RV, 255 unknown."""

    def r_peaks(self, rows: Rows) -> NDArray[np.int64]:
        """(b, beats) samples of the stored record, ascending, then -1."""

    def waves(self, rows: Rows) -> NDArray[np.int64]:
        """(b, beats, 8) samples of the ``WAVES``, -1 where unknown; offsets are the first sample after a wave."""


@dataclass(frozen=True)
class AnalysisContext:
    """A cohort and what was trained on it.

    Attributes:
        index: The cohort.
        rows: (n,) positions in the index of the recordings to look at, each with what the networks take.
        ecg_encoder: Of the model, in evaluation mode on the device.
        pair: Of an alignment, whose ECG encoder is the one above; None: the model has no image encoder.
        readout: Of a downstream model; None: it has no outputs.
        truth: Masks and waves; None: the cohort stores neither.
        windows: Windows of each recording for embeddings and outputs; maps and attributions are of the first alone.
        seed: Of all random draws.
        device: Where the networks are.
        block: Recordings at a time.
        trusted: Modules or classes beside this package's that an encoder may be of.
    """

    index: ShardIndex
    rows: Rows
    ecg_encoder: Any
    pair: AlignedPair | None = None
    readout: TargetReadout | None = None
    truth: Truth | None = None
    windows: int = 1
    seed: int = 0
    device: torch.device = torch.device("cpu")
    block: int = 50
    trusted: tuple[str, ...] = ()

    def check(self) -> None:
        """Compare what the encoders take with what the cohort stores.

        Raises:
            UserError: They differ; the message says in what.
        """
        ecg, spec = self.index.layout.ecg, self.ecg_input
        if ecg is None or (len(ecg.leads), ecg.sampling_rate) != (spec.leads, spec.sampling_rate):
            there = "none" if ecg is None else f"{len(ecg.leads)} leads at {ecg.sampling_rate:g} Hz"
            raise UserError(
                f"{self.index.root}: the encoder takes ECGs of {spec.leads} leads at {spec.sampling_rate:g} Hz, the "
                f"cohort has {there}; prepare it as the model's was"
            )
        if ecg.samples < spec.samples:
            raise UserError(
                f"{self.index.root}: the encoder takes {spec.samples} samples, the cohort stores {ecg.samples}"
            )
        if self.pair is None:
            return
        cmr, image = self.index.layout.cmr, self.cmr_input
        size = None if cmr is None else (cmr.height, cmr.width)
        fits = size == (image.height, image.width) or image.height == image.width
        if cmr is None or len(cmr.frames) != image.frames or not fits:
            there = "none" if cmr is None else f"{len(cmr.frames)} of {cmr.height} x {cmr.width} pixels"
            raise UserError(
                f"{self.index.root}: the image encoder takes {image.frames} frames of {image.height} x {image.width} "
                f"pixels, the cohort has {there}; prepare it as the model's was"
            )

    @property
    def ecg_input(self) -> ECGInput:
        """What the ECG encoder takes."""
        return self.ecg_encoder.input_spec

    @property
    def cmr_input(self) -> CMRInput:
        """What the image encoder takes."""
        return self.require_pair().cmr_encoder.input_spec

    def require_pair(self) -> AlignedPair:
        """Return the pair.

        Raises:
            UserError: There is none.
        """
        if self.pair is None:
            raise UserError("this analysis needs an image encoder: give the run folder of an alignment")
        return self.pair

    def require_truth(self) -> Truth:
        """Return what is known of the recordings.

        Raises:
            UserError: Nothing is.
        """
        if self.truth is None:
            raise UserError(f"{self.index.root}: stores neither masks nor waves; prepare it again")
        return self.truth

    def generator(self, purpose: str) -> np.random.Generator:
        """Return a generator of a purpose of its own, whatever else was drawn before."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])

    def subjects(self, rows: Rows | None = None) -> NDArray[np.str_]:
        """Return the hashed subjects (n,) of rows, for intervals by subject; of all chosen rows if none are given."""
        return self.index.subjects(self.rows if rows is None else rows)

    def row_blocks(self) -> Iterator[Rows]:
        """Yield the chosen rows, a block at a time."""
        for start in range(0, len(self.rows), self.block):
            yield self.rows[start : start + self.block]

    def ecg_blocks(self) -> Iterator[tuple[Rows, Tensor]]:
        """Yield (rows, x (b, leads, T)): the first window of each recording, on the device."""
        for rows in self.row_blocks():
            yield rows, self.ecg(rows)

    def window_blocks(self) -> Iterator[tuple[Rows, Tensor]]:
        """Yield (rows, x (b, windows, leads, T)), on the device; ``ecgcmr.encoders.readout.read_out`` takes them."""
        for rows in self.row_blocks():
            yield rows, self.ecg_windows(rows)

    def cmr_blocks(self) -> Iterator[tuple[Rows, Tensor]]:
        """Yield (rows, x (b, F, H, W)) in [0, 1] at the image encoder's size, on the device."""
        for rows in self.row_blocks():
            yield rows, self.cmr(rows)

    def ecg(self, rows: Rows) -> Tensor:
        """Return the first window of recordings, (b, leads, T)."""
        return torch.from_numpy(read_ecgs(self.index, rows, length=self.ecg_input.samples)).to(self.device)

    def ecg_windows(self, rows: Rows) -> Tensor:
        """Return all windows of recordings, (b, windows, leads, T).

        Raises:
            UserError: The recordings have no place for so many.
        """
        stored, samples = self.index.layout.ecg, self.ecg_input.samples
        if stored is None:
            raise UserError(f"{self.index.root}: this cohort holds no ECGs")
        length = window_starts(stored.samples, samples, self.windows, "windows")[-1] + samples
        ecg = torch.from_numpy(read_ecgs(self.index, rows, length=length)).to(self.device)
        return cut_windows(ecg, samples, self.windows)

    def cmr(self, rows: Rows) -> Tensor:
        """Return frames, (b, F, H, W) in [0, 1] at the image encoder's size."""
        frames, spec = torch.from_numpy(read_cmr(self.index, rows)).to(self.device), self.cmr_input
        batch: Batch = {"cmr": frames}
        stored_so = frames.shape[-2:] == (spec.height, spec.width)
        return to_float(batch, None if stored_so else spec.height)["cmr"]

    def masks(self, rows: Rows) -> NDArray[np.uint8]:
        """Return the regions (b, F, H, W) of frames at the image encoder's size, see ``Truth.masks``."""
        masks = torch.from_numpy(self.require_truth().masks(rows))
        size = (self.cmr_input.height, self.cmr_input.width)
        return (masks if masks.shape[-2:] == size else F.interpolate(masks, size, mode="nearest-exact")).numpy()

    def r_peaks(self, rows: Rows) -> NDArray[np.int64]:
        """Return R peaks of recordings, see ``Truth.r_peaks``; the first window starts at sample 0 of the record."""
        return self.require_truth().r_peaks(rows)

    def waves(self, rows: Rows) -> NDArray[np.int64]:
        """Return bounds of waves of recordings, see ``Truth.waves``."""
        return self.require_truth().waves(rows)


def in_evaluation(network: nn.Module, device: torch.device) -> nn.Module:
    """Return a network in evaluation mode on a device, its weights without gradients."""
    return network.eval().requires_grad_(False).to(device)
