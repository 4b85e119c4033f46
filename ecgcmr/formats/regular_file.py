"""Whether a path is a file with content of its own: a pipe would be waited for, a device never ends."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

from ecgcmr.errors import UserError

NO_SUCH_FILE = "no such file"
_KINDS = {
    stat.S_IFDIR: "is a folder, not a file",
    stat.S_IFIFO: "is a named pipe, not a file; write its content to a file",
    stat.S_IFSOCK: "is a socket, not a file",
    stat.S_IFCHR: "is a device, not a file",
    stat.S_IFBLK: "is a device, not a file",
}


def why_not_regular(path: Path) -> str | None:
    """Return why a path is no file whose content can be read to its end; None if it is one.

    Links are followed. What cannot be looked at for want of permission is taken for a file: opening it says more.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "is a link that leads back to itself"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return "is a link to a file that is not there" if path.is_symlink() else NO_SUCH_FILE
        return None
    except ValueError:  # a path with a zero byte
        return NO_SUCH_FILE
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "is not a file")


def require_regular(path: Path) -> None:
    """Refuse a path that is no file, before it is opened.

    Raises:
        UserError: It is none; the message leaves out the path, see ``limits.naming``.
    """
    reason = why_not_regular(path)
    if reason is not None:
        raise UserError(reason)


def refuse_special(path: Path) -> None:
    """Refuse, by its name, a path that is there but no file; one that is absent is left to whoever opens it.

    Raises:
        UserError: It is a folder, a pipe, a socket, a device, or a link that leads nowhere.
    """
    reason = why_not_regular(path)
    if reason not in (None, NO_SUCH_FILE):
        raise UserError(f"{path.name}: {reason}")
