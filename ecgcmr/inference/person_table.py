"""Sex, age and covariates from a table that the user gives: a row for each file."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.inference.input_files import InputFile
from ecgcmr.inference.person import Person
from ecgcmr.text import printable
from ecgcmr.yaml_file import read_text

_SEXES = {
    "female": "female", "f": "female", "w": "female", "0": "female", "0.0": "female",
    "male": "male", "m": "male", "1": "male", "1.0": "male",
}  # fmt: skip
_MOST_BYTES = 512 * 2**20
_UNKNOWN = ("", "na", "nan", "none", "null", "unknown")
_OLDEST = 120.0


@dataclass(frozen=True)
class PersonTable:
    """Persons by the name of their file.

    Attributes:
        persons: Name, as in the column ``file``, -> person.
    """

    persons: dict[str, Person]

    def person(self, file: InputFile) -> Person | None:
        """Return the person of a file, found by its path from the folder named, its own name or its stem."""
        names = (file.name, file.own_name, file.stem)
        return next((self.persons[name] for name in names if name in self.persons), None)


def read_person_table(path: Path, covariates: Sequence[str]) -> PersonTable:
    """Read a CSV file with a column ``file`` and any of ``sex``, ``age`` and the model's covariates.

    Args:
        path: The file.
        covariates: Names that the model takes, in its units.

    Raises:
        UserError: A column is missing, a file has two rows, or a cell is no number or no sex.
    """
    lines = read_text(path, f"--table {path}: table", _MOST_BYTES).removeprefix("\ufeff").splitlines()
    rows = csv.DictReader(lines)
    names = [name.strip() for name in rows.fieldnames or ()]
    rows.fieldnames = names
    wanted = [name for name in dict.fromkeys(("sex", "age", *covariates)) if name in names]
    if "file" not in names or not wanted:
        known = ", ".join(dict.fromkeys(("sex", "age", *covariates)))
        raise UserError(f"--table {path}: needs a column file and one at least of {known}; it has {', '.join(names)}")
    persons: dict[str, Person] = {}
    for number, row in enumerate(rows, start=2):
        name = (row["file"] or "").strip()
        if name in persons:
            raise UserError(f"--table {path}: line {number}: {printable(name, 80)} has a row already; keep one")
        where = f"--table {path}: line {number}"
        values = {column: (row[column] or "").strip() for column in wanted}
        sex = _sex(values.pop("sex", ""), where)
        age = _number(values.pop("age", ""), f"{where}: age")
        if age is not None and not 0 <= age <= _OLDEST:
            raise UserError(f"{where}: age {age:g}: must be 0 to {_OLDEST:g} years")
        others = {column: _number(text, f"{where}: {column}") for column, text in values.items()}
        persons[name] = Person(sex, age, {column: value for column, value in others.items() if value is not None})
    return PersonTable(persons)


def _sex(text: str, where: str) -> str | None:
    if text.lower() in _UNKNOWN:
        return None
    if text.lower() not in _SEXES:
        raise UserError(f"{where}: sex '{printable(text, 40)}': write female or male, or 0 (female) and 1 (male)")
    return _SEXES[text.lower()]


def _number(text: str, where: str) -> float | None:
    if text.lower() in _UNKNOWN:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where} '{printable(text, 40)}': is no number; leave the cell empty where it is unknown")
    return value
