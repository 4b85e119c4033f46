"""Running one stage of an experiment once: a finished stage is recognised by what went into it.

A stage's fingerprint covers its config, its overrides, the cohort and the fingerprints of the stages it starts from.
It is written to ``stage.json`` in the run folder, first as started, then as finished: a stage that was cut off goes on
from its last checkpoint, a finished one is not run again, and any change upstream makes it run afresh. A finished stage
keeps the checkpoint of its best epoch; the last one, which only an unfinished stage needs, is removed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcmr import __version__
from ecgcmr.child_command import run_apart
from ecgcmr.config_pieces import read_config
from ecgcmr.errors import UserError
from ecgcmr.files import replace_atomically
from ecgcmr.json_file import read_json
from ecgcmr.locks import FolderLock, remove_all
from ecgcmr.own_code import own_code_of
from ecgcmr.termination import EXIT_CODE, Terminated
from ecgcmr.yaml_file import mapping_at

BEST, LAST = "best.ckpt", "last.ckpt"
_MARKER = "stage.json"
LAUNCHER = "ECGCMR_LAUNCHER"
"""Variable of the environment: words that start the ranks of a training on several devices, such as ``srun``."""


@dataclass(frozen=True)
class StageRun:
    """One stage as it is to be run.

    Attributes:
        name: For messages.
        folder: Run folder.
        config: Config file for ``ecgcmr fit``.
        overrides: Dotted settings over the config, such as ``{"data.root": ...}``.
        inputs: What else the result depends on: cohort and parent fingerprints.
    """

    name: str
    folder: Path
    config: Path
    overrides: Mapping[str, Any]
    inputs: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything the result depends on; paths of this machine do not count, what they hold does."""
        settings = {key: value for key, value in self.overrides.items() if key not in _PLACES}
        config = read_config(self.config)
        code = own_code_of([config, settings])
        content = {
            "config": config,
            **({"code": code} if code else {}),
            "settings": settings,
            "inputs": dict(self.inputs),
            "version": __version__,
        }
        return fingerprint_of(content)

    def arguments(self) -> list[str]:
        """Return the command line after ``fit`` or ``predict``."""
        flags = [f"--{key}={_as_text(value)}" for key, value in self.overrides.items()]
        return ["-c", str(self.config), *flags, f"--trainer.default_root_dir={self.folder}", *_TERSE]


_TERSE = ("--trainer.enable_model_summary=false",)
"""Settings that change what is shown, not what is computed."""

_PLACES = (
    "data.root",
    "data.apart_from",
    "data.pseudo_labels",  # of a teacher, whose fingerprint is among the inputs
    "model.encoder_weights",
    "model.ecg_encoder_weights",
    "model.cmr_encoder_weights",
    "model.measurement_encoder_weights",
    "trainer.enable_progress_bar",
)


