"""What the PhysioNet Challenges 2020 and 2021 write into a WFDB header of the person: age, sex, SNOMED CT diagnoses.

The same comments (``# Age: 74``, ``#Dx: 426783006,39732003``) stand in the ecg-arrhythmia release of
Chapman-Shaoxing-Ningbo.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.formats.limits import naming, read_content
from ecgcmr.formats.regular_file import require_regular
from ecgcmr.formats.wfdb_header import MAX_HEADER_BYTES

_COMMENT = re.compile(r"^#\s*(?P<key>age|sex|dx)\s*:\s*(?P<value>.*)$", re.IGNORECASE)
_NOTHING = ("", "unknown", "nan", "n/a")
_CODE = re.compile(r"\d{1,18}")


@dataclass(frozen=True)
class ChallengeHeader:
    """The comments of one header.

    Attributes:
        age: As written; empty if unknown.
        sex: As written; empty if unknown.
        codes: SNOMED CT codes of the diagnoses.
    """

    age: str
    sex: str
    codes: frozenset[str]


def read_challenge_header(path: Path) -> ChallengeHeader:
    """Read the comments of a header; its signals are not looked at.

    Raises:
        UserError: The file cannot be read or is too large for a header.
    """
    with naming(path):
        require_regular(path)
        text = read_content(path, MAX_HEADER_BYTES).decode("utf-8", "replace")
    found = {"age": "", "sex": "", "dx": ""}
    for line in text.splitlines():
        comment = _COMMENT.match(line.strip())
        if comment is not None and comment["value"].strip().lower() not in _NOTHING:
            found[comment["key"].lower()] = comment["value"].strip()
    codes = (code.strip() for code in found["dx"].split(","))
    return ChallengeHeader(found["age"], found["sex"], frozenset(code for code in codes if _CODE.fullmatch(code)))
