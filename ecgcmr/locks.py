"""A folder has one writer at a time: a lock that a killed process cannot leave behind.

The lock is ``flock`` on a file in the folder, which the kernel gives back however its process ends. The file says who
holds it, for the message to a second writer, and is removed with the lock. Reading needs no lock: every file of this
program appears whole.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import os
import socket
import sys
import weakref
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from ecgcmr.errors import UserError
from ecgcmr.files import remove_paths, remove_unfinished

LOCK_NAME = ".ecgcmr.lock"

P = ParamSpec("P")
R = TypeVar("R")

_CANNOT_BE_WRITTEN = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOSPC, errno.EDQUOT)
_NOT_SUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)


class FolderLock:
    """Keeps other writers out of a folder while it is entered, and clears away what a killed one left half-written.

    Where the folder cannot be written to there is nothing to keep anybody out of: no lock is taken, and a write fails
    with its own reason. Where the file system knows no locks, a note says so.

    Args:
        folder: Made if need be, and removed again if it stayed empty.
        command: What the holder does, such as ``fit``; a second writer reads it.
        create: False leaves a folder that is not there alone.
    """

    def __init__(self, folder: Path, command: str, *, create: bool = True) -> None:
        self.folder = folder
        self.command = command
        self.create = create
        self._descriptor: int | None = None
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            UserError: Another process, or another part of this one, holds it; the message says who.
        """
        if self.folder.is_file():
            raise UserError(f"{self.folder}: is a file, where a folder is to be; choose another folder")
        try:
            if self.create:
                self._make_folder()
            if self.folder.is_dir():
                self._take()
        except OSError as error:
            if error.errno not in _CANNOT_BE_WRITTEN:
                raise
        except UserError:
            self._remove_empty()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock back."""
        self.release()

    def release(self) -> None:
        """Give the lock back; a second time does nothing."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.folder / LOCK_NAME)  # before the lock goes, so that nobody waits for a removed file
            os.close(self._descriptor)
            self._descriptor = None
        self._remove_empty()

    def _make_folder(self) -> None:
        missing = []
        folder = self.folder
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                self._made.insert(0, folder)

    def _remove_empty(self) -> None:
        """Remove what was made for the lock alone."""
        with contextlib.suppress(OSError):  # it holds something by now
            for folder in self._made:
                folder.rmdir()
        self._made = []

    def _take(self) -> None:
        path = self.folder / LOCK_NAME
        while True:
            descriptor = _open(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = _read(descriptor)
                os.close(descriptor)
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise UserError(
                        f"{self.folder}: {_held_by(holder)}; wait for it or choose another folder"
                    ) from None
                if error.errno in _NOT_SUPPORTED:
                    print(
                        f"note: {self.folder}: its file system knows no locks; let nothing else write there",
                        file=sys.stderr,
                    )
                    return
                raise
            if _is_at(path, descriptor):
                break
            os.close(descriptor)  # the last holder removed the file between our two steps
        self._descriptor = descriptor
        os.register_at_fork(after_in_child=functools.partial(_leave_to_parent, weakref.ref(self)))
        about = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "command": self.command,
            "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        }
        with contextlib.suppress(OSError):  # of another user, or the disk is full: the lock stands all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(about).encode(), 0)
        remove_unfinished(self.folder)


def is_locked(folder: Path) -> bool:
    """Return whether a process writes to a folder, as its lock says; the lock itself is left alone.

    A note of this machine whose process has ended was left by one that was killed.
    """
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # nobody does
        return False
    try:
        holder = _read(descriptor)
    finally:
        os.close(descriptor)
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int):
        return bool(holder)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def remove_all(folder: Path) -> None:
    """Remove all that is in a folder, save for the lock that says it is in use."""
    remove_paths([path for path in folder.iterdir() if path.name != LOCK_NAME])


def is_held(folder: Path) -> bool:
    """Tell whether a process writes in a folder; one that cannot be asked about counts as idle."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def locked(
    command: str, folder_in: Callable[P, Path], *, create: bool = True
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that holds a folder's lock while the function runs.

    Args:
        command: As of ``FolderLock``.
        folder_in: Takes the function's arguments and returns the folder.
        create: As of ``FolderLock``.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with FolderLock(folder_in(*args, **kwargs), command, create=create):
                return function(*args, **kwargs)

        return run

    return decorate


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # made by another user


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        there, held = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def _leave_to_parent(reference: weakref.ref[FolderLock]) -> None:
    """Close a forked child's copy of the lock, which would outlive the parent's death with it."""
    lock = reference()
    if lock is not None and lock._descriptor is not None:
        os.close(lock._descriptor)
        lock._descriptor, lock._made = None, []


def _read(descriptor: int) -> dict[str, object]:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError, RecursionError):  # it has been taken a moment ago, or cannot be read
        return {}


def _held_by(holder: dict[str, object]) -> str:
    if not {"pid", "host", "command", "since"} <= set(holder):
        return "another process is writing there"
    return (
        f"'ecgcmr {holder['command']}' is writing there (process {holder['pid']} on {holder['host']}, since "
        f"{holder['since']})"
    )
