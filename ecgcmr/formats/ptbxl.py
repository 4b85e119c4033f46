"""PTB-XL: a folder of WFDB recordings with two tables, as downloaded from PhysioNet.

``ptbxl_database.csv`` lists the recordings with patient, fold and diagnostic statements; ``scp_statements.csv`` maps
statements to diagnostic superclasses. Wagner et al., Scientific Data 7:154, 2020.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ecgcmr.errors import UserError
from ecgcmr.formats.ptbxl_statements import STATEMENTS, SUPERCLASS, StatementSet, read_part, read_statement_sets
from ecgcmr.formats.ukb_table import clean_id

__all__ = ["DATABASE", "STATEMENTS", "PTBXLRecord", "is_ptbxl", "read_ptbxl"]

DATABASE = "ptbxl_database.csv"
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
        statements: Its statements, whatever their likelihood.
        superclasses: Diagnostic superclasses of all its diagnostic statements; None if it has no diagnostic statement
            at all, so that nothing is known.
    """

    ecg_id: str
    patient_id: str
    path: Path
    fold: int
    age: float
    male: float
    statements: frozenset[str]
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
    columns = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_hr")
    database = read_part(folder, DATABASE, columns)
    superclass = next(one for one in read_statement_sets(folder) if one.name == SUPERCLASS)
    records = [_record(folder, row, superclass) for row in database.to_dict("records")]
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


def _record(folder: Path, row: dict[Hashable, str | float], superclass: StatementSet) -> PTBXLRecord:
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
        statements = frozenset(code for code in codes if isinstance(code, str))
    except (ValueError, SyntaxError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise UserError(f"{DATABASE}: ecg_id {ecg_id} has an unreadable age, sex, scp_codes or strat_fold") from error
    return PTBXLRecord(
        ecg_id=ecg_id,
        patient_id=patient_id,
        path=folder / f"{file}.hea",
        fold=fold,
        age=90.0 if age == OVER_89 else age,
        male=1.0 - sex if sex in (0.0, 1.0) else math.nan,
        statements=statements,
        superclasses=superclass.found(statements),
    )


def _is_inside(file: str) -> bool:
    path = PurePosixPath(file)
    return bool(file) and "\0" not in file and "\\" not in file and not path.is_absolute() and ".." not in path.parts
