"""Who a subject is and which split it belongs to, without keeping any identifier of the source.

A subject is known by a keyed hash of its source identifier: the same key gives the same hash in every run, and
without the key the hash cannot be traced back by trying all identifiers. The split is a function of the hash alone,
so that it neither depends on which subjects are present nor changes when more arrive; only where splits are to share
the distribution of some labels does it depend on who else is there.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ecgcmr.shards.layout import SPLITS

SPLIT_FRACTIONS = (0.7, 0.15, 0.15)


def subject_hash(source_id: str, key: bytes) -> str:
    """Return the keyed BLAKE2b hash (16 bytes) of a source identifier as 32 hexadecimal characters.

    Args:
        source_id: Identifier of the source, such as a UK Biobank participant number; of a file's name that is no UTF-8
            the bytes count.
        key: 16 to 64 secret bytes.

    Raises:
        ValueError: The key is shorter than 16 or longer than 64 bytes.
    """
    if not 16 <= len(key) <= 64:
        raise ValueError(f"the key must have 16 to 64 bytes, not {len(key)}")
    return hashlib.blake2b(source_id.encode("utf-8", "surrogateescape"), key=key, digest_size=16).hexdigest()


def split_rule_by_hash() -> dict[str, object]:
    """Describe the division by the subject's hash alone, as the shards keep it."""
    return {"by": "hash", "fractions": list(SPLIT_FRACTIONS)}


def assign_split(hashed: str, fractions: Sequence[float] = SPLIT_FRACTIONS, salt: str = "") -> str:
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
    _check_fractions(fractions)
    position = _position(hashed, salt)
    if position < fractions[0]:
        return "train"
    return "val" if position < fractions[0] + fractions[1] else "test"


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions must be three non-negative numbers that sum to 1, got {tuple(fractions)}")


def _position(hashed: str, salt: str) -> float:
    """Return where a subject stands in [0, 1): uniform, and independent of the hash for anybody without the key."""
    digest = hashlib.blake2b(hashed.encode("ascii"), key=salt.encode("utf-8")[:64], digest_size=8, person=b"split")
    return int.from_bytes(digest.digest(), "big") / 2**64


def validation_part(source_id: str, share: float = SPLIT_FRACTIONS[1] / (1 - SPLIT_FRACTIONS[2])) -> str:
    """Divide the training subjects of a data set whose publisher gives a test split and none for validation.

    Args:
        source_id: Identifier of the source; a publisher's split is no secret, so no key is taken.
        share: Expected part that validates.

    Returns:
        ``train`` or ``val``, a function of the identifier alone.
    """
    digest = hashlib.blake2b(source_id.encode("utf-8", "surrogateescape"), digest_size=8, person=b"validation")
    return "val" if int.from_bytes(digest.digest(), "big") / 2**64 < share else "train"


def assign_splits(
    subjects: Iterable[str],
    fractions: Sequence[float] = SPLIT_FRACTIONS,
    *,
    strata: Mapping[str, str] | None = None,
    earlier: Mapping[str, str] | None = None,
    salt: str = "",
) -> dict[str, str]:
    """Assign subjects to train, val and test.

    Without strata every subject goes where ``assign_split`` puts it. With strata the fractions are met within each
    stratum to within one subject, unless the earlier splits forbid it: each split gets the places that it lacks, and
    the new subjects of a stratum fill them in the order of their hashes, train first. So the split of nearly all of
    them is that of ``assign_split``, and a fresh start with a few subjects more or less moves few of the others.

    Args:
        subjects: Hashes; repetitions do not count.
        fractions: Fractions of train, val and test; they sum to 1.
        strata: Subject -> stratum; a subject that is not in it belongs to a stratum of its own kind.
        earlier: Subject -> split of an earlier run, which stands, whatever the fractions; without strata it is not
            needed and not looked at.
        salt: Another salt gives another, equally stable division.

    Returns:
        Subject -> split.

    Raises:
        ValueError: Fractions are not three non-negative numbers that sum to 1, or an earlier split is unknown.
    """
    _check_fractions(fractions)
    present = sorted(set(subjects))
    if strata is None:
        return {subject: assign_split(subject, fractions, salt) for subject in present}
    known = {subject: earlier[subject] for subject in present if subject in earlier} if earlier else {}
    if unknown := set(known.values()) - set(SPLITS):
        raise ValueError(f"no such split: {', '.join(sorted(unknown))}")
    result = dict(known)
    groups: dict[str, list[str]] = defaultdict(list)
    for subject in present:
        groups[strata.get(subject, "")].append(subject)
    lacking = [0.0] * len(SPLITS)  # by how much each split has fallen short over the strata so far
    for stratum in sorted(groups):
        members = groups[stratum]
        target = [fraction * len(members) for fraction in fractions]
        places = [sum(known.get(subject) == split for subject in members) for split in SPLITS]
        waiting = sorted((s for s in members if s not in known), key=lambda s: (_position(s, salt), s))
        taken = _places(target, places, lacking, len(waiting))
        order = [split for split, count in zip(SPLITS, taken, strict=True) for _ in range(count)]
        result.update(zip(waiting, order, strict=True))
        lacking = [lack + t - p - n for lack, t, p, n in zip(lacking, target, places, taken, strict=True)]
    return result


def _places(target: Sequence[float], there: Sequence[int], lacking: Sequence[float], new: int) -> list[int]:
    """Return how many of ``new`` subjects of one stratum each split gets.

    Whole places go to the split that lacks most; the last ones, of which a split lacks only a part, to the split that
    has also fallen short in other strata, so that many small strata do not all round the same way.
    """
    taken = [0] * len(target)
    for _ in range(new):
        lack = [t - p - n for t, p, n in zip(target, there, taken, strict=True)]
        if max(lack) >= 1:
            best = lack.index(max(lack))
        else:
            overall = [short + lack[i] if lack[i] > 1e-9 else -math.inf for i, short in enumerate(lacking)]
            best = overall.index(max(overall)) if max(lack) > 1e-9 else lack.index(max(lack))
        taken[best] += 1
    return taken
