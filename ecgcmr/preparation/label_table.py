"""Tables of a cohort to label vectors: which column becomes which label, what is missing, what was implausible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.header_units import check_header_unit
from ecgcmr.formats.table_file import TableFile
from ecgcmr.formats.table_numbers import Numbers
from ecgcmr.formats.ukb_table import Table, read_table
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
from ecgcmr.preparation.diseases import Disease
from ecgcmr.preparation.label_columns import LabelColumn, LabelCounts
from ecgcmr.preparation.labels import ALIASES, TableLabels

IMAGING_VISIT = 2


def read_label_table(
    source: Path | TableFile,
    ids: Sequence[str],
    labels: TableLabels | None = None,
    newest: date | None = None,
) -> Table:
    """Read what can become a label from a table, for these subjects; see ``read_table``.

    Args:
        source: The table.
        ids: The subjects.
        labels: What to read; None for what every biobank cohort has.
        newest: The newest day that a date of the table can be; None if any may be.

    Raises:
        UserError: As ``read_table``; or the table speaks of none of these subjects, or states another unit for a label
            than is declared.
    """
    labels = labels or TableLabels()
    fields = labels.by_field
    table = read_table(
        source,
        {*fields, *HISTORY_FIELDS},
        {**{name: name for name in labels.by_name}, **ALIASES},
        ids,
        numeric=[field for field, columns in fields.items() if all(c.words is None and c.factor == 1 for c in columns)],
        joined=JOINED_FIELDS,
        dated=DIAGNOSIS_DATES,
        dates=DATE_FIELDS,
        newest=newest,
    )
    check_units(table, labels)
    if not table.rows:
        raise UserError(f"{table.name}: has no row with an id below its header")
    if ids and not len(table.ids):
        has_files = "file" in map(str.lower, table.unread)
        by_row = "; its column file is read with --collection folder, a row for each recording" if has_files else ""
        raise UserError(
            f"{table.name}: none of its {table.rows} rows is of a subject with an ECG or images; check its id column "
            f"against the files' names (leading zeros count) or --subjects{by_row}"
        )
    return table


def check_units(table: Table, labels: TableLabels) -> None:
    """Refuse a table whose header states another unit for a label than is declared.

    Raises:
        UserError: It does.
    """
    for name, header in table.named_columns.items():
        for column in labels.by_name.get(name, ()):
            if column.words is None:
                check_header_unit(table.name, header, column.label.name, column.table_unit)


def label_subjects(
    ids: Sequence[str],
    tables: Sequence[Table],
    visit: int,
    counts: LabelCounts,
    labels: TableLabels | None = None,
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
        labels: What to label; None for what every biobank cohort has.
        censor_date: Last day up to which diagnoses are known; None takes the latest date of any diagnosis in the
            files, of whatever subject.

    Returns:
        (n, L) float32 in the order and units of ``labels.columns``, NaN = missing.
    """
    labels = labels or TableLabels()
    filling = _Filling(len(ids), labels.columns, counts)
    row_of = {subject: i for i, subject in enumerate(ids)}
    for table in tables:
        rows = np.array([row_of.get(subject, -1) for subject in table.ids], dtype=np.int64)
        for place, numbers in table.numbers.items():
            for column in labels.by_field[place.field]:
                if (place.instance == visit or column.any_visit) and not place.array:
                    filling.fill(rows, column, numbers)
        for place, texts in table.fields.items():
            for column in labels.by_field.get(place.field, ()):
                if (place.instance == visit or column.any_visit) and not place.array:
                    filling.fill(rows, column, column.read(texts, decimal_comma=table.decimal_comma))
        for name, texts in table.named.items():
            for column in labels.by_name[name]:
                filling.fill(rows, column, column.read(texts, decimal_comma=table.decimal_comma))
    filling.add_body_mass_index()
    censoring = censor_date or max((day for table in tables for day in table.latest.values()), default=None)
    for row, history in _histories(row_of, tables, visit, counts).items():
        _count_impossible(history, filling.of("age")[row], censoring, counts)
        end = history.end_of_follow_up(censoring)
        computed = disease_labels(history.diagnoses, history.imaging, diseases=labels.diseases, end=end)
        for disease in labels.diseases:
            # Without the full list of diagnoses only what is positive is known.
            if history.complete or computed[f"{disease.name}_ever"] == 1.0:
                filling.add(row, computed, disease)
    return filling.labels.astype(np.float32)


class _Filling:
    """Label vectors being filled: what is there already stands."""

    def __init__(self, subjects: int, columns: Sequence[LabelColumn], counts: LabelCounts) -> None:
        self.labels = np.full((subjects, len(columns)), np.nan)
        self._columns = {column.label.name: column for column in columns}
        self._place = {name: place for place, name in enumerate(self._columns)}
        self._counts = counts

    def of(self, name: str) -> npt.NDArray[np.float64]:
        """Return a view of one label, (subjects,)."""
        return self.labels[:, self._place[name]]

    def fill(self, rows: npt.NDArray[np.int64], column: LabelColumn, numbers: Numbers) -> None:
        """Put the plausible values of one column into its label where that is still missing.

        Args:
            rows: (k,) subject of each number, -1 for none.
            column: The label.
            numbers: k numbers.
        """
        there = self.of(column.label.name)
        all_rows = rows
        given = np.flatnonzero((rows >= 0) & (numbers.unreadable | ~np.isnan(numbers.values)) & np.isnan(there[rows]))
        rows, values, unreadable = rows[given], numbers.values[given], numbers.unreadable[given]
        fits = column.plausible(values)
        # A subject may stand in several rows: the first usable one counts, and what follows it is not looked at.
        order = np.arange(len(rows))
        first = np.full(len(there), len(rows))
        np.minimum.at(first, rows[fits], order[fits])
        chosen = fits & (order == first[rows])
        there[rows[chosen]] = values[chosen]
        if column.is_counted:
            self._count_disagreeing(all_rows, column, numbers.values)
            refused = ~fits & (order < first[rows])
            self._counts.add(column.entry, refused & ~unreadable, refused & unreadable)

    def _count_disagreeing(
        self, rows: npt.NDArray[np.int64], column: LabelColumn, values: npt.NDArray[np.float64]
    ) -> None:
        """Count the usable values that are not the one that stands, from an earlier table or row."""
        standing = np.append(self.of(column.label.name), np.nan)[rows]
        usable = column.plausible(values) & ~np.isnan(standing)
        count = int((usable & ~np.isclose(values, standing, rtol=1e-6, atol=0.0)).sum())
        if count:
            self._counts.disagreeing[column.entry] += count

    def add_body_mass_index(self) -> None:
        """Compute the body-mass index where height and weight are known and it is not."""
        height, weight, index = (self.of(name) for name in ("height", "weight", "bmi"))
        computed = weight / (height / 100.0) ** 2
        usable = np.isnan(index) & self._columns["bmi"].plausible(computed)
        index[usable] = computed[usable]

    def add(self, row: int, computed: Mapping[str, float], disease: Disease) -> None:
        """Put a subject's computed labels of one disease where they are still missing."""
        for part in ("prevalent", "incident", "ever", "years"):
            label = self.of(f"{disease.name}_{part}")
            if np.isnan(label[row]):
                label[row] = computed[f"{disease.name}_{part}"]


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
