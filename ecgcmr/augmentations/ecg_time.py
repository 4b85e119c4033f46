"""ECG augmentations of time: crop and stretch, flip, shift, permuted segments, undersampling, blanked stretches.

Samples are picked by whole-number arithmetic, so places do not depend on the precision of the batch.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ecgcmr.augmentations.augmentation import (
    PerRecording,
    between,
    check_not_negative,
    check_positive,
    check_probability,
    checked_range,
    whole_number,
)
from ecgcmr.errors import UserError
from ecgcmr.row_random import uniform


def _samples_of(x: Tensor) -> Tensor:
    """Number the samples of a batch (..., samples)."""
    return torch.arange(x.shape[-1], device=x.device)


def _pick(x: Tensor, source: Tensor) -> Tensor:
    """Return x (B, leads, samples) at source (B, samples), the same in all leads."""
    return x.gather(2, source[:, None].expand_as(x))


class CropResize(PerRecording):
    """A stretch of the recording, linearly interpolated to the whole length; the heart beats slower by as much.

    As in Turgut et al. (arXiv 2308.05764), output sample j of n lies at j crop / (n - 1), no further than the last
    sample of the crop.

    Args:
        scale: Range of the share that is kept.
        probability: Share of recordings changed.

    Raises:
        UserError: A number lies outside its range.
    """

    uniforms = 2  # share and start

    def __init__(self, scale: tuple[float, float] = (0.75, 0.75), probability: float = 0.5) -> None:
        super().__init__(probability)
        self.scale = checked_range("scale of the crop", scale, 0.0, 1.0)
        check_positive("scale of the crop", scale[0])

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        share, start = draws[0].T
        samples, last = x.shape[-1], x.shape[-1] - 1
        if last < 1:
            return x
        crop = (between(self.scale, share) * samples).long().clamp(1, samples)
        first = whole_number(start, samples - crop + 1)[:, None]
        crop = crop[:, None]
        steps = _samples_of(x) * crop
        place, rest = steps // last, steps % last
        weight = torch.where(place >= crop - 1, 0, rest).to(x.dtype) / last
        left = first + torch.minimum(place, crop - 1)
        right = (left + 1).clamp(max=last)
        return torch.lerp(_pick(x, left), _pick(x, right), weight[:, None])


class TimeFlip(PerRecording):
    """Run backwards. The T wave then comes before the QRS complex, so a diagnosis may not survive it.

    Args:
        probability: Share of recordings changed.
    """

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        return x.flip(-1)


class TimeShift(PerRecording):
    """Move all leads earlier or later by a whole number of samples, which may be 0.

    Args:
        seconds: Shifts are drawn from +- this; never more than the recording.
        wrap: Whether what leaves at one end comes in at the other; else zeros come in, as published.
        sampling_rate: In Hz.
        probability: Share of recordings changed.

    Raises:
        UserError: A number lies outside its range.
    """

    uniforms = 1

    def __init__(
        self, seconds: float = 1.0, wrap: bool = False, sampling_rate: float = 500.0, probability: float = 0.5
    ) -> None:
        super().__init__(probability)
        check_not_negative("seconds of the time shift", seconds)
        check_positive("sampling_rate of the time shift", sampling_rate)
        self.wrap = wrap
        self.sampling_rate = sampling_rate
        self.most = round(seconds * sampling_rate)

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        samples = x.shape[-1]
        most = min(self.most, samples)
        source = _samples_of(x) - (whole_number(draws[0], 2 * most + 1) - most)
        if self.wrap:
            return _pick(x, source % samples)
        inside = (source >= 0) & (source < samples)
        return _pick(x, source.clamp(0, samples - 1)).masked_fill_(~inside[:, None], 0.0)


class SegmentPermutation(PerRecording):
    """Segments of equal length in a random order, all leads alike (Um et al., arXiv 1706.00527).

    The order may come out as it was, once in (number of segments)!.

    Args:
        segments: How many; their lengths differ by at most one sample.
        probability: Share of recordings changed.

    Raises:
        UserError: A number lies outside its range.
    """

    def __init__(self, segments: int = 5, probability: float = 0.5) -> None:
        super().__init__(probability)
        if segments < 1:
            raise UserError(f"segments to permute must be at least 1, got {segments}")
        self.segments = segments

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """One uniform number per segment (B, segments): they come in rising order of these."""
        return (uniform(generator, x, self.segments),)

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        bounds = torch.arange(self.segments + 1, device=x.device) * x.shape[-1] // self.segments
        order = draws[0].argsort(dim=1)
        lengths = (bounds[1:] - bounds[:-1])[order]
        ends = lengths.cumsum(dim=1)
        sample = _samples_of(x).expand(len(x), -1).contiguous()
        slot = torch.searchsorted(ends, sample, right=True)
        offset = bounds[order] - (ends - lengths)  # from where a segment lands to where it comes from
        return _pick(x, sample + offset.gather(1, slot))


class Undersampling(PerRecording):
    """Keep every n-th sample and draw straight lines between them, as a slower recorder would.

    Args:
        step: n; nothing is filtered before, as published. After the last kept sample its value stays.
        probability: Share of recordings changed.

    Raises:
        UserError: A number lies outside its range.
    """

    def __init__(self, step: int = 2, probability: float = 0.5) -> None:
        super().__init__(probability)
        if step < 1:
            raise UserError(f"step of the undersampling must be at least 1, got {step}")
        self.step = step

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        sample = _samples_of(x)
        left = sample - sample % self.step
        last = (x.shape[-1] - 1) // self.step * self.step
        weight = (sample % self.step).to(x.dtype) / self.step
        return torch.lerp(x[..., left], x[..., (left + self.step).clamp(max=last)], weight)


class TimeMasking(PerRecording):
    """Set stretches of equal length that do not overlap to zero.

    Args:
        masked: Share of the samples blanked, rounded to whole stretches.
        seconds: Length of a stretch.
        per_lead: Whether each lead has its own stretches; else all have the same.
        sampling_rate: In Hz.
        probability: Share of recordings changed.

    Raises:
        UserError: A number lies outside its range.
    """

    def __init__(
        self,
        masked: float = 0.25,
        seconds: float = 0.2,
        per_lead: bool = True,
        sampling_rate: float = 500.0,
        probability: float = 0.5,
    ) -> None:
        super().__init__(probability)
        check_probability("masked share of the time masking", masked)
        check_positive("sampling_rate of the time masking", sampling_rate)
        self.sampling_rate = sampling_rate
        self.length = round(seconds * sampling_rate)
        if self.length < 1:
            raise UserError(f"seconds of the time masking must make a sample at least, got {seconds}")
        self.masked = masked
        self.per_lead = per_lead

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """Uniform numbers (B, leads or 1, stretches): where they begin, in any order, among the samples left."""
        return (uniform(generator, x, x.shape[1] if self.per_lead else 1, self._stretches(x)),)

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        stretches = self._stretches(x)
        if stretches == 0:
            return x
        # Places among the samples that stay, then room for the stretches before: all arrangements are equally likely.
        places = whole_number(draws[0], x.shape[-1] - stretches * self.length + 1).sort(dim=-1).values
        starts = places + torch.arange(stretches, device=x.device) * self.length
        sample = _samples_of(x).expand(*starts.shape[:2], -1).contiguous()
        before = torch.searchsorted(starts, sample, right=True) - 1  # the last stretch that has begun
        begun = starts.gather(2, before.clamp(min=0))
        return x.masked_fill((before >= 0) & (sample < begun + self.length), 0.0)

    def _stretches(self, x: Tensor) -> int:
        samples = x.shape[-1]
        return min(round(self.masked * samples / self.length), samples // self.length)
