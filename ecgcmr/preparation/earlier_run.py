"""What an earlier run left in a prepared folder, and the key that it was made with.

Two files remember it: ``shards/membership.json``, written before the first shard, and ``index.json``, written after the
last. Each is enough to know who has withdrawn, so that neither a deleted index nor one put back from a copy brings
anybody back.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.preparation.membership import MEMBERSHIP_NAME, Membership, read_membership
from ecgcmr.preparation.subject_key import default_key_file, key_exists, key_fingerprint, load_key, others_may_read
from ecgcmr.shards.index import INDEX_NAME, ShardIndex

SHARD_FOLDER = "shards"
KEY_FINGERPRINT = "key_fingerprint"
"""Where ``index.json`` keeps the fingerprint, under ``extra``."""


@dataclass(frozen=True)
class EarlierRun:
    """What is known of a folder before a run.

    Attributes:
        out: The folder.
        exists: Whether anything was prepared in it, or was begun.
        membership: Which row lies where; empty if there is none.
        split_of: Subject's hash -> split, from membership and index.
        withdrawn: Hashes of all who have withdrawn.
        key: Fingerprint of the key; empty if an earlier version wrote the folder.
    """

    out: Path
    exists: bool
    membership: Membership
    split_of: dict[str, str] = field(default_factory=dict)
    withdrawn: frozenset[str] = frozenset()
    key: str = ""

    @property
    def known(self) -> set[str]:
        """Hashes of all subjects that were ever in the folder, as far as it still says so."""
        return {*self.split_of, *self.withdrawn, *self.membership.file_owner.values()}


def read_earlier(out: Path, shard_size: int, *, lists_withdrawn: bool = False) -> EarlierRun:
    """Read what an earlier run left; nothing is written.

    Args:
        out: The folder, which need not exist.
        shard_size: Most rows of a shard in the coming run.
        lists_withdrawn: Whether the coming run is given the list of those who withdrew, so that it is not lost with
            a damaged index.

    Raises:
        UserError: Who has withdrawn cannot be known any more, or membership and index are of different keys.
    """
    membership = read_membership(out / SHARD_FOLDER, shard_size)
    has_membership = (out / SHARD_FOLDER / MEMBERSHIP_NAME).is_file()
    index = _read_index(out, may_be_lost=lists_withdrawn or membership.withdrawn is not None)
    if index is None and not has_membership:
        if any((out / SHARD_FOLDER).glob("shard-*.h5")):
            raise UserError(
                f"{out}: holds shards, but neither {INDEX_NAME} nor {SHARD_FOLDER}/{MEMBERSHIP_NAME}, where it stands "
                "who has withdrawn; restore one of them, or prepare into another folder with --withdrawn"
            )
        return EarlierRun(out, False, membership)
    if index is None and membership.withdrawn is None and not lists_withdrawn:
        print(
            f"note: {out} has no {INDEX_NAME}, so nobody counts as withdrawn; pass --withdrawn if anybody was",
            file=sys.stderr,
        )
    splits, withdrawn, key = dict(membership.split_of), set(membership.withdrawn or ()), membership.key
    if index is not None:
        withdrawn |= set(index.withdrawn)
        splits = dict(zip(index.subjects().tolist(), index.splits().tolist(), strict=True)) | splits
        of_index = str(index.extra.get(KEY_FINGERPRINT, ""))
        if key and of_index and key != of_index:
            raise UserError(
                f"{out}: {INDEX_NAME} and {SHARD_FOLDER}/{MEMBERSHIP_NAME} were made with different secret keys, so "
                "one of them is of another folder; restore the right one"
            )
        key = key or of_index
    return EarlierRun(out, True, membership, splits, frozenset(withdrawn), key)


def _read_index(out: Path, *, may_be_lost: bool) -> ShardIndex | None:
    if not (out / INDEX_NAME).is_file():
        return None
    try:
        return ShardIndex.load(out, check_files=False)
    except UserError as error:
        if may_be_lost:
            return None
        # Silence here would bring a withdrawn subject back.
        raise UserError(
            f"{error}; who has withdrawn is listed there: restore it, or delete it and pass --withdrawn again"
        ) from error


def key_for(earlier: EarlierRun, key_file: Path | None) -> bytes:
    """Return the secret key for a run into a folder; say so if it is made now or others may read it.

    Args:
        earlier: What is in the folder.
        key_file: File named by the user; None for the default one.

    Raises:
        UserError: The folder was made with another key, or with one and there is none; or the key cannot be read.
    """
    path = default_key_file() if key_file is None else key_file
    is_new = key_file is None and not key_exists(path)
    if is_new and earlier.exists:
        raise UserError(
            f"{earlier.out}: was prepared with a secret key, and {path} does not exist; name the key with --key-file "
            "(a new one would give all subjects other hashes and splits, and bring back who has withdrawn)"
        )
    key = load_key(key_file)
    if is_new:
        print(f"note: made a new secret key, {path}; keep a copy: without it nobody can be matched", file=sys.stderr)
    elif others_may_read(path):
        print(f"note: others may read the secret key {path}; run chmod 600 on it", file=sys.stderr)
    if earlier.key and earlier.key != key_fingerprint(key):
        raise UserError(
            f"{earlier.out}: was prepared with another secret key than {path}; name the right one with --key-file"
        )
    return key


def check_key_by_subjects(earlier: EarlierRun, key_file: Path | None, hashes: Collection[str]) -> None:
    """Make sure of the key where an earlier version left no fingerprint: some subject must come out the same.

    A hash of 16 bytes is not met by chance, so that one is enough.

    Args:
        earlier: What is in the folder.
        key_file: File named by the user, for the message.
        hashes: Hashes of the subjects there are now, by the key in question.

    Raises:
        UserError: Nobody comes out the same.
    """
    if earlier.exists and not earlier.key and earlier.known and earlier.known.isdisjoint(hashes):
        path = default_key_file() if key_file is None else key_file
        raise UserError(
            f"{earlier.out}: none of its subjects is among the present ones, so {path} is most likely another secret "
            "key than it was prepared with; name the right one with --key-file, or another folder with --out"
        )
