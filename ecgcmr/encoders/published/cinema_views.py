"""What CineMA sees of a subject: the moments of one view, each a stack of slices or an image, as it was trained on.

In pre-training a pixel was 1 mm, slices lay 10 mm apart and black ones filled the stack up to 16; axes ran as in the
file, columns (X) before rows (Y). Cohorts keep rows before columns, and one moment after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ecgcmr.encoders.protocol import CMRInput
from ecgcmr.errors import UserError

PUBLISHED_SLICES = 16
PIXEL_MM = 1.0
SLICE_MM = 10.0
SHORT_AXIS = "sax"
VIEWS = {SHORT_AXIS: "sax", "2ch": "lax_2c", "3ch": "lax_3c", "4ch": "lax_4c"}
"""A view as it is called here -> in published files."""


@dataclass(frozen=True)
class ImageShape:
    """How the images of a subject are divided into moments.

    Attributes:
        view: One of ``VIEWS``.
        count: Moments.
        slices: Of each, 1 of a long axis.
        size: Rows and columns.
    """

    view: str
    count: int
    slices: int
    size: int

    @property
    def is_stack(self) -> bool:
        """Whether a moment is a stack of slices."""
        return self.view == SHORT_AXIS

    @property
    def input_spec(self) -> CMRInput:
        """What an encoder of these is given."""
        stack = (self.slices, SLICE_MM) if self.is_stack else (None, None)
        return CMRInput(self.count * self.slices, self.size, self.size, self.view, PIXEL_MM, *stack)

    def kernel(self, length: int, along_stack: int = 1) -> tuple[int, ...]:
        """Return lengths along X and Y, and along the stack where there is one."""
        return (length, length, along_stack) if self.is_stack else (length, length)

    def moments(self, x: Tensor) -> Tensor:
        """(B, frames, Y, X) -> (B * moments, 1, X, Y), of stacks (B * moments, 1, X, Y, Z), each from 0 to 1.

        Raises:
            ValueError: `x` has another shape.
        """
        self.input_spec.check(x)
        stacks = x.unflatten(1, (self.count, self.slices)).flatten(0, 1).permute(0, 3, 2, 1)  # (B * moments, X, Y, Z)
        stacks = stretched(stacks).unsqueeze(1)
        return stacks if self.is_stack else stacks.squeeze(-1)

    def images(self, places: Tensor) -> Tensor:
        """(B * moments, X, Y, D), of stacks (B * moments, X, Y, Z, D), -> (B * frames, D, Y, X)."""
        stacks = places if self.is_stack else places.unsqueeze(3)
        return stacks.permute(0, 3, 4, 2, 1).flatten(0, 1)


def stretched(x: Tensor) -> Tensor:
    """Least and largest value of every row of the batch become 0 and 1; where they are the same, all becomes 0."""
    with torch.autocast(x.device.type, enabled=False):
        values = x.float()
        axes = tuple(range(1, x.ndim))
        low = values.amin(dim=axes, keepdim=True)
        span = values.amax(dim=axes, keepdim=True) - low
        return ((values - low) / torch.where(span > 0, span, torch.ones_like(span))).to(x.dtype)


def image_shape(view: str, frames: int | None, slices: int, size: int | None) -> ImageShape:
    """Return how the images of a subject are divided, by the arguments of ``CineMA``.

    Raises:
        UserError: The view is unknown, or a number does not fit another one.
    """
    if view not in VIEWS:
        raise UserError(f"unknown view {view!r}: choose one of {', '.join(VIEWS)}")
    is_stack = view == SHORT_AXIS
    each = slices if is_stack else 1
    size = (192 if is_stack else 256) if size is None else size
    frames = (2 * each if is_stack else 3) if frames is None else frames
    if min(frames, each, size) < 1:
        raise UserError("frames, slices and size must be positive")
    if frames % each:
        raise UserError(f"frames {frames} are no whole stacks of {each} slices")
    return ImageShape(view, frames // each, each, size)
