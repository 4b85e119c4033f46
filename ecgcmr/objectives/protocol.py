"""The contract of an objective that compares two embeddings of the same subjects.

One contract serves the alignment of ECG with CMR and the contrast of two views of one modality. A stage gives the two
batches of projections and, by name, whatever more the objective says it needs.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from ecgcmr.errors import UserError

FURTHER_INPUTS = {
    "phenotypes": "(B, L) standardised labels, NaN = missing",
    "subjects": "(B,) int64 number of each row's subject",
    "c": "(B, D) projections of a third input, of the same subjects",
    "target_a": "(B, D) projections of the first input by the momentum encoder",
    "target_b": "(B, D) the same of the second input",
    "segments_a": "(B, K, D) projections of the ECG at K phases of the cardiac cycle",
    "segments_b": "(B, K, D) the same of the cine frames",
    "segments_present": "(B, K) whether a phase was seen in both",
}
"""Names that ``needs`` may hold; all of them have one row per subject of the batch."""


THIRD = "c"
"""What a stage of three modalities alone has."""


@runtime_checkable
class HasTemperature(Protocol):
    """An objective whose temperature goes to the log; a number that is fixed stays out of it."""

    @property
    def temperature(self) -> Tensor | float:
        """Temperature now."""


@runtime_checkable
class ContrastiveObjective(Protocol):
    """Any ``torch.nn.Module`` with these members is an objective; there is nothing to inherit from.

    Called with ``(a, b, **further)``, a and b (B, D) projections, not yet normalised, row by row of the same subjects,
    it returns a scalar whose mean over ranks is the loss of the global batch and whose gradient, averaged over ranks as
    distributed data parallel does, is that loss's gradient. Every rank calls it, with any number of rows, also none.
    """

    needs: tuple[str, ...]

    def __call__(self, a: Tensor, b: Tensor, **further: Tensor) -> Tensor:
        """Return this rank's part of the loss."""


def require_objective(candidate: Any, offered: Collection[str]) -> Any:
    """Return ``candidate`` if a stage that offers these further inputs can train with it.

    Raises:
        UserError: It says nothing of its needs, or needs something that the stage does not offer.
    """
    name = type(candidate).__name__
    if not isinstance(candidate, ContrastiveObjective):
        raise UserError(f"{name} is not an objective: it lacks needs (docs/objectives.md lists the contract)")
    missing = sorted(set(candidate.needs) - set(offered))
    if missing:
        raise UserError(
            f"objective {name} needs {', '.join(missing)}, which this stage does not have; docs/objectives.md tells "
            "which objective goes with which stage"
        )
    require_call(candidate, ("a", "b"), candidate.needs)
    return candidate


def require_call(objective: Any, by_place: Collection[str], by_name: Collection[str] = ()) -> None:
    """Refuse an objective that cannot be called with what it is given.

    Args:
        objective: A module.
        by_place: Inputs that are given by their place.
        by_name: Inputs that are given by name.

    Raises:
        UserError: Its ``forward`` takes something else.
    """
    try:
        inspect.signature(objective.forward).bind(*by_place, **dict.fromkeys(by_name))
    except TypeError as error:
        name, inputs = type(objective).__name__, ", ".join([*by_place, *by_name])
        raise UserError(
            f"objective {name}: its forward cannot be called as forward({inputs}): {error}; see docs/extending.md"
        ) from error
