"""Which subjects stand in several cohorts: those of one hash, and those of whom an equal recording is in both.

Cohorts that were prepared with keys of their own call a subject by different hashes. Recordings betray who is the same:
the same file, prepared alike, is stored as the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.shards.index import MODALITIES, ShardIndex
from ecgcmr.shards.recipe import compare_recipes, recipe_of

_RANK = {"train": 0, "val": 1, "test": 2}
"""Of the rows of a subject in several splits those of the last stay: the training split can spare them."""
_CUTTING = ("short", "window")
"""What a recording is cut by, of the recipe of ECGs: networks do not care, bytes do."""
_SAMPLES = 128
"""Of ECGs with equal checksums so many samples of every lead are compared: two by chance are not equal in both."""


@dataclass(frozen=True)
class SharedSubjects:
    """Who stands in several cohorts; rows are counted through all of them, n in all.

    Attributes:
        subject: (n,) the hash of each row's subject, one for all that are the same.
        strongest: (n,) the last split in which the row's subject has a row: 0 train, 1 val, 2 test.
        rank: (n,) that of the row itself.
        several: (n,) bool: rows, given out, of subjects in more than one cohort.
        copies: Sets of rows, ascending, that hold one recording.
    """

    subject: NDArray[np.bytes_]
    strongest: NDArray[np.int64]
    rank: NDArray[np.int64]
    several: NDArray[np.bool_]
    copies: tuple[NDArray[np.int64], ...]


def are_comparable(one: ShardIndex, other: ShardIndex) -> bool:
    """Return whether the same recording is stored in two cohorts as the same bytes: made and cut alike."""
    return all(_are_stored_alike(one, other, name) for name in MODALITIES)


def _are_stored_alike(one: ShardIndex, other: ShardIndex, name: str) -> bool:
    first, second = getattr(one.layout, name), getattr(other.layout, name)
    if first is None or second is None:
        return True
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        return False
    recipes = [recipe_of(index.layout, name) for index in (one, other)]
    cut_alike = all(recipes[0].get(entry) == recipes[1].get(entry) for entry in _CUTTING)
    return cut_alike and not compare_recipes(recipes[0], recipes[1], name).differences


def not_comparable(members: Sequence[ShardIndex]) -> list[int]:
    """Return which of several cohorts store recordings otherwise than one before them, so that copies are not found."""
    return [
        number
        for number, member in enumerate(members)
        if not all(are_comparable(member, earlier) for earlier in members[:number])
    ]


def shared_subjects(members: Sequence[ShardIndex]) -> SharedSubjects:
    """Find the subjects that stand in several cohorts.

    Args:
        members: The cohorts, in the order in which their rows are counted through.

    Raises:
        UserError: A shard is older than checksums, or cannot be read.
    """
    first = np.cumsum([0, *(len(member) for member in members)])
    number = np.repeat(np.arange(len(members)), np.diff(first))
    given = [member.positions(None, ()) + start for member, start in zip(members, first, strict=False)]
    active = np.zeros(first[-1], dtype=bool)
    active[np.concatenate(given)] = True
    names, code = np.unique(np.concatenate([member.subjects() for member in members]), return_inverse=True)
    copies = tuple(rows for name in MODALITIES for rows in _copies(members, first, name))
    root = np.arange(len(names))
    for rows in copies:
        _join(root, code[rows])
    group = _roots(root)[code]
    lowest, highest = np.full(len(names), len(members)), np.full(len(names), -1)
    rank = np.array([_RANK[split] for member in members for split in member.splits().tolist()], dtype=np.int64)
    strongest = np.zeros(len(names), dtype=np.int64)
    np.minimum.at(lowest, group[active], number[active])
    np.maximum.at(highest, group[active], number[active])
    np.maximum.at(strongest, group[active], rank[active])
    several = active & (lowest[group] < highest[group])
    return SharedSubjects(names[group].astype("S32"), strongest[group], rank, several, copies)


def _join(root: NDArray[np.intp], codes: NDArray[np.intp]) -> None:
    """Give several subjects one root, the smallest."""
    tops = []
    for code in codes.tolist():
        while root[code] != code:
            code = int(root[code])
        tops.append(code)
    root[tops] = min(tops)


def _roots(root: NDArray[np.intp]) -> NDArray[np.intp]:
    """Follow every subject to its root."""
    while (root[root] != root).any():
        root = root[root]
    return root


def _copies(members: Sequence[ShardIndex], first: NDArray[np.int64], name: str) -> Iterator[NDArray[np.int64]]:
    """Give sets of rows that hold the same recording and are not all of one cohort."""
    with_it = [number for number, member in enumerate(members) if getattr(member.layout, name) is not None]
    if len(with_it) < 2:
        return
    found = [(members[number].positions(None, (name,)), number) for number in with_it]
    checksums = np.concatenate([_checksums(members[number], rows, name) for rows, number in found])
    rows = np.concatenate([rows + first[number] for rows, number in found])
    number = np.concatenate([np.full(len(rows), number) for rows, number in found])
    order = np.argsort(checksums, kind="stable")
    starts = np.flatnonzero(np.diff(checksums[order], prepend=-1))
    low, high = (reduce.reduceat(number[order], starts) for reduce in (np.minimum, np.maximum))
    ends = np.append(starts, len(order))[1:]
    alike = [order[start:end] for start, end in zip(starts[low < high], ends[low < high], strict=True)]
    if not alike:
        return
    chosen = np.unique(np.concatenate(alike))
    contents = dict(zip(chosen.tolist(), _contents(members, rows[chosen], first, name), strict=True))
    for each in alike:
        sets: dict[bytes, list[int]] = {}
        for place in each.tolist():
            sets.setdefault(contents[place], []).append(place)
        for places in sets.values():
            if len(set(number[places].tolist())) > 1:
                yield np.sort(rows[places])


def _checksums(index: ShardIndex, rows: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    """Return the stored checksum of each row's recording."""
    found = np.empty(len(rows), dtype=np.int64)
    for shard, where, row in index.by_shard(rows):
        with index.reader(shard) as reader:
            stored = reader.checksums(name)
            if stored is None:
                raise UserError(
                    f"{index.shard_path(shard)}: holds no checksums of records, by which the same recording in two "
                    "cohorts is found; prepare the cohort again"
                )
            found[where] = stored[row]
    return found


def _contents(members: Sequence[ShardIndex], rows: NDArray[np.int64], first: NDArray, name: str) -> list[bytes]:
    """Return a digest of the recording of each row: of an ECG of its beginning."""
    result = [b""] * len(rows)
    owner = np.searchsorted(first, rows, side="right") - 1
    for number in np.unique(owner).tolist():
        mine = np.flatnonzero(owner == number)
        for shard, where, row in members[number].by_shard(rows[mine] - first[number]):
            with members[number].reader(shard) as reader:
                for place, i in zip(where.tolist(), row.tolist(), strict=True):
                    result[int(mine[place])] = _digest(reader, name, int(i))
    return result


def _digest(reader: Any, name: str, row: int) -> bytes:
    if name == "cmr":
        record = reader.cmr(row)
    else:
        layout = reader.layout.ecg
        record = reader.stored_ecg(row, 0, min(_SAMPLES, layout.samples))
    return hashlib.blake2b(np.ascontiguousarray(record).tobytes(), digest_size=16).digest()
