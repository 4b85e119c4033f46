"""The secret key that subjects are hashed with: where it lies, how it is made, how it is known again.

Another key gives every subject another hash: other splits, and withdrawals that match nobody. So a prepared folder
keeps the key's fingerprint, which tells whether a key is the same and not what it is.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path

from ecgcmr.errors import UserError

KEY_BYTES = 32
_FEWEST_BYTES, _MOST_BYTES = 16, 64
_REMEDY = "name one with --key-file"


def default_key_file() -> Path:
    """Return where the key lies by default: ``$XDG_CONFIG_HOME`` (or ``~/.config``) ``/ecgcmr/subject.key``.

    Raises:
        UserError: There is no home folder.
    """
    configured = os.environ.get("XDG_CONFIG_HOME")
    try:
        return (Path(configured) if configured else Path.home() / ".config") / "ecgcmr" / "subject.key"
    except RuntimeError as error:
        raise UserError(f"there is no home folder to keep the secret key in; {_REMEDY}") from error


def load_key(path: Path | None = None) -> bytes:
    """Read the secret key, or create the default one on first use (32 random bytes, readable by its owner only).

    Args:
        path: Key file named by the user, which must exist; None for the default key file.

    Raises:
        UserError: The named file cannot be read or is too short, or the default one cannot be created.
    """
    if path is not None:
        return _read_key(path)
    default = default_key_file()
    if not key_exists(default):
        create_key(default)
    return _read_key(default)


def key_exists(path: Path) -> bool:
    """Tell whether there is anything under a key's name, readable or not.

    Raises:
        UserError: The folder may not be looked into.
    """
    try:
        return os.path.lexists(path) or path.exists()
    except OSError as error:
        raise UserError(f"key file {path} cannot be read ({error.strerror}); {_REMEDY}") from error


def key_fingerprint(key: bytes) -> str:
    """Return 32 hexadecimal digits that are the same for the same key, and tell nothing of it or of any subject."""
    return hashlib.blake2b(b"ecgcmr subject key", key=key, digest_size=16, person=b"fingerprint").hexdigest()


def others_may_read(path: Path) -> bool:
    """Tell whether the file's permissions let anybody but its owner read it."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def _read_key(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"key file {path} is no file; {_REMEDY}")
        with path.open("rb") as stream:
            key = stream.read(_MOST_BYTES)
    except OSError as error:
        raise UserError(f"key file {path} cannot be read ({error.strerror}); {_REMEDY}") from error
    if len(key) < _FEWEST_BYTES:
        raise UserError(
            f"key file {path} has {len(key)} bytes and needs at least {_FEWEST_BYTES} (32 random bytes are best); "
            "restore it if it was longer: a new key makes all subjects new"
        )
    return key


def create_key(path: Path) -> None:
    """Write 32 random bytes to a new file that only its owner may read; a file that is there already stays.

    Raises:
        UserError: It cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike a rename, fails if another process was first: one key wins
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    except OSError as error:
        raise UserError(f"key file {path} cannot be created ({error.strerror}); {_REMEDY}") from error
