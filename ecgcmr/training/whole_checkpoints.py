"""Checkpoints that are whole: written beside their place and renamed, and checked before a run goes on from one."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from ecgcmr.errors import UserError
from ecgcmr.files import replace_atomically
from ecgcmr.training.run_claim import launched_for

BEST, LAST = "best.ckpt", "last.ckpt"


class WholeCheckpoints(TorchCheckpointIO):
    """Writes every checkpoint of a trainer so that the earlier one stands until the new one is on the disk.

    Lightning writes through the system's temporary folder; where that is another file system the file is copied over
    the earlier one, and a process that is killed meanwhile leaves neither.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint; under ddp rank zero alone is asked to.

        Raises:
            OSError: The disk is full or cannot be written to; what was there before still is.
        """
        if storage_options is not None:
            raise TypeError("there are no options of storage for a checkpoint in a folder")
        image = io.BytesIO()  # torch, too, must not meet a full disk half way
        torch.save(checkpoint, image)
        with replace_atomically(Path(path)) as temporary, temporary.open("wb") as out:
            out.write(image.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: Any = True) -> dict[str, Any]:
        """Read a checkpoint; its plain values and tensors alone, whatever Lightning asks for.

        Raises:
            UserError: It is damaged where a look at its plain values alone does not see it.
        """
        try:
            return super().load_checkpoint(path, map_location, weights_only=True)  # it has been read so before
        except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, TypeError, EOFError) as error:
            raise UserError(
                f"ckpt_path: {path} is damaged ({type(error).__name__}); name another checkpoint, or begin anew with "
                "--overwrite"
            ) from error


def is_whole(path: Path) -> bool:
    """Tell whether a checkpoint is there and every part of it has the checksum it was written with."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError):
        return False


def newest_whole(folder: Path) -> Path:
    """Return what a fit goes on from: ``last.ckpt``, or ``best.ckpt`` with a note where that one is damaged.

    Raises:
        UserError: ``last.ckpt`` is damaged and there is nothing else to go on from.
    """
    last, best = folder / LAST, folder / BEST
    if not last.exists() or is_whole(last):
        return last
    if is_whole(best):
        if launched_for() is None:  # else rank zero says it
            print(f"note: {last} is damaged; going on from the older {BEST} instead", file=sys.stderr)
        return best
    raise UserError(f"ckpt_path: {last} is damaged and no other checkpoint is whole; begin anew with --overwrite")
