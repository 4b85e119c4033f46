"""Which row lies in which shard, remembered from run to run.

A row keeps its shard for as long as its files are there: later subjects open new shards, so that what was prepared is
not touched, and who leaves makes only his own shard anew. The file ``shards/membership.json`` is written before the
first shard; it holds keyed hashes and splits, nothing of a source.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.files import replace_atomically

MEMBERSHIP_NAME = "membership.json"
FEWEST_SHARDS = 16
SMALLEST_SHARD = 32


@dataclass(frozen=True)
class Membership:
    """Who is where.

    Attributes:
        shard_size: Most rows of a shard.
        shards: For each shard the ids of its rows, in order; an emptied shard stays as an empty list.
        split_of: Subject's hash -> split.
    """

    shard_size: int
    shards: list[list[str]]
    split_of: dict[str, str]

    def write(self, folder: Path) -> None:
        """Write ``membership.json`` atomically."""
        content = {"shard_size": self.shard_size, "shards": self.shards, "splits": self.split_of}
        with replace_atomically(folder / MEMBERSHIP_NAME) as temporary:
            temporary.write_text(json.dumps(content, indent=0, sort_keys=True) + "\n", encoding="ascii")


def read_membership(folder: Path, shard_size: int) -> Membership:
    """Read what an earlier run decided; an empty membership if there is none or its shards had another size."""
    try:
        content = json.loads((folder / MEMBERSHIP_NAME).read_bytes())
        earlier = Membership(int(content["shard_size"]), list(content["shards"]), dict(content["splits"]))
    except (OSError, ValueError, KeyError, TypeError):  # none, or none of ours: everything is assigned anew
        return Membership(shard_size, [], {})
    return earlier if earlier.shard_size == shard_size else Membership(shard_size, [], earlier.split_of)


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
