"""The line after an interruption: what it says to type is what goes on, whatever the run was started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ecgcmr.training.run_claim import Leave
from ecgcmr.training.run_session import RunSession


def _advice(folder: Path, saved: bool, resumes: Path | None = None, **leave: Any) -> str:
    """Return what a fit into a folder says that was cut off after its start, with or without a checkpoint."""
    session = RunSession("fit", Leave(**leave))
    session.resumes = resumes
    session.hold(folder, None, writes=False)
    session.started = True
    (folder / "config.yaml").touch()
    if saved:
        (folder / "new").write_bytes(b"checkpoint")
        (folder / "new").replace(folder / "last.ckpt")
    return session.advice().replace(f"{folder}", "RUN")


@pytest.mark.parametrize("saved", [True, False])
def test_a_run_that_goes_on_from_its_own_last_checkpoint(tmp_path: Path, saved: bool) -> None:
    (tmp_path / "last.ckpt").touch()
    assert _advice(tmp_path, saved, tmp_path / "last.ckpt") == "the same command goes on"


def test_a_run_that_began_from_another_checkpoint_goes_on_from_its_own(tmp_path: Path) -> None:
    """The same command would be refused, or begin from the old checkpoint again."""
    other = Path("runs/other/best.ckpt")
    text = "add --ckpt_path last in place of --ckpt_path runs/other/best.ckpt"
    assert _advice(tmp_path, True, other) == f"{text} to the same command to go on"
    assert _advice(tmp_path, True, other, overwrite=True) == f"{text} and --overwrite to the same command to go on"
    assert _advice(tmp_path, True, tmp_path / "best.ckpt").startswith(
        "add --ckpt_path last in place of --ckpt_path RUN/"
    )


def test_before_the_first_checkpoint(tmp_path: Path) -> None:
    """A last.ckpt of an earlier run is no checkpoint of this one."""
    other = Path("runs/other/best.ckpt")
    refused = "nothing to go on from yet: add --overwrite to the same command, which"
    assert _advice(tmp_path, False) == f"{refused} begins anew"
    assert _advice(tmp_path, False, other) == f"{refused} begins again from {other}"
    (tmp_path / "last.ckpt").touch()
    assert _advice(tmp_path, False, tmp_path / "best.ckpt") == "the same command begins again from RUN/best.ckpt"
    assert _advice(tmp_path, False, overwrite=True) == "the same command begins anew"
    assert _advice(tmp_path, False, new_folder=True) == "the same command begins anew"


def test_a_numbered_folder_is_named(tmp_path: Path) -> None:
    text = (
        "add --ckpt_path last in place of --new_folder to the same command with --trainer.default_root_dir RUN to go on"
    )
    assert _advice(tmp_path, True, new_folder=True) == text
