"""The leak check: nothing of what a model is tested on may stand in what it was trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

_KEPT_FIRST = ("test", "val", "train")


def find_leaks(subjects: Sequence[str], splits: Sequence[str], digests: Sequence[Sequence[str]]) -> list[int]:
    """Find rows whose content also stands in another split, under another subject.

    The same recording under two identifiers happens where a participant was enrolled twice or files were mixed up.
    Of such rows those in the test split stay, else those in the validation split: the training split can spare them.

    Args:
        subjects: Hash of each of n rows' subject.
        splits: Each row's split.
        digests: Digests of each row's contents (of its ECG and of its frames); empty text where there is none. Rows
            are copies of each other if any of their contents are equal.

    Returns:
        Ascending positions of the rows to leave out; without them no content stands in two splits.

    Raises:
        ValueError: A subject stands in two splits, which no choice of rows can excuse.
    """
    split_of: dict[str, str] = {}
    rows_of: dict[tuple[int, str], list[int]] = defaultdict(list)
    for position, (subject, split, contents) in enumerate(zip(subjects, splits, digests, strict=True)):
        if split_of.setdefault(subject, split) != split:
            raise ValueError(f"a subject stands in two splits: {split_of[subject]} and {split}")
        for part, digest in enumerate(contents):
            if digest:
                rows_of[part, digest].append(position)
    surplus: set[int] = set()
    for kept in _KEPT_FIRST:
        for rows in rows_of.values():
            left = [row for row in rows if row not in surplus]
            if any(splits[row] == kept for row in left):
                surplus.update(row for row in left if _KEPT_FIRST.index(splits[row]) > _KEPT_FIRST.index(kept))
    return sorted(surplus)
