"""Several cohorts as one: their rows one after the other, labels joined, nobody trained on here and tested there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.shards.index import MODALITIES, ShardIndex
from ecgcmr.shards.index_writer import count_rows, label_statistics
from ecgcmr.shards.joint_layout import joint_layout
from ecgcmr.shards.layout import Layout
from ecgcmr.shards.same_recordings import SharedSubjects, shared_subjects
from ecgcmr.shards.shard_reader import ShardReader


class JointIndex(ShardIndex):
    """The rows of several cohorts, counted through in their order.

    A subject who stands in two of them, found by hash or by an equal recording, has one hash here. Of such a subject
    the rows of one split alone are given out, test before validation before training, and of a recording that is
    there twice the one of the first cohort. A label that a cohort lacks is missing in its rows.

    Attributes:
        members: The cohorts.
        shared: Number of subjects who stand in several.
        left_out: Rows that are left out for it.
    """

    def __init__(self, members: Sequence[ShardIndex]) -> None:
        """Join cohorts; of their shards the checksums of records alone are read.

        Raises:
            UserError: Their recordings or labels do not go together.
        """
        self.members = tuple(members)
        self.root = members[0].root
        self.layout = joint_layout(members)
        self.shards = [shard for member in members for shard in member.shards]
        self._rows_before = np.cumsum([0, *(len(member) for member in members)])
        self._shards_before = np.cumsum([0, *(len(member.shards) for member in members)])
        self._first = np.concatenate([[0], np.cumsum([shard["rows"] for shard in self.shards])]).astype(np.int64)
        self._split = np.concatenate([member.splits() for member in members])
        self._has = {
            name: np.concatenate([member.has(name) for member in members]) for name in (*MODALITIES, "cmr_mask")
        }
        self.withdrawn = sorted({hashed for member in members for hashed in member.withdrawn})
        self.extra: dict[str, Any] = {}
        found = shared_subjects(members)
        self._subject = found.subject
        self._active = np.zeros(len(self._subject), dtype=bool)
        for member, start in zip(members, self._rows_before, strict=False):
            self._active[member.positions(None, ()) + start] = True
        self.shared = len(np.unique(found.subject[found.several]))
        self.left_out = self._surplus(found)
        self._active[self.left_out] = False
        before = [
            row + start for m, start in zip(members, self._rows_before.tolist(), strict=False) for row in m.duplicates
        ]
        self.duplicates = sorted({*before, *self.left_out})
        self.selections = self._joint_selections()

    def _surplus(self, found: SharedSubjects) -> list[int]:
        """Return the rows of shared subjects that are in a weaker split, or a copy of what an earlier cohort has."""
        surplus = found.several & (found.rank < found.strongest)
        for rows in found.copies:
            rows = rows[self._active[rows] & ~surplus[rows]]
            owners = self.cohort_numbers(rows)
            surplus[rows[owners > owners.min(initial=len(self.members))]] = True
        return np.flatnonzero(surplus).tolist()

    def _joint_selections(self) -> dict[str, dict[str, Any]]:
        """Return the selections that every cohort has."""
        common = [name for name in self.members[0].selections if all(name in m.selections for m in self.members)]
        starts = self._rows_before.tolist()
        return {
            name: {
                "about": self.members[0].selections[name]["about"],
                "rows": [
                    r + start
                    for m, start in zip(self.members, starts, strict=False)
                    for r in m.selections[name]["rows"]
                ],
            }
            for name in common
        }

    @property
    def title(self) -> str:
        """Names of the cohorts' folders, for messages."""
        return " and ".join(member.title for member in self.members)

    @cached_property
    def statistics(self) -> dict[str, dict[str, Any]]:  # type: ignore[override]
        """Of the training rows that are given out."""
        return label_statistics(self)

    @cached_property
    def counts(self) -> dict[str, int]:  # type: ignore[override]
        """Of the rows that are given out."""
        return count_rows(self)

    def without(self, rows: Sequence[int]) -> ShardIndex:
        """Return the same index with some positions left out."""
        result = super().without(rows)
        for name in ("counts", "statistics"):
            result.__dict__.pop(name, None)
        return result

    def cohort_numbers(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which of the members each row (k,) is of."""
        return np.searchsorted(self._rows_before, rows, side="right") - 1

    def shard_layout(self, shard: int) -> Layout:
        """Return the layout of a shard: that of its own cohort."""
        return self._member(shard)[0].layout

    def shard_path(self, shard: int) -> Path:
        """Return the file of a shard."""
        member, number = self._member(shard)
        return member.shard_path(number)

    def reader(self, shard: int, locking: bool | None = False) -> ShardReader:
        """Return a reader of a shard."""
        member, number = self._member(shard)
        return member.reader(number, locking)

    def labels_in(self, shard: int, rows: NDArray[np.int64], columns: Sequence[int]) -> NDArray[np.float32]:
        """Return (k, columns) labels of a shard's rows; NaN where its cohort has no such label."""
        member, number = self._member(shard)
        names, known = [self.label_names[column] for column in columns], member.label_names
        result = np.full((len(rows), len(columns)), np.nan, dtype=np.float32)
        there = [place for place, name in enumerate(names) if name in known]
        if there:
            result[:, there] = member.labels_in(number, rows, [known.index(names[place]) for place in there])
        return result

    def _member(self, shard: int) -> tuple[ShardIndex, int]:
        number = int(np.searchsorted(self._shards_before, shard, side="right")) - 1
        return self.members[number], shard - int(self._shards_before[number])


def open_cohorts(roots: Sequence[str | Path]) -> ShardIndex:
    """Open a cohort, or several as one.

    Args:
        roots: Their folders.

    Raises:
        UserError: None is named or one twice, one cannot be read, or they do not go together.
    """
    if not roots:
        raise UserError("data.root: names no cohort; give the folder that 'ecgcmr prepare' wrote")
    places = [Path(root).resolve() for root in roots]
    if len(set(places)) < len(places):
        raise UserError(f"data.root: names a cohort twice ({', '.join(map(str, roots))}); name each once")
    return joined([ShardIndex.load(root) for root in roots])


def joined(members: Sequence[ShardIndex]) -> ShardIndex:
    """Return the only cohort, or several as one.

    Raises:
        UserError: They do not go together.
    """
    return members[0] if len(members) == 1 else JointIndex(members)


def leaks_into(index: ShardIndex, others: Sequence[ShardIndex]) -> list[int]:
    """Return the rows of a cohort, or of several taken as one, that no model may have seen which others judge.

    They are of subjects who stand in the validation or test split of such another cohort. Rows that are only judged
    here as there, such as those of two test splits, stay.

    Args:
        index: The cohort.
        others: Cohorts that a model of it is judged on. In one whose recordings are stored in another shape or type
            subjects are found by their hashes alone, see ``are_comparable``.
    """
    if not others:
        return []
    size = len(index)
    found = shared_subjects([index, *others])
    held = np.unique(found.subject[size:][found.several[size:] & (found.rank[size:] > 0)])
    of_judges = np.isin(found.subject[:size], held)
    return np.flatnonzero(of_judges & found.several[:size] & (found.rank[:size] < found.strongest[:size])).tolist()


def without_rows(index: ShardIndex, rows: Sequence[int]) -> ShardIndex:
    """Return an index that gives out some rows no more; counts and statistics are of those that remain."""
    remaining = index.without(rows)
    if not isinstance(index, JointIndex):
        remaining.counts, remaining.statistics = count_rows(remaining), label_statistics(remaining)
    return remaining
