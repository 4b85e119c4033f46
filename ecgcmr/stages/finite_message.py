"""What a run says when something is not finite: where, of whom, and what to do; always one line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ecgcmr.stages.protocol import stage_data

MOST_ROWS = 4
"""Recordings that are named, so that the line stays one."""


class Place(Protocol):
    """Where in a fit a batch was; see ``finite.Step``."""

    number: int
    epoch: int
    batch: int


@dataclass(frozen=True)
class RankReport:
    """What one rank's part of a batch was.

    Attributes:
        rank: Its number.
        loss: Its loss.
        norm: Norm of the gradients of all ranks.
        rows: First positions in the index, at most ``MOST_ROWS``.
        total: How many rows there were.
        broken: First positions of recordings that hold NaN or infinity themselves, at most ``MOST_ROWS``.
        broken_total: How many of those there were.
    """

    rank: int
    loss: float
    norm: float
    rows: tuple[int, ...]
    total: int
    broken: tuple[int, ...]
    broken_total: int

    @classmethod
    def of(cls, trainer: Any, loss: float, norm: float, rows: Tensor, inputs: Tensor) -> RankReport:
        """Report this rank's part.

        Args:
            trainer: Whose rank this is.
            loss: Loss.
            norm: Norm of the gradients.
            rows: (B,) positions in the index.
            inputs: (B,) not finite where a recording is not.
        """
        places = rows.tolist()
        broken = [place for place, value in zip(places, inputs.tolist(), strict=True) if not math.isfinite(value)]
        shown, of_those = tuple(places[:MOST_ROWS]), tuple(broken[:MOST_ROWS])
        return cls(trainer.global_rank, loss, norm, shown, len(places), of_those, len(broken))

    @property
    def overflowed(self) -> bool:
        """Whether nothing but the gradients, which are scaled, may be infinite."""
        return math.isfinite(self.loss) and not self.broken_total


def diverged(trainer: Any, reports: Sequence[RankReport], step: Place, saved_step: int | None) -> str:
    """Return the line for a batch at which a fit stops."""
    broken = [report for report in reports if report.broken_total]
    if broken:
        what = f"the batch itself holds NaN or infinity in {_rows(trainer, broken[0].broken, broken[0].broken_total)}"
        return f"{_where(step, broken)}: {what}; {_mend_input(trainer)}; {_kept(saved_step)}"
    lost = [report for report in reports if not math.isfinite(report.loss)]
    culprits = lost or list(reports)
    first = culprits[0]
    what = f"the loss is {first.loss}" if lost else f"the norm of the gradients is {first.norm}"
    batch = _rows(trainer, first.rows, first.total)
    return f"{_where(step, culprits)}: {what}, of a batch of {batch}; {_remedy(trainer)}; {_kept(saved_step)}"


def overflowed(trainer: Any, reports: Sequence[RankReport], step: Place, count: int, saved_step: int | None) -> str:
    """Return the line for gradients that overflow however low the loss scaler's factor gets."""
    batch = _rows(trainer, reports[0].rows, reports[0].total)
    return (
        f"{_where(step, reports)}: the gradients overflowed in {count} steps in a row, last in a batch of {batch}; "
        "take trainer.precision bf16-mixed or 32-true, lower model.optimiser.lr, or raise --overflow_steps; "
        f"{_kept(saved_step)}"
    )


def without_finite_weights(trainer: Any, name: str | None, saved_step: int | None) -> str:
    """Return the line for weights that are not finite.

    Args:
        trainer: Of the run.
        name: The first of them; None where they are another rank's.
        saved_step: Step of the last checkpoint, None without one.
    """
    which = f"the weights {name} are" if name is not None else "weights of another rank are"
    if trainer.state.fn != "fit":
        return f"{which} NaN or infinite: the network that they are of diverged; take another checkpoint"
    where = f"the fit stopped after step {trainer.global_step} (epoch {trainer.current_epoch})"
    return f"{where}: {which} NaN or infinite; {_remedy(trainer)}; {_kept(saved_step)}"


def broken_batches(trainer: Any, reports: Sequence[RankReport]) -> str:
    """Return the line for recordings that are evaluated and hold NaN or infinity themselves."""
    rows = sorted({row for report in reports for row in report.broken})
    total = max(len(rows), sum(report.broken_total for report in reports))
    what = _rows(trainer, tuple(rows[:MOST_ROWS]), total)
    return f"{trainer.state.fn}: recordings hold NaN or infinity: {what}; {_mend_input(trainer)}"


def outputs_not_finite(trainer: Any, split: str, what: str, rows: Sequence[int], total: int) -> str:
    """Return the line for a network whose outputs are not finite though its inputs are.

    Args:
        trainer: Of the run.
        split: Split that was evaluated.
        what: Name of the output.
        rows: First positions in the index of the recordings concerned; none where it is of all together.
        total: How many recordings are concerned.
    """
    whose = f" in {_rows(trainer, tuple(rows[:MOST_ROWS]), total)}" if total else ""
    where = f"{split}/{what} is NaN or infinite{whose}"
    if trainer.state.fn == "fit":
        step = f"the fit stopped after step {trainer.global_step} (epoch {trainer.current_epoch})"
        return f"{step}: {where}; {_remedy(trainer)}; checkpoints are of epochs before it, no encoder was written"
    return f"{where}: the network of this checkpoint has diverged; take another one, or fit it anew at a lower rate"


def _where(step: Place, culprits: Sequence[RankReport]) -> str:
    more = f" and {len(culprits) - 1} more" if len(culprits) > 1 else ""
    place = f"epoch {step.epoch}, batch {step.batch}, rank {culprits[0].rank}{more}"
    return f"the fit stopped at step {step.number} ({place})"


def _rows(trainer: Any, rows: tuple[int, ...], total: int) -> str:
    subjects = stage_data(trainer).index.subjects(np.asarray(rows, dtype=np.int64))
    shown = ", ".join(f"row {row} (subject {subject})" for row, subject in zip(rows, subjects, strict=True))
    return shown + (f" and {total - len(rows)} more" if total > len(rows) else "")


def _remedy(trainer: Any) -> str:
    groups = trainer.optimizers[0].param_groups if trainer.optimizers else []
    peak = max((group.get("initial_lr", group["lr"]) for group in groups), default=None)
    now = "" if peak is None else f", its peak is {peak:.3g},"
    full = "" if str(trainer.precision).startswith("32") else ", or take trainer.precision 32-true"
    return f"lower the learning rate of model.optimiser{now} or set trainer.gradient_clip_val{full}"


def _mend_input(trainer: Any) -> str:
    title = stage_data(trainer).index.title
    return f"see what 'ecgcmr verify' says of {title} and prepare them again, or mend the augmentation that made it"


def _kept(saved_step: int | None) -> str:
    if saved_step is None:
        return "this fit wrote no checkpoint and no encoder"
    return f"best.ckpt and last.ckpt are of step {saved_step} and before, no encoder was written"
