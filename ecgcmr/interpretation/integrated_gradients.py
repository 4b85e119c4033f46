"""Integrated gradients of one number that a network gives for an ECG (Sundararajan et al. 2017).

The gradient is integrated along the straight line from a baseline to the recording. What a sample gets, summed over all
samples, is the difference of the two outputs (completeness). That holds for every piece of the line as well, so that
the error of each piece is known from two outputs: pieces are halved until it is small. A network that normalises its
input turns sharply near a flat baseline; halving puts the steps there, and only there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ecgcmr.errors import UserError

Output = Callable[..., Tensor]
"""Recordings (m, leads, T), and what belongs to each of them, (m, ...) -> the number to explain, (m,)."""

TOLERANCE = 0.01
NODES = 4
"""Gradients on a piece of the line, at the nodes of Gauss and Legendre."""
_PIECES = 4  # at first: of fewer, errors of one sign and the other could cancel by chance
_NARROW = 2.0  # lines: at first a piece may err as much as a whole line, for few err at all, and not to one side
_STRICTER, _NARROWEST = 0.2, 1e-3  # from one attempt to the next, and where attempts end
_ROUNDING = 1e-5  # of the outputs: float32 through a network is no more exact


@dataclass(frozen=True)
class Attributions:
    """How much each sample added to an output, of n recordings.

    Attributes:
        values: (n, leads, T) float32, in the unit of the output.
        output: (n,) float64, at the recordings.
        baseline: (n,) float64, at the baselines.
        error: (n,) float64, the sum of ``values`` less the difference of the outputs, without sign.
        tolerance: (n,) float64, what the error may be.
        steps: (n,) int64, gradients that were taken.
    """

    values: Tensor
    output: Tensor
    baseline: Tensor
    error: Tensor
    tolerance: Tensor
    steps: Tensor

    @property
    def complete(self) -> Tensor:
        """(n,) bool, whether the sum is the difference of the outputs."""
        return self.error <= self.tolerance

    @property
    def resolved(self) -> Tensor:
        """(n,) bool, whether the outputs differ by so much that rounding leaves their difference's share of error."""
        return self.tolerance > _ROUNDING * torch.maximum(self.output.abs(), self.baseline.abs())


