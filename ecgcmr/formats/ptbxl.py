"""PTB-XL: a folder of WFDB recordings with two tables, as downloaded from PhysioNet.

``ptbxl_database.csv`` lists the recordings with patient, fold and diagnostic statements; ``scp_statements.csv`` maps
statements to diagnostic superclasses. Wagner et al., Scientific Data 7:154, 2020.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.regular_file import refuse_special
from ecgcmr.formats.ukb_table import clean_id

DATABASE = "ptbxl_database.csv"
STATEMENTS = "scp_statements.csv"
_LONGEST_CODES = 10_000
OVER_89 = 300.0
"""Age by which PTB-XL says "over 89"."""


@dataclass(frozen=True)
class PTBXLRecord:
    """One recording of PTB-XL.

    Attributes:
        ecg_id: Number of the recording.
        patient_id: Number of the patient, who may have several recordings.
        path: The WFDB header.
        fold: ``strat_fold``, 1 to 10; a patient's recordings share one.
        age: In years; 90 stands for "over 89"; NaN if unknown.
        male: 1 male, 0 female (the table codes it the other way round), NaN if unknown.
        superclasses: Diagnostic superclasses of all its diagnostic statements, whatever their likelihood; None if it
            has no diagnostic statement at all, so that nothing is known.
    """

    ecg_id: str
    patient_id: str
    path: Path
    fold: int
    age: float
    male: float
    superclasses: frozenset[str] | None


def is_ptbxl(folder: Path) -> bool:
    """Tell whether a folder is a PTB-XL download."""
    return (folder / DATABASE).is_file()


def read_ptbxl(folder: str | Path) -> list[PTBXLRecord]:
    """List the recordings of a PTB-XL folder, the 500 Hz ones; signals are not opened.

    Args:
        folder: Folder of ``ptbxl_database.csv``.

    Returns:
        The recordings in the order of the table.

    Raises:
        UserError: A table is missing, damaged or lacks a column; a recording has an impossible entry or is listed
            twice; a patient's recordings lie in different folds.
    """
    folder = Path(folder)
    database = _read(folder, DATABASE, ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_hr"))
    statements = _read(folder, STATEMENTS, ("diagnostic", "diagnostic_class"))
    diagnostic = statements[pd.to_numeric(statements["diagnostic"], errors="coerce") == 1]
    classes = {
        str(code): superclass
        for code, superclass in zip(diagnostic.iloc[:, 0], diagnostic["diagnostic_class"], strict=True)
        if isinstance(superclass, str)
    }
    records = [_record(folder, row, classes) for row in database.to_dict("records")]
    seen: set[str] = set()
    fold_of: dict[str, int] = {}
    for record in records:
        if record.ecg_id in seen:
            raise UserError(f"{DATABASE}: ecg_id {record.ecg_id} is listed twice; keep one")
        seen.add(record.ecg_id)
        if fold_of.setdefault(record.patient_id, record.fold) != record.fold:
            raise UserError(
                f"{DATABASE}: ecg_id {record.ecg_id} lies in another strat_fold than its patient's other recordings"
            )
    return records


def _read(folder: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    refuse_special(folder / name)
    try:
        frame = pd.read_csv(folder / name, dtype=str, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{name}: missing in the PTB-XL folder") from error
    except (ValueError, OSError) as error:
        raise UserError(f"{name}: cannot be read as a table ({type(error).__name__})") from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise UserError(f"{name}: lacks column {', '.join(missing)}")
    return frame


def _record(folder: Path, row: dict[str, str | float], classes: dict[str, str]) -> PTBXLRecord:
    ecg_id, patient_id, file = (
        clean_id(value) if isinstance(value := row[column], str) else ""
        for column in ("ecg_id", "patient_id", "filename_hr")
    )
    if not (ecg_id.isdecimal() and patient_id.isdecimal()):
        raise UserError(f"{DATABASE}: a row lacks its ecg_id or patient_id, or they are no numbers")
    if not _is_inside(file):
        raise UserError(f"{DATABASE}: ecg_id {ecg_id} has a filename_hr that is no path within the folder")
    try:
        fold = int(float(row["strat_fold"]))
        codes = ast.literal_eval(str(row["scp_codes"])[:_LONGEST_CODES])
        age, sex = float(row["age"]), float(row["sex"])
        found = frozenset(classes[code] for code in codes if code in classes)
    except (ValueError, SyntaxError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise UserError(f"{DATABASE}: ecg_id {ecg_id} has an unreadable age, sex, scp_codes or strat_fold") from error
    return PTBXLRecord(
        ecg_id=ecg_id,
        patient_id=patient_id,
        path=folder / f"{file}.hea",
        fold=fold,
        age=90.0 if age == OVER_89 else age,
        male=1.0 - sex if sex in (0.0, 1.0) else math.nan,
        superclasses=found or None,
    )


def _is_inside(file: str) -> bool:
    path = PurePosixPath(file)
    return bool(file) and "\0" not in file and "\\" not in file and not path.is_absolute() and ".." not in path.parts
