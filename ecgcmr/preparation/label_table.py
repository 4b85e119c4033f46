"""Tables of a cohort to label vectors: which column becomes which label, what is missing, what was implausible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.ptbxl import PTBXLRecord
from ecgcmr.formats.table_file import TableFile
from ecgcmr.formats.ukb_table import Numbers, Table, read_table, to_numbers
from ecgcmr.phenotypes import BY_FIELD
from ecgcmr.preparation.diagnoses import (
    CODES,
    DATE_FIELDS,
    DIAGNOSIS_DATES,
    HISTORY_FIELDS,
    JOINED_FIELDS,
    VISIT_DATE,
    History,
    disease_labels,
)
from ecgcmr.preparation.labels import (
    COVARIATES,
    DISEASES,
    FINDINGS,
    PTBXL_LABELS,
    RANGES,
    Disease,
    label_schema,
    plausible,
    within_range,
)
from ecgcmr.shards.layout import Label

IMAGING_VISIT = 2
SEX = 31

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

_FIELD_LABELS = {
    **{number: phenotype.name for number, phenotype in BY_FIELD.items()},
    **{covariate.field: covariate.label.name for covariate in COVARIATES if covariate.field},
}
_SEXES = {"male": "1", "m": "1", "female": "0", "f": "0"}


@dataclass
class LabelCounts:
    """What could not be used, by label or field.

    Attributes:
        out_of_range: Label -> values outside its plausible range, taken as missing.
        unreadable: Label or field -> texts that are no number or date, taken as missing.
        dates: Field and reason -> dates that cannot be, taken as unknown, or contradict each other.
        disagreeing: Label or field -> usable values that differ from the one that stands.
    """

    out_of_range: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    dates: Counter[str] = field(default_factory=Counter)
    disagreeing: Counter[str] = field(default_factory=Counter)


def read_label_table(
    source: Path | TableFile,
    ids: Sequence[str],
    diseases: Sequence[Disease] = DISEASES,
    newest: date | None = None,
) -> Table:
    """Read what can become a label from a table, for these subjects; see ``read_table``.

    Args:
        source: The table.
        ids: The subjects.
        diseases: What to label besides phenotypes and covariates.
        newest: The newest day that a date of the table can be; None if any may be.

    Raises:
        UserError: As ``read_table``; or the table speaks of none of these subjects.
    """
    names = {**{label.name: label.name for label in label_schema(diseases)}, **ALIASES}
    table = read_table(
        source,
        {*_FIELD_LABELS, *HISTORY_FIELDS},
        names,
        ids,
        numeric=_FIELD_LABELS.keys() - {SEX},
        joined=JOINED_FIELDS,
        dated=DIAGNOSIS_DATES,
        dates=DATE_FIELDS,
        newest=newest,
    )
    if not table.rows:
        raise UserError(f"{table.name}: has no row with an id below its header")
    if ids and not len(table.ids):
        raise UserError(
            f"{table.name}: none of its {table.rows} rows is of a subject with an ECG or images; check its id column "
            "against the files' names (leading zeros count) or --subjects"
        )
    return table


def label_subjects(
    ids: Sequence[str],
    tables: Sequence[Table],
    visit: int,
    counts: LabelCounts,
    diseases: Sequence[Disease] = DISEASES,
    censor_date: date | None = None,
) -> npt.NDArray[np.float32]:
    """Label subjects of one imaging visit.

    Where tables or rows disagree, the first value stands. Sex may come from any instance; every other number and the
    visit's date come from the given one. Follow-up ends with death, loss or censoring, whichever is first.

    Args:
        ids: n subject ids as in the tables.
        tables: The tables, in order of precedence.
        visit: Instance of the visit, 2 for imaging, 3 for the repeat.
        counts: Implausible, unreadable and disagreeing values are added here.
        diseases: What to label besides phenotypes and covariates.
        censor_date: Last day up to which diagnoses are known; None takes the latest date of any diagnosis in the
            files, of whatever subject.

    Returns:
        (n, L) float32 in the order and units of ``label_schema(diseases)``, NaN = missing.
    """
    schema = label_schema(diseases)
    column = {label.name: i for i, label in enumerate(schema)}
    filling = _Filling(len(ids), column, schema, counts)
    row_of = {subject: i for i, subject in enumerate(ids)}
    for table in tables:
        rows = np.array([row_of.get(subject, -1) for subject in table.ids], dtype=np.int64)
        for place, numbers in table.numbers.items():
            if place.instance == visit and not place.array:
                filling.fill(rows, _FIELD_LABELS[place.field], numbers)
        for place, texts in table.fields.items():
            if place.field == SEX and not place.array:
                filling.fill(rows, "sex", _sexes(texts))
        for name, texts in table.named.items():
            filling.fill(rows, name, _sexes(texts) if name == "sex" else table.numbers_in(texts))
    filling.add_body_mass_index()
    censoring = censor_date or max((day for table in tables for day in table.latest.values()), default=None)
    for row, history in _histories(row_of, tables, visit, counts).items():
        _count_impossible(history, filling.labels[row, column["age"]], censoring, counts)
        end = history.end_of_follow_up(censoring)
        computed = disease_labels(history.diagnoses, history.imaging, diseases=diseases, end=end)
        for disease in diseases:
            # Without the full list of diagnoses only what is positive is known.
            if history.complete or computed[f"{disease.name}_ever"] == 1.0:
                filling.add(row, computed, disease)
    return filling.labels.astype(np.float32)


def label_ptbxl(record: PTBXLRecord) -> npt.NDArray[np.float32]:
    """Label one PTB-XL recording: (7,) float32 in the order of ``PTBXL_LABELS``, NaN = unknown."""
    found = record.superclasses
    findings = [np.nan if found is None else float(name in found) for name in FINDINGS]
    age = record.age if within_range("age", record.age) else np.nan
    labels = np.array([*findings, age, record.male], dtype=np.float32)
    if labels.shape != (len(PTBXL_LABELS),):
        raise ValueError(f"{labels.shape} labels for {len(PTBXL_LABELS)} columns")
    return labels


class _Filling:
    """Label vectors being filled: what is there already stands."""

    def __init__(self, subjects: int, column: Mapping[str, int], schema: Sequence[Label], counts: LabelCounts) -> None:
        self.labels = np.full((subjects, len(schema)), np.nan)
        self._column = column
        self._schema = schema
        self._counts = counts

    def fill(self, rows: npt.NDArray[np.int64], name: str, numbers: Numbers) -> None:
        """Put the plausible values of one column into its label where that is still missing.

        Args:
            rows: (k,) subject of each number, -1 for none.
            name: The label.
            numbers: k numbers.
        """
        there = self.labels[:, self._column[name]]
        all_rows = rows
        given = np.flatnonzero((rows >= 0) & (numbers.unreadable | ~np.isnan(numbers.values)) & np.isnan(there[rows]))
        rows, values, unreadable = rows[given], numbers.values[given], numbers.unreadable[given]
        fits = plausible(self._schema[self._column[name]], values)
        # A subject may stand in several rows: the first usable one counts, and what follows it is not looked at.
        order = np.arange(len(rows))
        first = np.full(len(there), len(rows))
        np.minimum.at(first, rows[fits], order[fits])
        chosen = fits & (order == first[rows])
        there[rows[chosen]] = values[chosen]
        self._count_disagreeing(all_rows, name, numbers.values)
        refused = ~fits & (order < first[rows])
        for counter, count in (
            (self._counts.out_of_range, int((refused & ~unreadable).sum())),
            (self._counts.unreadable, int((refused & unreadable).sum())),
        ):
            if count:
                counter[name] += count

    def _count_disagreeing(self, rows: npt.NDArray[np.int64], name: str, values: npt.NDArray[np.float64]) -> None:
        """Count the usable values that are not the one that stands, from an earlier table or row."""
        standing = np.append(self.labels[:, self._column[name]], np.nan)[rows]
        usable = plausible(self._schema[self._column[name]], values) & ~np.isnan(standing)
        count = int((usable & ~np.isclose(values, standing, rtol=1e-6, atol=0.0)).sum())
        if count:
            self._counts.disagreeing[name] += count

    def add_body_mass_index(self) -> None:
        """Compute the body-mass index where height and weight are known and it is not."""
        height, weight, index = (self.labels[:, self._column[name]] for name in ("height", "weight", "bmi"))
        computed = weight / (height / 100.0) ** 2
        low, high = RANGES["bmi"]
        usable = np.isnan(index) & (computed >= low) & (computed <= high)
        index[usable] = computed[usable]

    def add(self, row: int, computed: Mapping[str, float], disease: Disease) -> None:
        """Put a subject's computed labels of one disease where they are still missing."""
        for part in ("prevalent", "incident", "ever", "years"):
            name = f"{disease.name}_{part}"
            if np.isnan(self.labels[row, self._column[name]]):
                self.labels[row, self._column[name]] = computed[name]


