"""What an index gives out against what the folder knows: statistics of labels, and who has withdrawn.

An index that was edited, or put back from a copy made before somebody withdrew, is whole in itself; training reads
nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ecgcmr.preparation.earlier_run import SHARD_FOLDER
from ecgcmr.preparation.membership import MEMBERSHIP_NAME, read_membership
from ecgcmr.shards.index import INDEX_NAME, ShardIndex
from ecgcmr.shards.index_writer import label_statistics

_CLOSE = 1e-6  # other versions of NumPy sum in another order


def statistics_faults(index: ShardIndex) -> list[str]:
    """Return one line for each label whose statistics are not those of the training rows given out.

    Args:
        index: The index; its shards must be whole.
    """
    found = label_statistics(index)
    return [
        f"{INDEX_NAME}: statistics.{name} are not those of the training rows"
        for name in sorted(set(found) | set(index.statistics))
        if not _same(index.statistics.get(name, {}), found.get(name, {}))
    ]


def withdrawn_faults(index: ShardIndex) -> list[str]:
    """Return a line if the index gives out rows of subjects who have withdrawn according to the file beside the shards.

    Raises:
        UserError: That file is damaged.
    """
    withdrawn = read_membership(index.root / SHARD_FOLDER).withdrawn or ()
    given_out = index.subjects(index.positions(None, need=()))
    rows = int(np.isin(given_out, np.asarray(withdrawn, dtype=given_out.dtype)).sum())
    if not rows:
        return []
    return [
        f"{INDEX_NAME}: gives out {rows} rows of subjects who have withdrawn according to "
        f"{SHARD_FOLDER}/{MEMBERSHIP_NAME}; run 'ecgcmr prepare' again"
    ]


def _same(written: object, found: Mapping[str, Any]) -> bool:
    if not isinstance(written, Mapping):
        return False
    return written.keys() == found.keys() and all(_close(written[key], value) for key, value in found.items())


def _close(written: object, found: object) -> bool:
    if isinstance(written, int | float) and isinstance(found, int | float):
        return math.isclose(written, found, rel_tol=_CLOSE, abs_tol=_CLOSE)
    return written is None and found is None
