"""Where a downstream head starts: at the probe on the frozen features, so that fine-tuning begins with what it gives.

Linear probing, then fine-tuning (Kumar et al. 2022, arXiv 2202.10054): a random head would distort the features in its
first steps. The probe is that of experiments (``ecgcmr.probes.linear_probe.fit_probe``): closed form, its penalty
chosen on the validation rows; all its scalings are folded into the head, whose outputs at step 0 are the probe's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from ecgcmr.contracts import lacking
from ecgcmr.errors import UserError
from ecgcmr.metrics.tasks import Task, task_for
from ecgcmr.stages.finite_outputs import require_finite_outputs
from ecgcmr.stages.protocol import ProbedData
from ecgcmr.stages.whole_pass import whole_pass

if TYPE_CHECKING:
    from ecgcmr.stages.downstream import Downstream

HEAD_STARTS = ("auto", "probe", "random")
_MOST_NAMES = 8
_WORDS = {"regression": "ridge", "classification": "logistic", "time_to_event": "Cox"}


@dataclass(frozen=True)
class ProbeLines:
    """What the first rank has fitted, as it is sent to the others.

    Attributes:
        weight: (K, D) for features as the head sees them; NaN for a target that could not be learnt.
        bias: (K,).
        unavailable: Column -> why it could not be learnt.
        problem: Why no target could be fitted; empty where some were.
    """

    weight: np.ndarray = field(default_factory=lambda: np.empty(0))
    bias: np.ndarray = field(default_factory=lambda: np.empty(0))
    unavailable: dict[int, str] = field(default_factory=dict)
    problem: str = ""


def check_head_start(stage: Downstream) -> None:
    """Check that a probe that is asked for exists.

    Raises:
        UserError: The loss has none, or the data cannot be read for it.
    """
    if stage.head_start == "probe":
        reason = _no_probe(stage)
        if reason:
            raise UserError(f"model.head_start is probe, but {reason}; take auto or random")


def start_head(stage: Downstream) -> None:
    """Set the head of a stage to its probe before the first step, where ``head_start`` asks for it; all ranks alike.

    A fit that goes on from a checkpoint has its head from there. A target that cannot be learnt keeps its column as it
    was initialised, which is said.

    Raises:
        UserError: A feature is not finite; or the probe is asked for, and no validation row can choose its penalty.
    """
    trainer: Any = stage.trainer
    if stage.head is None or stage.loads_checkpoint or trainer.ckpt_path is not None:
        return
    if stage.head_start == "random" or (stage.head_start == "auto" and stage.encoder_weights is None):
        return
    reason = _no_probe(stage) or ("fast_dev_run reads no whole split" if trainer.fast_dev_run else "")
    if reason:
        rank_zero_info(f"note: the head starts at random: {reason}")
        return
    began = time.monotonic()
    data = cast(ProbedData, stage.data)
    train = whole_pass(stage, data.training_rows_dataloader(), stage.probe_rows)
    val = whole_pass(stage, data.val_dataloader(), stage.probe_rows)
    require_finite_outputs(stage, "train", train)
    require_finite_outputs(stage, "val", val)
    task = task_for(str(stage.probe_kind))
    lines = _on_every_rank(stage, task, train, val)
    if lines.problem:
        if stage.head_start == "probe":
            raise UserError(f"model.head_start is probe, but {lines.problem}; take auto or random")
        rank_zero_info(f"note: the head starts at random: {lines.problem}")
        return
    _set(stage, lines)
    stage.starts_at_probe = True
    learnt = len(stage.label_names) - len(lines.unavailable)
    rank_zero_info(
        f"the head starts at the {_WORDS[task.kind]} probe of {learnt} target{'s' if learnt != 1 else ''} on "
        f"{len(train['row']):,} training rows, its penalty chosen on {len(val['row']):,} validation rows "
        f"({time.monotonic() - began:.1f} s)"
    )
    if lines.unavailable:
        names = [f"{stage.label_names[column]} ({why})" for column, why in sorted(lines.unavailable.items())]
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        rank_zero_info(f"note: without a probe to start from: {', '.join(names[:_MOST_NAMES])}{more}")


def _no_probe(stage: Downstream) -> str:
    """Say why a stage's head has no probe to start from; empty if it has."""
    if stage.probe_kind is None:
        return "its loss has no closed-form solution"
    if stage.readout is not None:
        return "the attention that pools tokens is itself trained from random weights"
    if lacking(stage.data, ProbedData):
        return f"{type(stage.data).__name__} has no training_rows_dataloader (ecgcmr.stages.protocol.ProbedData)"
    return ""


def _on_every_rank(stage: Downstream, task: Task, train: dict[str, Tensor], val: dict[str, Tensor]) -> ProbeLines:
    """Fit on the first rank and give all the result: solvers on different machines may differ in their last digits."""
    result = [_fit(task, train, val) if stage.global_rank == 0 else ProbeLines()]
    if stage.trainer.world_size > 1:
        torch.distributed.broadcast_object_list(result, src=0)
    return result[0]


def _fit(task: Task, train: dict[str, Tensor], val: dict[str, Tensor]) -> ProbeLines:
    from ecgcmr.probes.linear_probe import fit_probe  # scikit-learn: half a second that other commands need not wait

    arrays = [part[name].double().numpy() for part in (train, val) for name in ("features", "targets")]
    try:
        probe = fit_probe(task, *arrays)
    except ValueError as error:  # validation rows that cannot choose a penalty; all else has been checked
        return ProbeLines(problem=str(error))
    weight, bias = probe.raw_lines()
    if len(probe.unavailable) == len(bias):
        reasons = "; ".join(dict.fromkeys(probe.unavailable.values()))
        return ProbeLines(problem=f"no target can be learnt ({reasons})")
    return ProbeLines(weight.T, bias, dict(probe.unavailable))


def _set(stage: Downstream, lines: ProbeLines) -> None:
    head = stage.head
    if head is None:
        raise RuntimeError("the head is made in setup()")
    weight, bias = stage.as_output(torch.from_numpy(lines.weight), torch.from_numpy(lines.bias))
    learnt = [column for column in range(len(bias)) if column not in lines.unavailable]
    with torch.no_grad():
        head.weight[learnt] = weight[learnt].to(head.weight)
        head.bias[learnt] = bias[learnt].to(head.bias)