def fingerprint_of(content: Any) -> str:
    """Return the SHA-256 of JSON-able content in canonical form."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def marker_state(folder: Path) -> dict[str, Any]:
    """Return the content of ``stage.json``, empty if there is none.

    Raises:
        UserError: The file is something else.
    """
    path = folder / _MARKER
    if not path.exists():
        return {}
    content = read_json(path, what="note of a stage", most=100_000)
    if not isinstance(content, dict):
        raise UserError(f"{path}: is no note of a stage; remove the folder {path.parent} to run the stage anew")
    return content


def write_marker(folder: Path, fingerprint: str, *, finished: bool) -> None:
    """Note that the work in ``folder`` with this fingerprint has started or finished."""
    with replace_atomically(folder / _MARKER) as temporary:
        temporary.write_text(json.dumps({"fingerprint": fingerprint, "finished": finished}, indent=2) + "\n")


def is_finished(folder: Path, fingerprint: str) -> bool:
    """Tell whether ``folder`` holds the finished result of this fingerprint."""
    return marker_state(folder) == {"fingerprint": fingerprint, "finished": True}


def is_complete(stage: StageRun, predict: Sequence[str] = ()) -> bool:
    """Return whether a stage is finished, with its predictions; arguments as of ``run_stage``."""
    predicted = all((stage.folder / _prediction_file(split)).is_file() for split in predict)
    return predicted and is_finished(stage.folder, stage.fingerprint)


def run_stage(stage: StageRun, *, predict: Sequence[str] = ()) -> bool:
    """Fit a stage unless it is finished; go on from its last checkpoint if it was cut off.

    Args:
        stage: What to run.
        predict: Splits to predict with the best checkpoint afterwards: ``test`` into ``predictions.npz``, another
            into ``predictions_SPLIT.npz``.

    Returns:
        True if anything was computed, False if the stage was finished already.

    Raises:
        UserError: If the stage did not finish, or ended without a validation and so without a best epoch.
    """
    fingerprint = stage.fingerprint
    predicted = all((stage.folder / _prediction_file(split)).is_file() for split in predict)
    finished = is_finished(stage.folder, fingerprint)
    if finished and predicted:
        (stage.folder / LAST).unlink(missing_ok=True)  # of a run that was cut off right here
        return False
    if not finished:
        started = marker_state(stage.folder) == {"fingerprint": fingerprint, "finished": False}
        if not started:
            with FolderLock(stage.folder, "experiment"):
                remove_all(stage.folder)  # a result of other inputs
                write_marker(stage.folder, fingerprint, finished=False)
        _run("fit", stage, _resume(stage.folder))
    if not (stage.folder / BEST).is_file():
        raise UserError(
            f"stage {stage.name} ended before its first validation, so no epoch is the best; raise trainer.max_steps "
            "or lower trainer.check_val_every_n_epoch"
        )
    for split in sorted(predict, key=lambda split: split == "test"):  # each writes predictions.npz: test comes last
        _run("predict", stage, [f"--ckpt_path={stage.folder / BEST}", *_of_split(split)])
        if split != "test":
            (stage.folder / _prediction_file("test")).replace(stage.folder / _prediction_file(split))
    write_marker(stage.folder, fingerprint, finished=True)
    (stage.folder / LAST).unlink(missing_ok=True)
    return True


def _resume(folder: Path) -> list[str]:
    """Return how a fit goes on in a folder that has been claimed for it: from a whole checkpoint, else anew."""
    from ecgcmr.training.whole_checkpoints import is_whole  # heavy: torch and lightning

    if any(is_whole(folder / name) for name in (LAST, BEST)):
        return [f"--ckpt_path={folder / LAST}"] if (folder / LAST).exists() else [f"--ckpt_path={folder / BEST}"]
    return ["--overwrite"]


def _prediction_file(split: str) -> str:
    return "predictions.npz" if split == "test" else f"predictions_{split}.npz"


def _of_split(split: str) -> list[str]:
    return [] if split == "test" else [f"--data.predict_split={split}"]


def _run(command: str, stage: StageRun, more: list[str]) -> None:
    arguments = [*stage.arguments(), *more]
    if _devices(stage) > 1:
        # ddp starts its ranks from this process's command line, which here is the experiment's: give it its own.
        launcher = shlex.split(os.environ.get(LAUNCHER, ""))
        code = run_apart([*launcher, sys.executable, "-m", "ecgcmr", command, *arguments])
    else:
        from ecgcmr.training import command as stages_command

        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            code = stages_command.run(command, arguments)
        except Terminated:
            raise Terminated from None  # the experiment has its own way to go on
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None
    if code == 130:
        raise KeyboardInterrupt
    if code == EXIT_CODE:
        raise Terminated
    if code != 0:
        raise UserError(
            f"stage {stage.name} did not finish ({command} ended with {code}); its folder is {stage.folder}"
        )


def _devices(stage: StageRun) -> int:
    """Return the number of devices a stage asks for, 1 where it is left to Lightning on a CPU."""
    trainer = mapping_at(read_config(stage.config), "trainer")
    devices = stage.overrides.get("trainer.devices", trainer.get("devices", 1))
    nodes = stage.overrides.get("trainer.num_nodes", trainer.get("num_nodes", 1))
    if devices in ("auto", -1, "-1"):
        import torch

        devices = max(1, torch.cuda.device_count())
    count = len(devices) if isinstance(devices, list) else int(devices)
    return count * int(nodes)
