"""What the linear probes have in common: whose labels choose the penalty, and what a fit says of each target."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Probe:
    """A linear model of K targets on frozen features, whose penalties validation rows choose.

    Attributes:
        max_validation_rows: Use only the first so many validation rows; None uses all (``linear_probe`` says what
            either means).
        unavailable: After ``fit``: column -> why the target has no prediction.
        notes: After ``fit``: column -> what was done differently for it.
        chosen: After ``fit``: (K,) penalty of each target, NaN if unavailable.
    """

    max_validation_rows: int | None = field(default=None, kw_only=True)
    unavailable: dict[int, str] = field(default_factory=dict, init=False)
    notes: dict[int, str] = field(default_factory=dict, init=False)
    chosen: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), init=False)

    def _begin(self, unavailable: dict[int, str], targets: int) -> list[int]:
        """Forget an earlier fit.

        Args:
            unavailable: Column -> why it cannot be learnt.
            targets: Their number K.

        Returns:
            The columns that can be learnt.
        """
        self.unavailable, self.notes = unavailable, {}
        self.chosen = np.full(targets, np.nan)
        return [column for column in range(targets) if column not in unavailable]
