"""Which folder a fit writes to: one without a run, the one it goes on in, or one it was given leave to begin anew."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning.fabric.plugins.environments import SLURMEnvironment

from ecgcmr.errors import UserError
from ecgcmr.files import remove_paths
from ecgcmr.locks import LOCK_NAME, FolderLock
from ecgcmr.shipped_configs import config_at

OVERWRITE, NEW_FOLDER = "--overwrite", "--new_folder"
LAUNCHED_FOR = "ECGCMR_RUN_FOLDER"
"""Set for the ranks that Lightning starts: rank zero's process and the folder that it chose."""
JOB_NOTE = "slurm_job"
"""File of a run folder: the number of the SLURM job that its training began in."""

CONFIG = "config.yaml"
"""Of a run folder: all settings of its fit."""

_REQUEUED = "hpc_ckpt_*.ckpt"  # what Lightning saves when SLURM is about to take a job off and queue it again
_OF_A_RUN = (
    CONFIG, "*.ckpt", "encoder.safetensors", "encoder.yaml", "cmr_encoder", "measurement_encoder", "metrics.json",
    "predictions*.npz", "predictions.parquet", "tensorboard", "csv", "wandb", "mlflow.db", "mlartifacts",
    "trackers.json", "resumed.json", "tuning.json", "run.json", JOB_NOTE,
)  # fmt: skip
_MOST_FOLDERS = 10_000


@dataclass(frozen=True)
class Leave:
    """What the user allows where a folder holds a run already.

    Attributes:
        overwrite: Its files may be removed when the new training starts.
        new_folder: The run goes to a numbered folder beside it.
    """

    overwrite: bool = False
    new_folder: bool = False


def take_leave(arguments: Sequence[str]) -> tuple[list[str], Leave]:
    """Take the two flags out of a command line; no config file may give leave, it would do so again and again.

    Raises:
        UserError: Both are given, or one with a value.
    """
    for flag in (OVERWRITE, NEW_FOLDER):
        if any(word.startswith(f"{flag}=") for word in arguments):
            raise UserError(f"{flag} takes no value")
    leave = Leave(OVERWRITE in arguments, NEW_FOLDER in arguments)
    if leave.overwrite and leave.new_folder:
        raise UserError(f"{OVERWRITE} and {NEW_FOLDER} exclude each other; give one of them")
    return [word for word in arguments if word not in (OVERWRITE, NEW_FOLDER)], leave


def launch_mark(folder: Path) -> str:
    """Return what rank zero writes into ``LAUNCHED_FOR`` for the ranks that this process starts."""
    return f"{os.getpid()} {folder}"


def launched_for() -> Path | None:
    """Return the folder of the run whose rank zero started this process; None for everybody else.

    The variable alone says nothing: it could have been left behind, and a run would go to another run's folder.
    """
    process, _, folder = os.environ.get(LAUNCHED_FOR, "").partition(" ")
    return Path(folder) if folder and process == str(os.getppid()) else None


def run_files(folder: Path) -> list[Path]:
    """Return the files and folders of a run that lie in ``folder``, sorted."""
    return sorted({path for pattern in _OF_A_RUN for path in folder.glob(pattern)})


def default_run_folder(arguments: Sequence[str]) -> Path:
    """Return ``runs/<folder>/<stem>`` of the config file, such as ``runs/mae/demo`` for ``mae/demo``.

    Several files that are laid over each other all give their names: ``runs/mae/demo+byol``, in the first one's folder.
    """
    configs = [path.resolve() for path in _configs(arguments)]
    if not configs:
        return Path("runs") / "unnamed"
    return Path("runs") / configs[0].parent.name / "+".join(config.stem for config in configs)


def run_of_config(arguments: Sequence[str]) -> Path | None:
    """Return the run folder that a command line means by naming its ``config.yaml``; None if it names another file.

    What the file says of its folder is where that lay at the time of the fit, seen from the folder that it ran in.
    """
    if any(word.partition("=")[0] == "--trainer.default_root_dir" for word in arguments):
        return None
    configs = _configs(arguments)
    if len(configs) != 1 or configs[0].name != CONFIG:
        return None
    folder = configs[0].parent
    return folder if [path for path in run_files(folder) if path.name != CONFIG] else None


def _configs(arguments: Sequence[str]) -> list[Path]:
    """Return the config files that a command line names, by their path or by the name of one that is shipped."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    split = ((*word.partition("="), after) for word, after in pairs)
    names = [value or after for flag, _, value, after in split if flag in ("-c", "--config")]
    return [config_at(name) or Path(name) for name in names]


def choose_folder(folder: Path, leave: Leave, checkpoint: Path | None) -> Path:
    """Return the folder a fit writes to.

    Args:
        folder: The one asked for.
        leave: What the user allows.
        checkpoint: What the fit starts from, if it does.

    Raises:
        UserError: The folder holds a run and nothing says what is to become of it, or what is said contradicts itself.
    """
    launched = launched_for()
    if launched is not None:
        return launched
    if folder.is_file():
        raise UserError(
            f"{folder}: is a file, where the run folder is to be; choose another --trainer.default_root_dir"
        )
    goes_on = checkpoint is not None and checkpoint.resolve().parent == folder.resolve()
    if goes_on and (leave.overwrite or leave.new_folder):
        flag = OVERWRITE if leave.overwrite else NEW_FOLDER
        raise UserError(f"--ckpt_path goes on in {folder}, {flag} begins anew; give one of them")
    if leave.new_folder:
        return _numbered(folder)
    requeued = sorted(folder.glob(_REQUEUED))
    if requeued and checkpoint is None and SLURMEnvironment.detect():
        if leave.overwrite:
            raise UserError(f"{folder}: a SLURM job goes on from {requeued[-1].name}; remove that file to begin anew")
        return folder
    if not (goes_on or leave.overwrite):
        _refuse_run(folder)
    return folder


def _refuse_run(folder: Path) -> None:
    found = run_files(folder)
    if found:
        with FolderLock(folder, "fit", create=False):  # a run that is being written is refused as such
            pass
        raise UserError(
            f"{folder} holds a run ({found[0].name}); add --ckpt_path last to go on with it, {OVERWRITE} to begin anew "
            f"in its place, or {NEW_FOLDER} to write to {_free(folder)}"
        )


def remove_requeued(folder: Path) -> None:
    """Remove what SLURM's requeuing left, once the fit it belongs to has ended."""
    remove_paths(sorted(folder.glob(_REQUEUED)))


def _numbered(folder: Path) -> Path:
    if any(name in os.environ for name in ("RANK", "LOCAL_RANK", "NODE_RANK")):
        raise UserError(
            f"{NEW_FOLDER}: ranks that are started one by one cannot agree on a number; name the folder with "
            "--trainer.default_root_dir"
        )
    return _free(folder)


def _free(folder: Path) -> Path:
    """Return the folder itself, or the first numbered one, that holds no run and is not in use."""
    for number in range(1, _MOST_FOLDERS):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if not run_files(candidate) and not (candidate / LOCK_NAME).exists():
            return candidate
    raise UserError(f"{folder}: {_MOST_FOLDERS} folders beside it hold runs; choose another name")
