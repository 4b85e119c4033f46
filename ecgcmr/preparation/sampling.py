"""A part of a cohort for a trial: whole subjects by a rank of their hashes; a smaller part lies in a larger one.

The rank has nothing to do with the splits, and does not depend on who else is there.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from ecgcmr.errors import UserError
from ecgcmr.preparation.candidates import Hashed
from ecgcmr.preparation.earlier_run import EarlierRun
from ecgcmr.preparation.options import PrepareOptions


def rank_of(subject: str) -> float:
    """Return where a subject's hash stands in [0, 1): uniform, and independent of its split."""
    digest = hashlib.blake2b(subject.encode("ascii"), digest_size=8, person=b"trial").digest()
    return int.from_bytes(digest, "big") / 2**64


def take_part(candidates: Sequence[Hashed], sample: float | None, limit: int | None) -> tuple[list[Hashed], str]:
    """Take a part of the candidates.

    Args:
        candidates: All rows.
        sample: Take the subjects whose rank lies below it; None takes all.
        limit: Of these take subjects in the order of their ranks, for as long as no more rows than this come of it; the
            first subject at least. None takes all.

    Returns:
        The rows in the given order, and what the user should know of it; empty where everybody is taken.
    """
    rows = Counter(one.subject for one in candidates)
    ranked = sorted((rank_of(subject), subject) for subject in rows)
    chosen, count = set[str](), 0
    for rank, subject in ranked:
        is_within = limit is None or not chosen or count + rows[subject] <= limit
        if (sample is not None and rank >= sample) or not is_within:
            break
        chosen.add(subject)
        count += rows[subject]
    if len(chosen) == len(rows):
        return list(candidates), ""
    said = f"a part alone, {count} of {len(candidates)} rows of {len(chosen)} of {len(rows)} subjects; leave out "
    return [one for one in candidates if one.subject in chosen], f"{said}--limit and --sample for all"


def part_for_trial(
    candidates: Sequence[Hashed], options: PrepareOptions, earlier: EarlierRun
) -> tuple[list[Hashed], str]:
    """Take what ``--sample`` and ``--limit`` ask for, unless that would throw away what is prepared already.

    Args:
        candidates: All rows.
        options: Those of the run.
        earlier: What lies in the folder.

    Returns:
        As ``take_part``.

    Raises:
        UserError: Nobody is left, or rows would leave a cohort that is there.
    """
    if options.sample is None and options.limit is None:
        return list(candidates), ""
    taken, remark = take_part(candidates, options.sample, options.limit)
    if not taken:
        raise UserError(f"--sample {options.sample:g}: leaves none of {len(candidates)} rows; take a larger part")
    there = {row for shard in earlier.membership.shards for row in shard}
    lost = len(there & ({one.row for one in candidates} - {one.row for one in taken}))
    if lost:
        raise UserError(
            f"--out {options.out}: {lost} rows that are prepared there are no part of the trial and would be removed; "
            "name another folder"
        )
    return taken, remark
