"""What an earlier run into the same folder had and this one has not: a table, images or subjects forgotten."""

from __future__ import annotations

from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.shards.index import INDEX_NAME, ShardIndex

_SHOWN = 5


def index_before(out: Path) -> ShardIndex | None:
    """Return the index that an earlier run left; None if there is none that can be read."""
    try:
        return ShardIndex.load(out, check_files=False) if (out / INDEX_NAME).is_file() else None
    except UserError:
        return None  # what its loss means is said where the earlier run is read


def lost_content(before: ShardIndex | None, now: ShardIndex) -> list[str]:
    """Say what is no longer there; who has withdrawn does not count.

    Args:
        before: The index of the earlier run, if there was one.
        now: That of this run.
    """
    if before is None:
        return []
    remarks = []
    gone = set(before.subjects().tolist()) - set(now.subjects().tolist()) - set(now.withdrawn)
    if gone:
        count = len(set(before.subjects().tolist()))
        remarks.append(f"{len(gone)} of the {count} subjects of the earlier run have no usable file any more")
    for name, what, option in (("with_ecg", "an ECG", "--ecg"), ("with_cmr", "images", "--cmr")):
        if before.counts[name] and not now.counts[name]:
            remarks.append(
                f"{before.counts[name]} rows had {what} in the earlier run, none has now; was {option} forgotten?"
            )
    known = {name for name, entry in now.statistics.items() if entry["n"]}
    lost = [name for name, entry in before.statistics.items() if entry["n"] and name not in known]
    if lost:
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        remarks.append(
            f"{len(lost)} labels had values in the earlier run and have none now ({', '.join(lost[:_SHOWN])}{more}); "
            "was a --table forgotten?"
        )
    return remarks
