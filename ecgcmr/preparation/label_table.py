"""Tables of a cohort to label vectors: which column becomes which label, what is missing, what was implausible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.formats.ptbxl import PTBXLRecord
from ecgcmr.formats.ukb_table import Table, read_table
from ecgcmr.phenotypes import BY_FIELD
from ecgcmr.preparation.labels import (
    COVARIATES,
    FINDINGS,
    LABELS,
    PTBXL_LABELS,
    RANGES,
    SPECIAL_DATES,
    disease_labels,
    within_range,
)

IMAGING_VISIT = 2
CODES, CODE_DATES, VISIT_DATE, SEX = 41270, 41280, 53, 31
FIRST_OCCURRENCE = {131306: "I259", 131350: "I489", 130708: "E119"}
"""Fields that hold the date on which I25, I48 or E11 was first recorded anywhere, and the unspecified code of each."""

ALIASES = {
    "lvedv_ml": "lv_edv",
    "lvesv_ml": "lv_esv",
    "lvef_pct": "lv_ef",
    "rvedv_ml": "rv_edv",
    "rvesv_ml": "rv_esv",
    "rvef_pct": "rv_ef",
    "lvm_ed_g": "lv_mass",
}
"""Column names of other data sets -> label names."""

_COLUMN = {label.name: i for i, label in enumerate(LABELS)}
_FIELD_LABELS = {
    **{number: phenotype.name for number, phenotype in BY_FIELD.items()},
    **{covariate.field: covariate.label.name for covariate in COVARIATES if covariate.field},
}
_SEXES = {"male": 1.0, "m": 1.0, "female": 0.0, "f": 0.0}


@dataclass
class LabelCounts:
    """What could not be used, by label or field.

    Attributes:
        out_of_range: Label -> values outside its plausible range, taken as missing.
        unreadable: Label or field -> texts that are no number or date, taken as missing.
    """

    out_of_range: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)


def read_label_table(path: Path, ids: Sequence[str]) -> Table:
    """Read what can become a label from a table, for these subjects; see ``read_table``."""
    fields = {*_FIELD_LABELS, CODES, CODE_DATES, VISIT_DATE, *FIRST_OCCURRENCE}
    names = {**{label.name: label.name for label in LABELS}, **ALIASES}
    return read_table(path, fields, names, ids)


def label_subjects(
    ids: Sequence[str], tables: Sequence[Table], visit: int, counts: LabelCounts
) -> npt.NDArray[np.float32]:
    """Label subjects of one imaging visit.

    Where tables or rows disagree, the first value stands. Sex may come from any instance; every other number and the
    visit's date come from the given one.

    Args:
        ids: n subject ids as in the tables.
        tables: The tables, in order of precedence.
        visit: Instance of the visit, 2 for imaging, 3 for the repeat.
        counts: Implausible and unreadable values are added here.

    Returns:
        (n, 96) float32 in the order and units of ``LABELS``, NaN = missing.
    """
    labels = np.full((len(ids), len(LABELS)), np.nan)
    row_of = {subject: i for i, subject in enumerate(ids)}
    for table in tables:
        rows = np.array([row_of.get(subject, -1) for subject in table.ids], dtype=np.int64)
        for column, texts in table.fields.items():
            name = _FIELD_LABELS.get(column.field)
            if name is not None and (column.field == SEX or column.instance == visit) and not column.array:
                _fill(labels, rows, name, texts, counts)
        for name, texts in table.named.items():
            _fill(labels, rows, name, texts, counts)
    _add_body_mass_index(labels)
    _add_diseases(labels, _histories(row_of, tables, visit, counts))
    return labels.astype(np.float32)


def label_ptbxl(record: PTBXLRecord) -> npt.NDArray[np.float32]:
    """Label one PTB-XL recording: (7,) float32 in the order of ``PTBXL_LABELS``, NaN = unknown."""
    found = record.superclasses
    findings = [np.nan if found is None else float(name in found) for name in FINDINGS]
    age = record.age if within_range("age", record.age) else np.nan
    labels = np.array([*findings, age, record.male], dtype=np.float32)
    if labels.shape != (len(PTBXL_LABELS),):
        raise ValueError(f"{labels.shape} labels for {len(PTBXL_LABELS)} columns")
    return labels


def _fill(
    labels: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64],
    name: str,
    texts: npt.NDArray[np.object_],
    counts: LabelCounts,
) -> None:
    """Put the readable, plausible values of one column into its label where that is still missing."""
    column = _COLUMN[name]
    low, high = RANGES.get(name, (0.0, 1.0))
    for row, text in zip(rows, texts, strict=True):
        if row < 0 or text is None or not np.isnan(labels[row, column]):
            continue
        value = _SEXES.get(text.lower()) if name == "sex" else None
        if value is None:
            try:
                value = float(text)
            except ValueError:
                counts.unreadable[name] += 1
                continue
        if low <= value <= high:
            labels[row, column] = value
        elif not np.isnan(value):
            counts.out_of_range[name] += 1


def _add_body_mass_index(labels: npt.NDArray[np.float64]) -> None:
    height, weight = labels[:, _COLUMN["height"]], labels[:, _COLUMN["weight"]]
    computed = weight / (height / 100.0) ** 2
    low, high = RANGES["bmi"]
    usable = np.isnan(labels[:, _COLUMN["bmi"]]) & (computed >= low) & (computed <= high)
    labels[usable, _COLUMN["bmi"]] = computed[usable]


@dataclass
class _History:
    """What the tables say about one subject's diagnoses.

    Attributes:
        complete: Whether the list of all hospital diagnoses is there, so that a code's absence means something.
        codes: Array index -> ICD-10 code.
        dates: Array index -> date of its first diagnosis.
        first: Code and date from first-occurrence fields.
        imaging: Day of the visit.
    """

    complete: bool = False
    codes: dict[int, str] = field(default_factory=dict)
    dates: dict[int, date | None] = field(default_factory=dict)
    first: list[tuple[str, date | None]] = field(default_factory=list)
    imaging: date | None = None


def _histories(row_of: dict[str, int], tables: Sequence[Table], visit: int, counts: LabelCounts) -> dict[int, _History]:
    """Collect diagnoses; codes and dates are paired by array index, even from different tables."""
    histories: dict[int, _History] = {}
    for table in tables:
        known = [(i, row_of[subject]) for i, subject in enumerate(table.ids) if subject in row_of]
        for column, texts in table.fields.items():
            if column.field not in (CODES, CODE_DATES, VISIT_DATE, *FIRST_OCCURRENCE):
                continue
            if column.field == VISIT_DATE and column.instance != visit:
                continue
            for i, row in known:
                history = histories.setdefault(row, _History())
                history.complete |= column.field == CODES
                text = texts[i]
                if text is not None:
                    _add_to_history(history, column.field, column.array, text, counts)
    return histories


def _add_to_history(history: _History, number: int, array: int | None, text: str, counts: LabelCounts) -> None:
    if number == CODES:
        codes = [text] if array is not None else _split_codes(text)
        for i, code in enumerate(codes, start=array or 0):
            history.codes.setdefault(i, code)
        return
    when = _parse_date(text)
    if when is None:
        counts.unreadable[str(number)] += 1
    if number == CODE_DATES:
        history.dates.setdefault(array or 0, when)
    elif number == VISIT_DATE:
        history.imaging = history.imaging or (None if when in SPECIAL_DATES else when)
    else:
        history.first.append((FIRST_OCCURRENCE[number], when))


def _split_codes(text: str) -> list[str]:
    """Split a joined column of codes: ``I251|I48`` or ``["I251","I48"]``."""
    if text.startswith("["):
        return [code.strip(" \"'") for code in text.strip("[]").split(",") if code.strip(" \"'")]
    return [code.strip() for code in text.split("|")]


def _parse_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _add_diseases(labels: npt.NDArray[np.float64], histories: dict[int, _History]) -> None:
    """Fill the disease labels; without the full list of diagnoses only what is positive is known."""
    for row, history in histories.items():
        diagnoses = [(code, history.dates.get(i)) for i, code in history.codes.items()]
        computed = disease_labels([*diagnoses, *history.first], history.imaging)
        for name, value in computed.items():
            known = history.complete or computed[name.split("_")[0] + "_ever"] == 1.0
            if known and np.isnan(labels[row, _COLUMN[name]]):
                labels[row, _COLUMN[name]] = value
