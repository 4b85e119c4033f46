"""Which patches a masked autoencoder removes: single ones at random, whole leads, or spans of time.

Mask convention: 1 = removed, 0 = visible to the encoder. Every recording of a batch keeps the same number of patches,
so that the visible ones are one tensor, and its mask follows from its own random numbers alone.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Literal, get_args

import torch
from torch import Tensor

from ecgcmr.errors import UserError

MaskingName = Literal["random", "lead", "time"]
Grid = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Masking:
    """Which patches stay visible.

    Attributes:
        keep: (B, K) int64, visible patches in the order in which they are encoded.
        mask: (B, N) float32, 1 = removed.
        restore: (B, N) int64: position of patch n in the shuffled order; positions below K are visible.
    """

    keep: Tensor
    mask: Tensor
    restore: Tensor


def random_masking(noise: Tensor, ratio: float) -> Masking:
    """Keep the int(N * (1 - ratio)) patches of least noise.

    Args:
        noise: (B, N) random numbers, all different in a row.
        ratio: Share of patches to remove, in (0, 1).

    Raises:
        UserError: The ratio leaves no patch or removes none.
    """
    kept = _checked(int(noise.shape[1] * (1 - ratio)), noise.shape[1], ratio, "patches")
    return _in_order(noise.argsort(dim=1), kept)


class PatchMasking(abc.ABC):
    """Chooses the visible patches of each recording from random numbers that belong to it.

    The grid of patches is leads x time, patches of one lead after another. Own ways are subclasses, named by
    ``class_path``.
    """

    @abc.abstractmethod
    def draws(self, grid: Grid) -> int:
        """Return how many random numbers a recording takes."""

    @abc.abstractmethod
    def kept(self, grid: Grid, ratio: float) -> int:
        """Return K, how many patches of every recording stay visible.

        Raises:
            UserError: The ratio leaves none or removes none, or the grid does not allow this masking.
        """

    @abc.abstractmethod
    def __call__(self, noise: Tensor, grid: Grid, ratio: float, recorded: Tensor | None = None) -> Masking:
        """Choose.

        Args:
            noise: (B, draws) uniform random numbers in [0, 1).
            grid: Patches along leads and along time.
            ratio: Share to remove, in (0, 1).
            recorded: (B, leads) bool, False = missing lead; None = all are there.
        """


class RandomPatchMasking(PatchMasking):
    """Single patches at random, int(N * (1 - ratio)) of them visible, as published (Turgut et al., 2308.05764).

    Missing leads do not change the choice: what falls on them counts as nothing.
    """

    def draws(self, grid: Grid) -> int:
        """Return one number a patch."""
        return grid[0] * grid[1]

    def kept(self, grid: Grid, ratio: float) -> int:
        """Return int(N * (1 - ratio))."""
        patches = grid[0] * grid[1]
        return _checked(int(patches * (1 - ratio)), patches, ratio, "patches")

    def __call__(self, noise: Tensor, grid: Grid, ratio: float, recorded: Tensor | None = None) -> Masking:
        """Keep the patches of least noise."""
        return random_masking(noise, ratio)


class LeadPatchMasking(PatchMasking):
    """Whole leads: the encoder sees some leads over all the time and the decoder makes the others up.

    Of L leads the whole number nearest to L * (1 - ratio) stays, halves rounded up: two of twelve at 0.8, three at
    0.75. Leads that were not recorded are removed first.
    """

    def draws(self, grid: Grid) -> int:
        """Return one number a lead."""
        return grid[0]

    def kept(self, grid: Grid, ratio: float) -> int:
        """Return the patches of the leads that stay.

        Raises:
            UserError: A patch spans all leads, or the ratio leaves no lead or removes none.
        """
        if grid[0] == 1:
            raise UserError("masking lead: one patch spans all leads; set the encoder's patch_size to [1, SAMPLES]")
        return _nearest(grid[0], ratio, "rows of leads") * grid[1]

    def __call__(self, noise: Tensor, grid: Grid, ratio: float, recorded: Tensor | None = None) -> Masking:
        """Keep the leads of least noise, those that were recorded before the others."""
        if recorded is not None:
            noise = noise + (~recorded).to(noise.dtype)
        leads = noise.argsort(dim=1)[:, : self.kept(grid, ratio) // grid[1]]
        visible = torch.zeros_like(noise, dtype=torch.bool).scatter_(1, leads, True)
        return _of_visible(visible.repeat_interleave(grid[1], dim=1), self.kept(grid, ratio))


class TimePatchMasking(PatchMasking):
    """Contiguous spans of time, removed from all leads at once.

    Of T columns of patches the whole number nearest to T * (1 - ratio) stays, halves rounded up. The others make up
    `spans` blocks whose lengths differ by one column at most, at random places; blocks may touch. Time runs in a
    circle for that: a block may leave at the end and come in again at the start, or else moments in the middle would
    be seen less often than those at the ends (a single block of 80 % would cover the middle every time).

    Args:
        spans: Number of blocks.

    Raises:
        UserError: There are fewer than one.
    """

    def __init__(self, spans: int = 1) -> None:
        if spans < 1:
            raise UserError(f"spans {spans}: at least one span of time must be removed")
        self.spans = spans

    def draws(self, grid: Grid) -> int:
        """Return one number a column and one for where the circle begins."""
        return grid[1] + 1

    def kept(self, grid: Grid, ratio: float) -> int:
        """Return the patches of the columns that stay.

        Raises:
            UserError: The ratio leaves no column or removes none, or there are more spans than columns to remove.
        """
        kept = _nearest(grid[1], ratio, "columns in time")
        if self.spans > grid[1] - kept:
            raise UserError(f"spans {self.spans}: mask_ratio {ratio} removes only {grid[1] - kept} columns in time")
        return kept * grid[0]

    def __call__(self, noise: Tensor, grid: Grid, ratio: float, recorded: Tensor | None = None) -> Masking:
        """Deal blocks and visible columns out in a random order, then turn the circle."""
        rows, columns = grid
        kept = self.kept(grid, ratio) // rows
        items = noise[:, : kept + self.spans]  # each is a visible column or a block
        is_block = torch.zeros_like(items, dtype=torch.bool)
        is_block.scatter_(1, items.argsort(dim=1)[:, : self.spans], True)
        short, longer = divmod(columns - kept, self.spans)
        width = torch.where(is_block, short + (is_block.cumsum(dim=1) <= longer).long(), 1)
        start = width.cumsum(dim=1) - width
        single = is_block.byte().argsort(dim=1, stable=True)[:, :kept]
        turn = (noise[:, -1:] * columns).long()
        seen = (start.gather(1, single) + turn) % columns
        visible = torch.zeros(len(noise), columns, dtype=torch.bool, device=noise.device).scatter_(1, seen, True)
        return _of_visible(visible.repeat(1, rows), kept * rows)


def masking_named(masking: str | PatchMasking) -> PatchMasking:
    """Return the masking of a name: random, lead or time; what is one already stays.

    Raises:
        UserError: The name is unknown.
    """
    if isinstance(masking, PatchMasking):
        return masking
    known: dict[str, type[PatchMasking]] = {
        "random": RandomPatchMasking,
        "lead": LeadPatchMasking,
        "time": TimePatchMasking,
    }
    if masking not in known:
        raise UserError(f"unknown masking {masking!r}: choose one of {', '.join(get_args(MaskingName))}")
    return known[masking]()


def _of_visible(visible: Tensor, kept: int) -> Masking:
    """Masking of (B, N) bool with `kept` True in each row; visible patches in ascending order."""
    return _in_order((~visible).byte().argsort(dim=1, stable=True), kept)


def _in_order(shuffle: Tensor, kept: int) -> Masking:
    """Masking that keeps the first patches of an order (B, N)."""
    restore = shuffle.argsort(dim=1)
    return Masking(keep=shuffle[:, :kept], mask=(restore >= kept).float(), restore=restore)


def _nearest(count: int, ratio: float, what: str) -> int:
    # A thousandth of a millionth, because 10 * (1 - 0.75) may come out just below 2.5.
    return _checked(math.floor(count * (1 - ratio) + 0.5 + 1e-9), count, ratio, what)


def _checked(kept: int, total: int, ratio: float, what: str) -> int:
    if not 0 < kept < total:
        raise UserError(f"mask_ratio {ratio} keeps {kept} of {total} {what}: choose one that hides some and not all")
    return kept
