"""Work that another experiment of the same matrix has finished, taken over instead of done again.

Files are linked, not copied, where the file system can: all that this program writes is replaced whole and never
changed in place, so that a link stays what it was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from ecgcmr.experiments.stage_runs import is_finished, write_marker
from ecgcmr.files import replace_atomically
from ecgcmr.locks import LOCK_NAME, FolderLock, remove_all
from ecgcmr.yaml_file import read_yaml

_MARKER = "stage.json"
_SETTINGS = "config.yaml"


def borrow(folder: Path, fingerprint: str, lenders: Iterable[Path]) -> bool:
    """Fill a folder with what has the same fingerprint elsewhere.

    Args:
        folder: Of a run or of features.
        fingerprint: Of all that its result depends on.
        lenders: Folders whose folders may hold the same.

    Returns:
        Whether there was one.
    """
    for lender in lenders:
        for other in sorted(lender.iterdir()) if lender.is_dir() else ():
            if other != folder and is_finished(other, fingerprint) and _take_over(other, folder, fingerprint):
                return True
    return False


def _take_over(other: Path, folder: Path, fingerprint: str) -> bool:
    """Return whether all was linked while the lender stayed what it was; it may be run anew at the same time."""
    with FolderLock(folder, "experiment"):
        remove_all(folder)
        with contextlib.suppress(FileNotFoundError):
            _link_all(other, folder)
            if is_finished(other, fingerprint):
                write_marker(folder, fingerprint, finished=True)
                return True
        remove_all(folder)
    return False


def _link_all(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        elif path.name == _SETTINGS and path.parent == source:  # it names its own folder
            with replace_atomically(place) as temporary:
                moved = _moved(read_yaml(path, what="settings of a run"), str(source), str(target))
                comments = [line for line in path.read_text().splitlines(keepends=True) if line.startswith("#")]
                temporary.write_text("".join(comments) + yaml.safe_dump(moved, sort_keys=False, allow_unicode=True))
        elif path.name not in (_MARKER, LOCK_NAME):
            _link(path, place)


def _moved(settings: Any, source: str, target: str) -> Any:
    """Return settings of a run with the new place of its folder; text would not do: YAML breaks paths at spaces."""
    if isinstance(settings, dict):
        return {name: _moved(value, source, target) for name, value in settings.items()}
    if isinstance(settings, list):
        return [_moved(value, source, target) for value in settings]
    if isinstance(settings, str) and (settings == source or settings.startswith(f"{source}{os.sep}")):
        return target + settings[len(source) :]
    return settings


def _link(path: Path, place: Path) -> None:
    with contextlib.suppress(OSError):  # another file system, or one without links
        os.link(path, place)
        return
    with replace_atomically(place) as temporary:
        shutil.copyfile(path, temporary)
