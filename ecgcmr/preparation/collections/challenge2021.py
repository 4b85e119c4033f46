"""PhysioNet Challenge 2021, and Chapman-Shaoxing-Ningbo by itself: WFDB headers that carry SNOMED CT diagnoses.

What the folders do not say themselves: the part ``ptb-xl`` is PTB-XL once more, and two parts have several recordings
of a patient without saying of whom.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.challenge_header import ChallengeHeader, read_challenge_header
from ecgcmr.label_declarations import YES_NO, DeclaredLabel
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.collections.snomed import SCORED, condition_names
from ecgcmr.preparation.label_columns import LabelCounts, label_columns, label_matrix
from ecgcmr.preparation.labels import AGE, SEX
from ecgcmr.preparation.options import PrepareOptions

PTBXL_PART = "ptb-xl"
SEVERAL_A_PATIENT = ("ptb", "st_petersburg_incart")
"""Parts with several recordings of a patient; who has which is not published."""
PARTS = (
    "cpsc_2018",
    "cpsc_2018_extra",
    "georgia",
    PTBXL_PART,
    "chapman_shaoxing",
    "ningbo",
    *SEVERAL_A_PATIENT,
)
_SPELLINGS = {
    **{re.sub(r"[^a-z0-9]", "", part): part for part in PARTS},
    "wfdbcpsc2018": "cpsc_2018",
    "wfdbcpsc20182": "cpsc_2018_extra",
    "wfdbga": "georgia",
    "wfdbptbxl": PTBXL_PART,
    "wfdbchapmanshaoxing": "chapman_shaoxing",
    "wfdbningbo": "ningbo",
    "wfdbptb": "ptb",
    "wfdbstpetersburg": "st_petersburg_incart",
}
"""Letters and digits of a folder's name -> part; those that begin with wfdb are of the Challenge's own archives."""
_GROUP = re.compile(r"g\d{1,3}")
"""Names of the folders that a part is divided into."""
_OF_PTBXL = re.compile(r"HR\d{5}")
"""Names of PTB-XL's recordings, wherever they lie."""
ARRHYTHMIA = "ecg-arrhythmia"
"""The release of Chapman-Shaoxing-Ningbo by itself, whose records lie below ``WFDBRecords``."""


@dataclass(frozen=True)
class _Found:
    header: Path
    part: str
    content: ChallengeHeader


class Challenge2021Collection:
    """The recordings below a folder, each with the diagnoses of its header."""

    def __init__(self, options: PrepareOptions) -> None:
        """Take the options of a run.

        Args:
            options: ``ecg`` is the folder of ``training``, that folder itself, one of its parts, or the folder of
                ``WFDBRecords``.

        Raises:
            UserError: No folder is named.
        """
        if options.ecg is None:
            raise UserError("--collection challenge2021: name the download with --ecg")
        self.folder: Path = options.ecg

    @cached_property
    def _search(self) -> tuple[list[_Found], int, list[tuple[str, str]]]:
        """Return what is there, how many headers of PTB-XL were left out, and what could not be read."""
        found, of_ptbxl, skipped = [], 0, []
        whole = self.folder.resolve()
        root = whole.parent.name if _GROUP.fullmatch(whole.name) else whole.name
        for header in sorted(self.folder.rglob("*.hea")):
            relative = header.relative_to(self.folder)
            part = part_of(relative, root)
            if part == PTBXL_PART or _OF_PTBXL.fullmatch(header.stem):
                of_ptbxl += 1
                continue
            try:
                found.append(_Found(header, part, read_challenge_header(header)))
            except (UserError, OSError) as error:
                skipped.append((relative.as_posix(), str(error).removeprefix(f"{header.name}: ")))
        if not found:
            others = f" but {of_ptbxl} of PTB-XL, which --collection ptbxl prepares" if of_ptbxl else ""
            raise UserError(f"--ecg {self.folder}: holds no header (.hea) of the Challenge{others}")
        return found, of_ptbxl, skipped

    @cached_property
    def _codes(self) -> list[str]:
        """All codes of the folder, the smallest number first."""
        return sorted({code for one in self._search[0] for code in one.content.codes}, key=int)

    def labels(self) -> Sequence[DeclaredLabel]:
        """Return the 26 scored diagnoses, age and sex, then every code that anybody has."""
        names = condition_names(self.folder)
        scored = (DeclaredLabel(one.name, YES_NO, group="scored", title=one.title) for one in SCORED)
        every = (
            DeclaredLabel(f"dx_{code}", YES_NO, group="dx", title=names.get(code, f"SNOMED CT {code}"))
            for code in self._codes
        )
        return [*scored, AGE, SEX, *every]

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate a recording.

        Splits are left to the hash of the recording, for who it is of is not published; parts with several recordings
        of a patient train as a whole.

        Raises:
            UserError: There is no header but those of PTB-XL.
        """
        found, of_ptbxl, skipped = self._search
        notes.skipped += skipped
        if of_ptbxl:
            notes.remarks.append(
                f"{of_ptbxl} recordings of {PTBXL_PART} are left out: --collection ptbxl prepares them"
            )
        kept = [one.part for one in found if one.part in SEVERAL_A_PATIENT]
        if kept:
            notes.remarks.append(
                f"{len(kept)} recordings of {' and '.join(sorted(set(kept)))} train: several are of one patient, and "
                "who has which is not published"
            )
        labels = self._values(found, notes.counts)
        twice = {name for name, count in Counter(one.header.stem for one in found).items() if count > 1}
        for one, values in zip(found, labels, strict=True):
            name = one.header.stem
            yield Candidate(
                subject=f"{one.part}/{name}" if name in twice else name,
                ecg=one.header,
                labels=values,
                split="train" if one.part in SEVERAL_A_PATIENT else None,
                ecg_name=one.header.relative_to(self.folder).as_posix(),
            )

    def _values(self, found: Sequence[_Found], counts: LabelCounts) -> npt.NDArray[np.float32]:
        """Return (n, L) labels; a diagnosis is missing throughout a part in which nobody has it."""
        people = [{"age": one.content.age, "sex": one.content.sex} for one in found]
        columns = [column for label in (AGE, SEX) for column in label_columns(label)]
        sets = [one.codes for one in SCORED] + [frozenset([code]) for code in self._codes]
        has = np.array([[not codes.isdisjoint(one.content.codes) for codes in sets] for one in found], dtype=np.float32)
        has[[not one.content.codes for one in found]] = np.nan
        parts = np.array([one.part for one in found])
        for part in set(parts):
            rows = np.flatnonzero(parts == part)
            unused = np.flatnonzero(~(has[rows] == 1).any(axis=0))
            has[np.ix_(rows, unused)] = np.nan
        matrix = label_matrix(people, columns, counts)
        return np.concatenate([has[:, : len(SCORED)], matrix, has[:, len(SCORED) :]], axis=1)


def part_of(relative: PurePath, root: str) -> str:
    """Return the part of the collection that a header belongs to.

    Args:
        relative: The header below the folder that the user named.
        root: Name of that folder.
    """
    folders = [root, *relative.parts[:-1]]
    plain = (re.sub(r"[^a-z0-9]", "", folder.lower()) for folder in folders)
    known = [_SPELLINGS[name] for name in plain if name in _SPELLINGS]
    if known:
        return known[-1]
    if "WFDBRecords" in folders:
        return ARRHYTHMIA
    below = [folder for folder in relative.parts[:-1] if folder != "training"]
    return below[0] if below else root
