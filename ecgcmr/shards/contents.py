"""What results on a cohort depend on, and a fingerprint of it by which two cohorts are told apart."""

from __future__ import annotations

import hashlib
import json

from ecgcmr.shards.index import ShardIndex


def contents_of(index: ShardIndex) -> list[str]:
    """Return what results on a cohort depend on: its shards, and the rows among them that are not given out.

    Consent that is withdrawn, or a duplicate, changes the index alone until the shards are written anew.
    """
    left_out = [*index.withdrawn, *map(str, index.duplicates)]
    return [*(shard["sha256"] for shard in index.shards), *sorted(left_out)]


def cohort_fingerprint(index: ShardIndex) -> str:
    """Return the SHA-256 of a cohort's contents as 64 hex digits."""
    return hashlib.sha256(json.dumps(contents_of(index), separators=(",", ":")).encode()).hexdigest()
