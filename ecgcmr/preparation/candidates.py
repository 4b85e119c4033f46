"""Rows before their split is known, and what is looked at before they get one: withdrawals, owners, pairs, moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecgcmr.preparation.earlier_run import EarlierRun
from ecgcmr.preparation.sources import Source
from ecgcmr.preparation.withdrawal import file_hash


@dataclass
class Candidate:
    """A row before its split is known.

    Attributes:
        row: Keyed hash of the row, for good.
        subject: Keyed hash of the subject.
        labels: (L,) from tables.
        ecg: The ECG file, if there is one.
        cmr: The images, if there are any.
        fold: PTB-XL's fold.
        withdrawn: Whether one of its files is of somebody who has withdrawn, whatever it is said to be of now.
    """

    row: str
    subject: str
    labels: npt.NDArray[np.float32]
    ecg: Source | None
    cmr: Source | None
    fold: int | None = None
    withdrawn: bool = False

    @property
    def sources(self) -> list[Source]:
        """Its files."""
        return [source for source in (self.ecg, self.cmr) if source is not None]


def note_owners(
    candidates: Sequence[Candidate], withdrawn: set[str], earlier: EarlierRun, key: bytes
) -> tuple[dict[str, str], int]:
    """Find out whose file is whose, and mark the files of those who have withdrawn.

    A file of somebody who has withdrawn stays left out if a changed --subjects table gives it another subject.

    Args:
        candidates: All rows.
        withdrawn: Hashes of all who have withdrawn.
        earlier: What an earlier run remembers.
        key: The secret key.

    Returns:
        Keyed hash of a file's name -> its subject's hash; and how many files have another subject than before.
    """
    before = earlier.membership.file_owner
    owners = {file: owner for file, owner in before.items() if owner in withdrawn}
    moved = 0
    for candidate in candidates:
        for option, source in (("ecg", candidate.ecg), ("cmr", candidate.cmr)):
            if source is None:
                continue
            file = file_hash(option, source.name, key)
            moved += before.get(file, candidate.subject) != candidate.subject
            if file in owners and owners[file] in withdrawn:
                candidate.withdrawn = True
            else:
                owners[file] = candidate.subject
    return owners, moved


def remarks_on(candidates: Sequence[Candidate], split_of: Mapping[str, str], earlier: EarlierRun) -> list[str]:
    """Say what looks like a mistake of the whole run: no pairs at all, or subjects that change their split."""
    remarks = []
    with_ecg = {candidate.subject for candidate in candidates if candidate.ecg is not None}
    with_cmr = {candidate.subject for candidate in candidates if candidate.cmr is not None}
    if with_ecg and with_cmr and with_ecg.isdisjoint(with_cmr):
        remarks.append("no subject has both an ECG and images; check the names, or pass --subjects")
    known = [subject for subject in split_of if subject in earlier.split_of]
    moved = sum(split_of[subject] != earlier.split_of[subject] for subject in known)
    if moved:
        remarks.append(
            f"{moved} of {len(known)} subjects change their split (train, val or test) against the earlier run; "
            "do not compare with models trained before"
        )
    return remarks
