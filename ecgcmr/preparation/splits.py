"""Who a subject is and which split it belongs to, without keeping any identifier of the source.

A subject is known by a keyed hash of its source identifier: the same key gives the same hash in every run, and
without the key the hash cannot be traced back by trying all identifiers. The split is a function of the hash alone,
so that it neither depends on which subjects are present nor changes when more arrive.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from ecgcmr.errors import UserError

SPLITS = ("train", "val", "test")
KEY_BYTES = 32


def subject_hash(source_id: str, key: bytes) -> str:
    """Return the keyed BLAKE2b hash (16 bytes) of a source identifier as 32 hexadecimal characters.

    Args:
        source_id: Identifier of the source, such as a UK Biobank participant number.
        key: 16 to 64 secret bytes.

    Raises:
        ValueError: The key is shorter than 16 or longer than 64 bytes.
    """
    if not 16 <= len(key) <= 64:
        raise ValueError(f"the key must have 16 to 64 bytes, not {len(key)}")
    return hashlib.blake2b(source_id.encode("utf-8"), key=key, digest_size=16).hexdigest()


def assign_split(hashed: str, fractions: Sequence[float] = (0.7, 0.15, 0.15), salt: str = "") -> str:
    """Assign a subject to train, val or test by its hash.

    Args:
        hashed: The subject's hash, see ``subject_hash``.
        fractions: Expected fractions of train, val and test; they sum to 1.
        salt: Another salt gives another, equally stable division.

    Returns:
        ``train``, ``val`` or ``test``.

    Raises:
        ValueError: Fractions are not three non-negative numbers that sum to 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions must be three non-negative numbers that sum to 1, got {tuple(fractions)}")
    digest = hashlib.blake2b(hashed.encode("ascii"), key=salt.encode("utf-8")[:64], digest_size=8, person=b"split")
    position = int.from_bytes(digest.digest(), "big") / 2**64
    if position < fractions[0]:
        return "train"
    return "val" if position < fractions[0] + fractions[1] else "test"


def default_key_file() -> Path:
    """Return where the key lies by default: ``$XDG_CONFIG_HOME`` (or ``~/.config``) ``/ecgcmr/subject.key``."""
    configured = os.environ.get("XDG_CONFIG_HOME")
    return (Path(configured) if configured else Path.home() / ".config") / "ecgcmr" / "subject.key"


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
    if not default.exists():
        _create_key(default)
    return _read_key(default)


def _read_key(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise UserError(f"key file {path} cannot be read ({error.strerror}); name one with --key-file") from error
    if len(key) < 16:
        raise UserError(f"key file {path} has {len(key)} bytes; it needs at least 16 (32 random bytes are best)")
    return key[:64]


def _create_key(path: Path) -> None:
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
        raise UserError(f"key file {path} cannot be created ({error.strerror}); name one with --key-file") from error
