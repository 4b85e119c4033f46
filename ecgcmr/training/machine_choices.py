"""How a run computes on this machine: decided before it starts, the same on all ranks, kept with its checkpoints.

A run that goes on from a checkpoint computes as it began, on another machine too, so that its numbers go on as well.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import nn

from ecgcmr.encoders.kernels import Kernels, use_kernels
from ecgcmr.errors import UserError
from ecgcmr.speed_choices.choose import (
    COMPUTES_AS,
    FULL_PRECISION,
    LOW_PRECISION,
    Choices,
    choose_on_cpu,
    mode_asked_for,
)

RECORD = "ecgcmr_machine_choices"  # in a checkpoint
_HANDED = "ECGCMR_CHOICES_OF_FIRST_RANK"  # from the process that starts the other ranks


def choose_for_run(
    stage: nn.Module, trainer: Mapping[str, Any], training: bool, recorded: Mapping[str, Any] | None = None
) -> Choices:
    """Return how a run is to compute, and say so in one line.

    Args:
        stage: Its networks are timed if it runs on a CPU.
        trainer: The trainer's settings: ``accelerator``, ``precision``.
        training: Whether it is a fit.
        recorded: What the checkpoint that it goes on from says (`MachineChoices`).

    Raises:
        UserError: The environment asks for something unknown.
    """
    accelerator, given = trainer.get("accelerator") or "auto", trainer.get("precision")
    precision = accelerator_precision(accelerator)
    first = not rank_zero_only.rank  # type: ignore[attr-defined]
    if precision is not None:  # not on a CPU
        return Choices(given or precision, Kernels(), "")
    choices = None if first else _handed()
    recorded = recorded if recorded is not None else _asked_for()
    if choices is None and recorded is not None and recorded.get("device") == "cpu" and mode_asked_for() != "anew":
        choices = _as_recorded(recorded, given)
    if choices is None:
        choices = choose_on_cpu(stage, given, training, first)
    if first:
        os.environ[_HANDED] = json.dumps({"process": os.getpid(), **_plain(choices)})
    rank_zero_info(choices.line)
    return choices


def accelerator_precision(accelerator: str = "auto") -> str | None:
    """Return Lightning's name of the precision to take where nobody says, None for a CPU, where it is measured.

    Weights, optimiser state and losses stay float32 under ``bf16-mixed``; only products are computed with bfloat16.

    Args:
        accelerator: As Lightning names it; "auto", "gpu" and "cuda" mean CUDA where it is there.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return LOW_PRECISION if torch.cuda.is_bf16_supported(including_emulation=False) else FULL_PRECISION
    if accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available()):
        return None
    return FULL_PRECISION


class MachineChoices(Callback):
    """Hands a run's networks the ways they compute by, after the ranks have agreed, and records them.

    Args:
        choices: Of this rank.
    """

    def __init__(self, choices: Choices) -> None:
        self.choices = choices

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Take the first rank's choices.

        Raises:
            UserError: Ranks on different machines chose different precisions.
        """
        if trainer.world_size > 1:
            every: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(every, _plain(self.choices))
            self.choices = agreed([_made(plain) for plain in every])
        use_kernels(pl_module, self.choices.kernels)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Record how the run computes."""
        device = trainer.strategy.root_device.type
        checkpoint[RECORD] = {key: value for key, value in _plain(self.choices).items() if key != "line"}
        checkpoint[RECORD]["device"] = device


def agreed(choices: list[Choices]) -> Choices:
    """Return the first rank's choices.

    Raises:
        UserError: The precisions differ, which no rank can change once it has started.
    """
    if len({each.precision for each in choices}) > 1:
        each_rank = ", ".join(f"rank {rank} {each.precision}" for rank, each in enumerate(choices))
        raise UserError(
            f"the fastest precision differs between the ranks' machines ({each_rank}): give --trainer.precision"
        )
    return choices[0]


def _as_recorded(recorded: Mapping[str, Any], given: str | None) -> Choices | None:
    """What a checkpoint says; None where another precision is now given, for which its ways were not chosen."""
    if given is not None and str(given) != recorded["precision"]:
        return None
    made = _made({**recorded, "line": ""})
    return dataclasses.replace(made, line=f"Computing as the checkpoint's run did: {_words(made)}")


def _words(choices: Choices) -> str:
    kernels = choices.kernels
    return (
        f"precision {choices.precision}; linear layers {'convolution' if kernels.convolution else 'linear'}; "
        f"attention {kernels.attention}; images {'channels last' if kernels.channels_last else 'channels first'}"
    )


def _handed() -> Choices | None:
    """What the process that started this rank chose."""
    content = json.loads(os.environ.get(_HANDED) or "{}")
    return _made(content) if content.get("process") == os.getppid() else None


def _asked_for() -> Mapping[str, Any] | None:
    """What the process that started this command wants it to compute as: a run that is reproduced."""
    content = json.loads(os.environ.get(COMPUTES_AS) or "{}")
    return content if content.get("process") == os.getppid() else None


def _plain(choices: Choices) -> dict[str, Any]:
    return dataclasses.asdict(choices)


def _made(plain: Mapping[str, Any]) -> Choices:
    return Choices(str(plain["precision"]), Kernels(**plain["kernels"]), str(plain["line"]))