def _sexes(texts: npt.NDArray[np.object_]) -> Numbers:
    words = [None if text is None else _SEXES.get(text.lower(), text) for text in texts]
    return to_numbers(np.array([*words, None], dtype=object)[:-1])


def _count_impossible(history: History, age: float, censoring: date | None, counts: LabelCounts) -> None:
    """Take dates before birth as unknown, and count them and what contradicts the day of imaging."""
    early = history.forget_before_birth(age)
    if early:
        counts.dates["diagnosis before birth"] += early
    for number in history.ends_before_imaging:
        counts.dates[f"{number} before imaging"] += 1
    if history.imaging is not None and censoring is not None and history.imaging > censoring:
        counts.dates[f"{VISIT_DATE} after the last day of follow-up"] += 1


def _histories(
    row_of: Mapping[str, int], tables: Sequence[Table], visit: int, counts: LabelCounts
) -> dict[int, History]:
    """Collect diagnoses; codes and dates are paired by array index within a row (``History``)."""
    histories: dict[int, History] = {}
    for table in tables:
        columns = [
            (column, texts)
            for column, texts in table.fields.items()
            if column.field in HISTORY_FIELDS and (column.field != VISIT_DATE or column.instance == visit)
        ]
        for i, subject in enumerate(table.ids):
            if subject not in row_of or not columns:
                continue
            history = histories.setdefault(row_of[subject], History())
            differing = Counter[int]()
            for column, texts in columns:
                history.complete |= column.field == CODES
                if texts[i] is not None:
                    differing[column.field] += history.add(column.field, texts[i], counts.unreadable, table.newest)
            differing.update(history.end_row())
            counts.disagreeing.update({str(number): count for number, count in differing.items() if count})
    return histories
