"""What a checkpoint says of itself: its stage, what it was trained for, with which settings, and what changed since.

It is read, and a file that is no checkpoint refused, before anything is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgcmr.encoders.finite_weights import require_finite_weights
from ecgcmr.errors import UserError
from ecgcmr.stages.run_contract import RunContract
from ecgcmr.torch_file import is_safetensors, load_torch_file
from ecgcmr.training.machine_choices import RECORD as MACHINE_KEY

STAGE_KEY, RECORD_KEY = "ecgcmr_stage", "ecgcmr_run"


@dataclass(frozen=True)
class CheckpointRecord:
    """What a checkpoint says.

    Attributes:
        path: Of the file.
        step: Optimiser steps made.
        epoch: Epoch that it stands in, from 0.
        stage: Class path of its stage; None where it does not say.
        contract: What it was trained for; None where it does not say.
        settings: Settings that shape the result, dotted name -> plain value; None where it does not say.
        changes: Changes of settings on the way, a mapping of ``step`` and ``changes`` each.
        machine_choices: How its run computes; None where it does not say.
    """

    path: Path
    step: int = 0
    epoch: int = 0
    stage: str | None = None
    contract: RunContract | None = None
    settings: dict[str, Any] | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    machine_choices: dict[str, Any] | None = None


def read_checkpoint_record(path: Path) -> CheckpointRecord:
    """Read what a checkpoint of a run says of itself.

    Raises:
        UserError: There is no such file, it is no checkpoint of a run (the message says what it is), or its weights are
            not finite.
    """
    if path.is_dir():
        raise UserError(f"ckpt_path: {path} is a folder; name the checkpoint in it, such as {path / 'best.ckpt'}")
    if not path.is_file():
        raise UserError(f"ckpt_path: there is no file {path}; fit first, or name the checkpoint of a run")
    if is_safetensors(path):
        raise UserError(
            f"ckpt_path: {path} holds the weights of an encoder alone; to start from it give its folder as "
            "model.encoder_weights, to resume or judge a run its best.ckpt or last.ckpt"
        )
    try:
        loaded = load_torch_file(path, kind="checkpoint", lazy=True)
    except UserError as error:
        raise UserError(f"ckpt_path: {error}") from error
    if not isinstance(loaded, Mapping) or not isinstance(loaded.get("state_dict"), Mapping):
        raise UserError(f"ckpt_path: {path} {_what(loaded)}; name best.ckpt or last.ckpt of a run folder")
    if not {"pytorch-lightning_version", "loops"} <= set(loaded):
        raise UserError(
            f"ckpt_path: {path} holds weights, and nothing of the run that made them; import published weights with "
            "'ecgcmr import-weights', or name best.ckpt or last.ckpt of a run folder"
        )
    require_finite_weights(loaded["state_dict"], f"ckpt_path: {path}")
    return _record(path, loaded)


def _record(path: Path, loaded: Mapping[str, Any]) -> CheckpointRecord:
    run = loaded.get(RECORD_KEY)
    contract = settings = None
    changes: list[dict[str, Any]] = []
    if run is not None:
        try:
            contract = RunContract.from_dict(run["contract"])
            settings, changes = dict(run["settings"]), list(run["changes"])
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"ckpt_path: {path} is damaged: what its run was for cannot be read ({error})") from error
    stage, choices = loaded.get(STAGE_KEY), loaded.get(MACHINE_KEY)
    return CheckpointRecord(
        path,
        step=int(loaded.get("global_step", 0)),
        epoch=int(loaded.get("epoch", 0)),
        stage=stage if isinstance(stage, str) else None,
        contract=contract,
        settings=settings,
        changes=changes,
        machine_choices=dict(choices) if isinstance(choices, Mapping) else None,
    )


def _what(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        held = ", ".join(sorted(map(str, loaded)))[:120] or "nothing"
        return f"is no checkpoint of a run: it holds {held}"
    return f"is no checkpoint of a run: it holds a {type(loaded).__name__}"
