"""Taking those who withdraw out of the old index before a long run over the raw files begins.

The run writes its index after the last shard. If it were killed before, the old index would go on giving out the rows
of those who withdrew until somebody ran it again.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.shards.index import INDEX_NAME, ShardIndex
from ecgcmr.shards.index_writer import Selector, withdraw


def leave_out_first(out: Path, withdrawn: Collection[str], select: Selector) -> bool:
    """Take subjects out of the index that an earlier run left, if it still gives out anybody of them.

    Args:
        out: The prepared folder.
        withdrawn: Hashes of all who have withdrawn.
        select: Makes the named selections anew from the rows that remain.

    Returns:
        False if there is an index that nobody can use as it is, since it or its shards are damaged or of a run that was
        killed: it cannot be changed, and may not be left either, since coming shards might make it usable again.

    Raises:
        OSError: It cannot be written.
    """
    if not withdrawn or not (out / INDEX_NAME).is_file():
        return True
    try:
        index = ShardIndex.load(out)
        if not set(withdrawn) <= set(index.withdrawn):
            withdraw(out, withdrawn, select)
    except UserError:
        return False
    return True
