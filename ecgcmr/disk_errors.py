"""Errors of the disk as one line for the user: full, over quota, read-only, without permission."""

from __future__ import annotations

import errno
import os
import sys

_OF_THE_DISK = {
    errno.ENOSPC: "free some space there or choose another folder",
    errno.EDQUOT: "the quota is used up; free some space there or choose another folder",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a folder for which you have permission",
    errno.EPERM: "choose a folder for which you have permission",
    errno.EFBIG: "the file system or a limit allows no file so large; choose another folder",
    errno.EIO: "the disk reports an error; look at it before anything else is written there",
}
"""Error number -> remedy."""


def disk_error_line(error: OSError) -> str | None:
    """Return one line that says which file and what to do, or None if the error is not about a file or disk.

    Args:
        error: What was raised; errors of a write that name no file are those of a stream or a temporary file.
    """
    reason = error.strerror or str(error)
    remedy = _OF_THE_DISK.get(error.errno or 0)
    if error.filename is not None:
        file = error.filename2 if error.filename2 is not None and _was_written(error) else error.filename  # of a copy
        name = os.fsdecode(file) if isinstance(file, (str, bytes)) else str(file)
        return f"{name}: {reason}" + (f"; {remedy}" if remedy and _was_written(error) else "")
    if remedy is None:
        return None
    place = "standard output" if _stdout_is_stuck() else "a temporary or log file"
    return f"{place}: {reason}; {remedy}"


def _was_written(error: OSError) -> bool:
    """Whether the error is surely of writing: a file without permission may as well be one to be read."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def _stdout_is_stuck() -> bool:
    """Whether what was printed cannot be written; if so it is dropped, or Python would complain again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
