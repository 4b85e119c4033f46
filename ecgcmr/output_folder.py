"""Writing a folder of results: all of it together, and nothing of another origin is replaced unasked.

A hidden file, ``.ecgcmr.json``, says which command wrote which files from what, as checksums. The same command on the
same input may write again; anything else in the way is refused without ``--overwrite``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.files import remove_paths, write_atomically
from ecgcmr.json_file import recall_json
from ecgcmr.locks import FolderLock

MARKER = ".ecgcmr.json"


@contextmanager
def output_folder(
    folder: Path,
    command: str,
    source: Mapping[str, Any],
    *,
    names: Sequence[str] = (),
    overwrite: bool = False,
    keep_others: bool = False,
    renewed: tuple[str, ...] = (),
) -> Iterator[Path]:
    """Give a folder to write to, and move what was written there to its place when all of it is whole.

    Args:
        folder: Where the results go; it is locked meanwhile.
        command: Which command writes.
        source: What the results follow from, JSON-able; no path and nothing of a subject.
        names: Files the command always writes, so that a folder is refused before the work, not after.
        overwrite: Replace whatever is in the way.
        keep_others: Keep what an earlier call of the command on the same input wrote under other names.
        renewed: Starts of names of which nothing earlier is kept.

    Yields:
        An empty folder on the same file system.

    Raises:
        UserError: Something of another origin is in the way, or another process writes there.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder}: is a file; choose another name")
    origin = {"command": command, "source": _digest(source)}
    with FolderLock(folder, command):
        earlier = _earlier(folder)
        if not overwrite:
            _refuse_other(folder, origin, earlier, names)
        remove_paths(list(folder.glob(f".{command}.*.tmp")))  # of a call that was killed
        staged = folder / f".{command}.{os.getpid()}.tmp"
        try:
            staged.mkdir(parents=True)
            yield staged
            _move(staged, folder, origin, earlier, overwrite=overwrite, keep_others=keep_others, renewed=renewed)
        except OSError as error:
            name = str(error.filename or "")
            if name.startswith(f"{staged}"):  # the user knows the place, not the way there
                error.filename = str(folder) + name.removeprefix(str(staged))
            raise
        finally:
            with suppress(OSError):  # of a read-only disk, where there is nothing to remove; the first error counts
                remove_paths([staged])


def _digest(source: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(source, sort_keys=True, default=str).encode()).hexdigest()


def _earlier(folder: Path) -> dict[str, Any]:
    """Return what is known of the results that lie in a folder, empty if nothing is."""
    try:
        content = recall_json(folder / MARKER)
        known = {"command": str(content["command"]), "source": str(content["source"])}
        return {**known, "files": [str(name) for name in content["files"]]}
    except (KeyError, TypeError):
        return {}


def _refuse_other(folder: Path, origin: Mapping[str, str], earlier: Mapping[str, Any], names: Sequence[str]) -> None:
    there = [name for name in names if (folder / name).exists()]
    if not there or all(earlier.get(key) == value for key, value in origin.items()):
        return
    what = "made from other input or with other options" if earlier.get("command") == origin["command"] else (
        f"of 'ecgcmr {earlier['command']}'" if earlier else "of another origin"
    )  # fmt: skip
    raise UserError(f"--out {folder}: holds {there[0]} {what}; choose another folder or add --overwrite")


def _move(
    staged: Path,
    folder: Path,
    origin: Mapping[str, str],
    earlier: Mapping[str, Any],
    *,
    overwrite: bool,
    keep_others: bool,
    renewed: tuple[str, ...],
) -> None:
    """Move all files to their places; those of an earlier call that have no successor are removed."""
    made = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
    if not made:
        return
    # What --overwrite replaces goes as a whole: figures of other results must not lie beside the new ones.
    before = earlier.get("files", []) if overwrite or earlier.get("command") == origin["command"] else []
    for name in made:
        if not overwrite and name not in before and (folder / name).exists():
            raise UserError(f"--out {folder}: holds {name} of another origin; choose another folder or add --overwrite")
    keep_others = keep_others and all(earlier.get(key) == value for key, value in origin.items())
    kept = [name for name in before if keep_others and not name.startswith(renewed)]
    gone = [name for name in before if name not in made and name not in kept and _is_below(name)]
    files = sorted({*made, *kept})
    write_atomically(folder / MARKER, (json.dumps({**origin, "files": files}, indent=1) + "\n").encode())
    for name in made:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged / name, folder / name)
    remove_paths([folder / name for name in gone])


def _is_below(name: str) -> bool:
    """Tell whether a name that a marker gives, which somebody may have changed, is a path within its folder."""
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name
