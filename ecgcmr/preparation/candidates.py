"""Candidates by their hashes, and what is looked at before they get a split: withdrawals, owners, pairs, moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ecgcmr.preparation.collections.gathering import Gathered
from ecgcmr.preparation.collections.protocol import Candidate
from ecgcmr.preparation.earlier_run import EarlierRun
from ecgcmr.preparation.splits import subject_hash
from ecgcmr.preparation.withdrawal import file_hash
from ecgcmr.shards.layout import SPLITS, Label


@dataclass(frozen=True)
class Hashed:
    """A candidate as the cohort knows it.

    Attributes:
        row: Keyed hash of the row, for good.
        subject: Keyed hash of the subject.
        labels: (L,) from tables.
        candidate: Where its files are.
    """

    row: str
    subject: str
    labels: npt.NDArray[np.float32] = field(repr=False)
    candidate: Candidate = field(repr=False)


def cohort_schema(gathered: Sequence[Gathered]) -> tuple[Label, ...]:
    """Return the labels of all collections, each once."""
    return tuple(dict.fromkeys(column.label for found in gathered for column in found.columns))


def hash_candidates(gathered: Sequence[Gathered], schema: Sequence[Label], key: bytes) -> list[Hashed]:
    """Replace ids by keyed hashes, and put each candidate's labels into the columns of the cohort, NaN elsewhere.

    Args:
        gathered: What the collections came to.
        schema: The cohort's labels.
        key: The secret key.
    """
    hashed = []
    place = {label: column for column, label in enumerate(schema)}
    for found in gathered:
        labels = found.labels
        if [column.label for column in found.columns] != list(schema):
            labels = np.full((len(found.candidates), len(schema)), np.nan, dtype=np.float32)
            labels[:, [place[column.label] for column in found.columns]] = found.labels
        for candidate, row in zip(found.candidates, labels, strict=True):
            subject = subject_hash(candidate.subject, key)
            hashed.append(Hashed(subject_hash(candidate.identity, key), subject, row, candidate))
    return hashed


def note_owners(
    candidates: Sequence[Hashed], withdrawn: Set[str], earlier: EarlierRun, key: bytes
) -> tuple[dict[str, str], int, set[str]]:
    """Find out whose file is whose, and which rows are of those who have withdrawn, or have a file of theirs.

    A file of somebody who has withdrawn stays left out if a changed --subjects table gives it another subject.

    Args:
        candidates: All rows.
        withdrawn: Hashes of all who have withdrawn.
        earlier: What an earlier run remembers.
        key: The secret key.

    Returns:
        Keyed hash of a file's name -> its subject's hash; how many files have another subject than before; and the rows
        of those who have withdrawn.
    """
    before = earlier.membership.file_owner
    owners = {file: owner for file, owner in before.items() if owner in withdrawn}
    moved, left_out = 0, {one.row for one in candidates if one.subject in withdrawn}
    for one in candidates:
        for part, name, path in one.candidate.files:
            given = one.candidate.ecg_name if part == "ecg" else one.candidate.cmr_name
            where = path.absolute().as_posix()
            if one.candidate.whereabouts(part, path)[1]:
                where += f"\n{one.candidate.place}"
            file = file_hash(part, name if given else where, key)
            moved += before.get(file, one.subject) != one.subject
            if file in owners and owners[file] in withdrawn:
                left_out.add(one.row)
            else:
                owners[file] = one.subject
    return owners, moved, left_out


def remarks_on(candidates: Sequence[Hashed], split_of: Mapping[str, str], earlier: EarlierRun) -> list[str]:
    """Say what looks like a mistake of the whole run: no pairs, an empty split, or subjects that change their split."""
    remarks = []
    with_ecg = {one.subject for one in candidates if one.candidate.ecg is not None}
    with_cmr = {one.subject for one in candidates if one.candidate.cmr is not None}
    if with_ecg and with_cmr and with_ecg.isdisjoint(with_cmr):
        remarks.append("no subject has both an ECG and images; check the names, or pass --subjects")
    if any(one.candidate.split is not None for one in candidates):
        empty = [split for split in SPLITS if split not in split_of.values()]
        if empty:
            remarks.append(f"nobody is in split {' or '.join(empty)}, by the splits that the data set gives")
    known = [subject for subject in split_of if subject in earlier.split_of]
    moved = sum(split_of[subject] != earlier.split_of[subject] for subject in known)
    if moved:
        remarks.append(
            f"{moved} of {len(known)} subjects change their split (train, val or test) against the earlier run; "
            "do not compare with models trained before"
        )
    return remarks
