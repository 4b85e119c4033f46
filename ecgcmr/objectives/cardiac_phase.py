"""Where in the heartbeat a moment lies, and averages over moments of one phase.

Phase runs from 0 at an R peak to 1 at the next, as the frames of a cine do. Everything is batched and waits for nothing
on the device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

NO_PEAK = 2**30
"""Stands behind the last R peak of a recording that has fewer than others."""
SHORTEST_BEAT, LONGEST_BEAT = 0.25, 2.5
"""Seconds between R peaks that are believed: 240 to 24 beats a minute."""
_SLOPE, _SMOOTHING, _APART = 0.008, 0.1, 0.2  # s: of the slope, the QRS complex, and between two of them at least
_WINDOW, _SHARE = 1.5, 0.3  # s in which a beat is expected, and share of the typical beat's energy that makes another


def detect_r_peaks(ecg: Tensor, sampling_rate: float) -> Tensor:
    """Find QRS complexes of a batch by the energy of all leads' slopes.

    After Pan and Tompkins (1985, IEEE Trans. Biomed. Eng. 32:230): slope, square, moving sum, threshold. It serves
    recordings whose R peaks were not stored; preparation's detector looks closer at each.

    Args:
        ecg: (B, leads, T); NaN, as of a missing lead, counts as flat.
        sampling_rate: Hz.

    Returns:
        (B, K) int64 samples, ascending, then ``NO_PEAK``.
    """
    batch, _, samples = ecg.shape
    lag, smoothing = max(1, round(_SLOPE * sampling_rate)), round(_SMOOTHING * sampling_rate) | 1
    apart, window = round(_APART * sampling_rate), min(round(_WINDOW * sampling_rate), samples)
    x = ecg.detach().float().nan_to_num(0.0)
    slope = F.pad(x[..., 2 * lag :] - x[..., : -2 * lag], (lag, lag))
    energy = F.avg_pool1d(slope.square().mean(dim=1, keepdim=True), smoothing, 1, smoothing // 2)
    typical = F.max_pool1d(energy, window, window).median(dim=-1, keepdim=True).values
    # The place of the maximum and not its value, so that of equal ones only the first is a peak.
    _, highest = F.max_pool1d(energy, 2 * apart + 1, 1, apart, return_indices=True)
    places = torch.arange(samples, device=ecg.device).expand(batch, -1)
    is_peak = (highest[:, 0] == places) & (energy > _SHARE * typical)[:, 0]
    most = samples // (apart + 1) + 1
    return places.masked_fill(~is_peak, NO_PEAK).topk(most, dim=1, largest=False).values.sort(dim=1).values


def phases_at(moments: Tensor, r_peaks: Tensor, sampling_rate: float) -> Tensor:
    """Phase of moments within the beat around them.

    Args:
        moments: (N,) sample positions.
        r_peaks: (B, K) sample positions, ascending, then ``NO_PEAK``; they may lie outside of the crop.
        sampling_rate: Hz.

    Returns:
        (B, N) float32 in [0, 1); NaN before the first and after the last peak and in a beat of incredible length.
    """
    peaks = F.pad(r_peaks.float(), (1, 1), value=float(NO_PEAK)).contiguous()
    peaks[:, 0] = -float(NO_PEAK)
    wanted = moments.float().expand(len(peaks), -1).contiguous()
    after = torch.searchsorted(peaks, wanted, right=True).clamp(max=peaks.shape[1] - 1)
    start, end = peaks.gather(1, after - 1), peaks.gather(1, after)
    seconds = (end - start) / sampling_rate
    believed = (seconds >= SHORTEST_BEAT) & (seconds <= LONGEST_BEAT)
    return ((wanted - start) / (end - start).clamp(min=1.0)).masked_fill(~believed, float("nan"))


def average_by_phase(x: Tensor, phase: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Average what lies nearest to each of K phases, no farther from it than 1 / 2K.

    Args:
        x: (B, N, D).
        phase: (B, N) in [0, 1), NaN = unknown.
        centres: (K,) in [0, 1); the cycle closes, so 0.99 lies next to 0.

    Returns:
        Averages (B, K, D), 0 where there is nothing, and whether there is something (B, K).
    """
    count = len(centres)
    distance = ((phase[:, :, None] - centres + 0.5).remainder(1.0) - 0.5).abs().nan_to_num(1.0)
    nearest = F.one_hot(distance.argmin(dim=2), count).bool()
    # A little more than half a step, so that rounding leaves no gap between two centres.
    chosen = (nearest & (distance <= 0.5 / count + 1e-4)).to(x.dtype)
    number = chosen.sum(dim=1)
    return chosen.transpose(1, 2) @ x / number.clamp(min=1.0)[:, :, None], number > 0
