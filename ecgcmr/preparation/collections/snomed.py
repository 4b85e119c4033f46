"""Diagnoses as SNOMED CT codes: those that the PhysioNet Challenge 2021 scored, and names that a release brings."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.regular_file import refuse_special

CONDITION_NAMES = "ConditionNames_SNOMED-CT.csv"
_LONGEST_TITLE = 120


@dataclass(frozen=True)
class ScoredDiagnosis:
    """A diagnosis of the Challenge's score.

    Attributes:
        name: Its label.
        title: What it is.
        codes: Codes that count as it: four pairs were scored as one.
    """

    name: str
    title: str
    codes: frozenset[str]


SCORED = tuple(
    ScoredDiagnosis(name, title, frozenset(codes.split()))
    for name, title, codes in (
        ("af", "Atrial fibrillation", "164889003"),
        ("afl", "Atrial flutter", "164890007"),
        ("bbb", "Bundle branch block", "6374002"),
        ("brady", "Bradycardia", "426627000"),
        ("clbbb_lbbb", "Left bundle branch block, complete or not said", "733534002 164909002"),
        ("crbbb_rbbb", "Right bundle branch block, complete or not said", "713427006 59118001"),
        ("iavb", "First-degree AV block", "270492004"),
        ("irbbb", "Incomplete right bundle branch block", "713426002"),
        ("lad", "Left axis deviation", "39732003"),
        ("lanfb", "Left anterior fascicular block", "445118002"),
        ("lpr", "Long PR interval", "164947007"),
        ("lqrsv", "Low QRS voltages", "251146004"),
        ("lqt", "Long QT interval", "111975006"),
        ("nsivcb", "Nonspecific intraventricular conduction disorder", "698252002"),
        ("nsr", "Sinus rhythm", "426783006"),
        ("pac_svpb", "Atrial or supraventricular premature beats", "284470004 63593006"),
        ("pr", "Pacing rhythm", "10370003"),
        ("prwp", "Poor R wave progression", "365413008"),
        ("pvc_vpb", "Ventricular premature beats", "427172004 17338001"),
        ("qab", "Abnormal Q wave", "164917005"),
        ("rad", "Right axis deviation", "47665007"),
        ("sa", "Sinus arrhythmia", "427393009"),
        ("sb", "Sinus bradycardia", "426177001"),
        ("stach", "Sinus tachycardia", "427084000"),
        ("tab", "Abnormal T wave", "164934002"),
        ("tinv", "Inverted T wave", "59931005"),
    )
)
"""In the order of their names."""


def condition_names(folder: Path) -> dict[str, str]:
    """Return code -> name of the table that Chapman-Shaoxing-Ningbo brings; empty where it is not there.

    Raises:
        UserError: The table is there and cannot be read.
    """
    path = folder / CONDITION_NAMES
    refuse_special(path)
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    except (OSError, csv.Error) as error:
        raise UserError(f"{CONDITION_NAMES}: cannot be read as a table ({type(error).__name__})") from error
    head = [cell.lower() for cell in rows[0]] if rows else []
    code = next((place for place, cell in enumerate(head) if "snomed" in cell), None)
    title = next((place for place, cell in enumerate(head) if "full" in cell), 1)
    if code is None:
        raise UserError(f"{CONDITION_NAMES}: has no column of SNOMED codes")
    names: dict[str, str] = {}
    for row in rows[1:]:
        if len(row) > max(code, title) and row[code].isdecimal() and row[title]:
            names.setdefault(row[code], " ".join(row[title].split())[:_LONGEST_TITLE])
    return names