def integrated_gradients(
    output: Output,
    x: Tensor,
    baseline: Tensor,
    given: Sequence[Tensor] = (),
    *,
    tolerance: float = TOLERANCE,
    most_steps: int = 2048,
    batch: int = 64,
) -> Attributions:
    """Attribute an output to the samples of recordings.

    Args:
        output: The number to explain; the recordings of a batch must not meet in it (evaluation mode).
        x: (n, leads, T).
        baseline: The same shape, or one that broadcasts to it.
        given: What belongs to each recording beside it, (n, ...) each.
        tolerance: Allowed error as a share of the difference of the outputs.
        most_steps: Gradients of a recording at most; where they do not suffice, ``complete`` says so.
        batch: Recordings that go through the network together, which bounds memory and changes nothing else.

    Returns:
        The attributions, on the device of ``x``.

    Raises:
        UserError: A recording, baseline or output is not finite.
    """
    baseline = baseline.to(x).expand_as(x)
    for name, values in (("recordings", x), ("baselines", baseline)):
        if not bool(torch.isfinite(values).all()):
            raise UserError(f"attribution: {name} hold NaN or infinity; leave them out, or prepare them again")
    path = _Path(output, x, x - baseline, baseline, tuple(given), max(1, batch // NODES) * NODES)
    everyone = torch.arange(len(x), device=x.device)
    borders = [path.outputs(everyone, torch.full((len(x),), place / _PIECES)) for place in range(_PIECES + 1)]
    start, end = borders[0], borders[-1]
    largest = torch.maximum(start.abs(), end.abs())
    allowed = torch.maximum(tolerance * (end - start).abs(), _ROUNDING * largest)
    values, steps = torch.zeros_like(x), torch.zeros(len(x), dtype=torch.int64, device=x.device)
    rows, narrow = everyone, _NARROW
    while len(rows):
        values[rows] = 0.0
        _add_up(path, rows, [border[rows] for border in borders], allowed, narrow, most_steps, values, steps)
        missed = (values.sum(dim=(1, 2), dtype=torch.float64) - (end - start)).abs() > allowed
        # Small errors of many pieces, all of one sign: those recordings once more, their pieces kept to less.
        narrow *= _STRICTER
        rows = torch.nonzero(missed & (steps < most_steps // 2)).flatten() if narrow > _NARROWEST else rows[:0]
    error = (values.sum(dim=(1, 2), dtype=torch.float64) - (end - start)).abs()
    return Attributions(values, end, start, error, allowed, steps)


def _add_up(
    path: _Path,
    rows: Tensor,
    borders: Sequence[Tensor],
    allowed: Tensor,
    narrow: float,
    most_steps: int,
    values: Tensor,
    steps: Tensor,
) -> None:
    """Add the integrals of some recordings to ``values`` and their gradients to ``steps``, halving pieces that err.

    Args:
        path: The lines of all recordings.
        rows: (m,) which of them.
        borders: Their outputs at the ends of the first pieces, (m,) each.
        allowed: (n,) error of a whole line.
        narrow: Pieces narrower than this share of a line may err as much as one of this width.
        most_steps: Gradients of a recording at most.
        values: (n, leads, T), added to.
        steps: (n,), added to.
    """
    width = torch.full((len(rows),), 1.0 / _PIECES)
    pieces = _Pieces.joined(
        [_Pieces(rows, place * width, width, *borders[place : place + 2]) for place in range(_PIECES)]
    )
    while len(pieces.recording):
        halved, waiting = [], torch.bincount(pieces.recording, minlength=len(steps))
        steps += NODES * waiting
        for piece in pieces.split(path.batch // NODES):
            gains = path.integral(piece)
            who = piece.recording
            error = (gains.sum(dim=(1, 2), dtype=torch.float64) - (piece.end_output - piece.start_output)).abs()
            limit = 0.5 * allowed[who] * piece.width.to(error).clamp(min=narrow)
            # As if all that is left of this recording were halved in this round.
            good = (error <= limit) | (steps[who] + 2 * NODES * waiting[who] > most_steps)
            values.index_add_(0, who[good], gains[good])
            halved.append(piece.rows(~good))
        pieces = _Pieces.joined(halved).halves(path)


@dataclass(frozen=True)
class _Pieces:
    """Pieces of lines: whose, from where, how wide (shares of the line), and the outputs at both ends."""

    recording: Tensor
    start: Tensor
    width: Tensor
    start_output: Tensor
    end_output: Tensor

    def rows(self, which: Tensor | slice) -> _Pieces:
        at = which.cpu() if isinstance(which, Tensor) else which
        return _Pieces(
            self.recording[which], self.start[at], self.width[at], self.start_output[which], self.end_output[which]
        )

    def split(self, count: int) -> list[_Pieces]:
        return [self.rows(slice(first, first + count)) for first in range(0, len(self.start), count)]

    @classmethod
    def joined(cls, parts: Sequence[_Pieces]) -> _Pieces:
        names = ("recording", "start", "width", "start_output", "end_output")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def halves(self, path: _Path) -> _Pieces:
        middle, half = self.start + self.width / 2, self.width / 2
        at_middle = path.outputs(self.recording, middle)
        first = _Pieces(self.recording, self.start, half, self.start_output, at_middle)
        return _Pieces.joined([first, _Pieces(self.recording, middle, half, at_middle, self.end_output)])


class _Path:
    """The lines from baselines to recordings, and the network along them."""

    def __init__(
        self, output: Output, x: Tensor, way: Tensor, baseline: Tensor, given: tuple[Tensor, ...], batch: int
    ) -> None:
        self.output, self.way, self.baseline, self.given, self.batch = output, way, baseline, given, batch
        self.ends = x
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        self.nodes, self.weights = torch.tensor((nodes + 1) / 2), torch.tensor(weights / 2)

    def points(self, recording: Tensor, share: Tensor) -> Tensor:
        """(m, leads, T) at shares (m,) of the lines; the recording itself at 1, to the last bit."""
        at = share.to(self.way)[:, None, None]
        return torch.where(at == 1, self.ends[recording], self.baseline[recording] + at * self.way[recording])

    def outputs(self, recording: Tensor, share: Tensor) -> Tensor:
        """(m,) float64 at shares (m,) of the lines."""
        found = [self.way.new_empty(0, dtype=torch.float64)]
        with torch.no_grad():
            for first in range(0, len(recording), self.batch):
                rows = recording[first : first + self.batch]
                values = self.output(self.points(rows, share[first : first + self.batch]), *self._given(rows))
                found.append(values.double())
        result = torch.cat(found)
        if not bool(torch.isfinite(result).all()):
            raise UserError("attribution: an output is NaN or infinite; its network diverged: fit it anew")
        return result

    def integral(self, piece: _Pieces) -> Tensor:
        """(k, leads, T): what each sample adds along each of k pieces."""
        rows = piece.recording.repeat_interleave(NODES)
        share = (piece.start[:, None] + piece.width[:, None] * self.nodes).flatten()
        with torch.enable_grad():
            x = self.points(rows, share).requires_grad_()
            values = self.output(x, *self._given(rows))
            if values.requires_grad:
                (slope,) = torch.autograd.grad(values.sum(), x, materialize_grads=True, allow_unused=True)
            else:  # it does not look at the recording
                slope = torch.zeros_like(x)
        weights = (piece.width[:, None] * self.weights).to(slope)
        mean = torch.einsum("kn,knlt->klt", weights, slope.unflatten(0, (-1, NODES)))
        return mean * self.way[piece.recording]

    def _given(self, rows: Tensor) -> tuple[Tensor, ...]:
        return tuple(values[rows] for values in self.given)
