"""The digest that ties a shard to its index: a hash of all columns, carried by the shard and named by ``index.json``.

A run that is killed between two shards leaves shards of two runs, perhaps of equal length and layout, and an index of
the earlier one. The digest is a function of the content alone, so that the same rows give the same bytes; it covers
the records through their checksums. Comparing it costs one attribute when a shard is opened anyway.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import h5py
import numpy as np

from ecgcmr.errors import UserError

DIGEST = "digest"
"""Name of the shard's attribute, and of the entry under ``shards`` in the index."""
ANOTHER_RUN = (
    "is not the shard that index.json names, as after a preparation that was cut off: "
    "run the same 'ecgcmr prepare' again"
)
_RECORDS = ("ecg", "cmr", "cmr_mask")


def digest_columns(file: h5py.File) -> str:
    """Hash every dataset of an open shard but the records themselves: 32 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(set(file) - set(_RECORDS)):
        values = np.ascontiguousarray(file[name][:])
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()[:32]


def stored_digest(file: h5py.File) -> str:
    """Return the digest that an open shard carries; empty text if it was written before there were any."""
    found = file.attrs.get(DIGEST, "")
    return found if isinstance(found, str) else ""


def check_digest(file: h5py.File, name: str, expected: str) -> None:
    """Make sure that an open shard is the one that the index names.

    Args:
        file: The shard.
        name: Its own name, for the message.
        expected: What the index says; empty text where it names no digest, as older ones do.

    Raises:
        UserError: The shard was written by another run.
    """
    if stored_digest(file) != expected:
        raise UserError(f"{name}: {ANOTHER_RUN}")


def check_digests(shards: dict[Path, str]) -> None:
    """Check many shards at once, some tenths of a millisecond each.

    A file that is damaged is left to its first reader, who says what is wrong with it.

    Args:
        shards: File -> what the index says.

    Raises:
        UserError: A shard was written by another run.
    """
    for path, expected in shards.items():
        with contextlib.suppress(OSError, KeyError, RuntimeError), h5py.File(path, "r", locking=False) as file:
            check_digest(file, path.name, expected)
