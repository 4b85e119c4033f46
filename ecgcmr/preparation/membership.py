"""Which row lies in which shard, and what else an earlier run decided, remembered from run to run.

A row keeps its shard for as long as its files are there: later subjects open new shards, so that what was prepared is
not touched, and who leaves makes only his own shard anew. The file ``shards/membership.json`` is written before the
first shard; it holds keyed hashes and splits, nothing of a source. Beside the rows it keeps the fingerprint of the key,
whose file is whose and who has withdrawn: the index holds the last, too, but is written after all shards.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.files import replace_atomically
from ecgcmr.json_file import read_json
from ecgcmr.shards.layout import SPLITS
from ecgcmr.text import printable

MEMBERSHIP_NAME = "membership.json"
FEWEST_SHARDS = 16
SMALLEST_SHARD = 32
_HASH = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True)
class Membership:
    """Who is where.

    Attributes:
        shard_size: Most rows of a shard.
        shards: For each shard the ids of its rows, in order; an emptied shard stays as an empty list.
        split_of: Subject's hash -> split.
        key: Fingerprint of the key; empty where an earlier version wrote the file.
        withdrawn: Hashes of all who have withdrawn; None where an earlier version wrote the file.
        file_owner: Keyed hash of a file's name -> its subject's hash, also for those who have withdrawn.
    """

    shard_size: int
    shards: list[list[str]]
    split_of: dict[str, str]
    key: str = ""
    withdrawn: tuple[str, ...] | None = None
    file_owner: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write ``membership.json`` atomically."""
        content: dict[str, Any] = {"shard_size": self.shard_size, "shards": self.shards, "splits": self.split_of}
        if self.key:
            content["key"] = self.key
        if self.withdrawn is not None:
            content["withdrawn"] = sorted(self.withdrawn)
        if self.file_owner:
            content["files"] = dict(self.file_owner)
        with replace_atomically(folder / MEMBERSHIP_NAME) as temporary:
            temporary.write_text(json.dumps(content, indent=0, sort_keys=True) + "\n", encoding="ascii")


def read_membership(folder: Path, shard_size: int | None = None) -> Membership:
    """Read what an earlier run decided; an empty membership if there is none, no shards if they had another size.

    Args:
        folder: Folder of the shards.
        shard_size: Most rows of a shard in the coming run; None to read what is there as it is.

    Raises:
        UserError: The file is there and damaged: who has withdrawn and who is in which split stand in it.
    """
    path = folder / MEMBERSHIP_NAME
    try:
        if not os.path.lexists(path):
            return Membership(shard_size or 1, [], {})
        earlier = _checked(read_json(path, what="membership"))
    except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else printable(error, 300).removeprefix(f"{path}: ")
        raise UserError(
            f"{path}: is damaged ({what}); who has withdrawn and who is in which split stand in it: restore it, or, if "
            "index.json is whole and says so, too, delete it (all shards are then made anew)"
        ) from error
    if shard_size in (None, earlier.shard_size):
        return earlier
    return replace(earlier, shard_size=shard_size, shards=[])


def _checked(content: Any) -> Membership:
    """Build a membership from JSON.

    Raises:
        ValueError: Something is of another type or range.
        KeyError: Something is missing.
        TypeError: The content is no mapping.
    """
    size, shards, splits = content["shard_size"], content["shards"], content["splits"]
    if type(size) is not int or size < 1:
        raise ValueError("shard_size is no count")
    if not isinstance(shards, list) or not all(isinstance(shard, list) for shard in shards):
        raise ValueError("shards is no list of lists")
    rows = [row for shard in shards for row in shard]
    if not all(isinstance(row, str) for row in rows) or len(set(rows)) != len(rows):
        raise ValueError("shards names a row twice, or something that is no row")
    if not isinstance(splits, dict) or not set(splits.values()) <= set(SPLITS):
        raise ValueError("splits names a split that there is not")
    key, withdrawn, files = content.get("key", ""), content.get("withdrawn"), content.get("files", {})
    if not isinstance(key, str):
        raise ValueError("key is no text")
    if withdrawn is not None and not (isinstance(withdrawn, list) and all(map(_is_hash, withdrawn))):
        raise ValueError("withdrawn is no list of hashes")
    if not isinstance(files, dict) or not all(map(_is_hash, files.values())):
        raise ValueError("files is no mapping to hashes")
    return Membership(size, shards, splits, key, None if withdrawn is None else tuple(withdrawn), files)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def extend_membership(earlier: Membership, rows: Sequence[str], split_of: Mapping[str, str]) -> Membership:
    """Keep the rows that are still there in their shards and put the others, in the given order, into new ones.

    New shards are of equal length to within one row. A small cohort is divided into up to 16 shards of at least 32
    rows, so that several workers share it evenly.

    Args:
        earlier: What the last run decided.
        rows: Ids of all rows there are now.
        split_of: Subject's hash -> split, of all subjects there are now.
    """
    present = set(rows)
    kept = [[row for row in shard if row in present] for shard in earlier.shards]
    placed = {row for shard in kept for row in shard}
    new = [row for row in rows if row not in placed]
    return Membership(earlier.shard_size, kept + partition(new, earlier.shard_size), dict(split_of))


def partition(rows: Sequence[str], shard_size: int) -> list[list[str]]:
    """Divide rows into shards of at most ``shard_size``, of equal length to within one row."""
    if not rows:
        return []
    count = max(math.ceil(len(rows) / shard_size), min(FEWEST_SHARDS, len(rows) // SMALLEST_SHARD))
    bounds = [len(rows) * i // count for i in range(count + 1)]
    return [list(rows[start:end]) for start, end in zip(bounds, bounds[1:], strict=False)]
