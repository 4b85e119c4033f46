"""What ``prepare`` may write into: a new folder, or one that it prepared itself."""

from __future__ import annotations

from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.preparation.membership import MEMBERSHIP_NAME

_FOREIGN = ("cohort.json", "config.yaml", "last.ckpt", "best.ckpt", "encoder.yaml", "experiment.json")


def refuse_foreign(out: Path, shards: str) -> None:
    """Refuse a folder that holds a cohort or a run of another command, whose shards or files would be replaced.

    Args:
        out: The folder.
        shards: Name of the folder of shards in it.

    Raises:
        UserError: It holds what ``prepare`` has not written.
    """
    if (out / shards / MEMBERSHIP_NAME).is_file():
        return
    found = [name for name in _FOREIGN if (out / name).exists()]
    if found:
        raise UserError(f"--out {out}: holds {found[0]}, which 'ecgcmr prepare' did not write; choose another folder")
