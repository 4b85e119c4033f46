"""Columns of a biobank's table: their names in any of the three export styles, and where the wanted ones are."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ecgcmr.errors import UserError
from ecgcmr.formats.header_units import split_header
from ecgcmr.formats.table_file import TableFile

ID_COLUMNS = ("eid", "f.eid", "participant.eid", "patient", "patient_id", "subject", "subject_id", "ecg_id", "id")
_STYLES = (
    re.compile(r"^(?P<field>\d{1,9})-(?P<instance>\d{1,9})\.(?P<array>\d{1,9})$", re.ASCII),
    re.compile(r"^f[._](?P<field>\d{1,9})[._](?P<instance>\d{1,9})[._](?P<array>\d{1,9})$", re.ASCII),
    re.compile(
        r"^(?:participant\.)?p(?P<field>\d{1,9})(?:_i(?P<instance>\d{1,9}))?(?:_a(?P<array>\d{1,9}))?$", re.ASCII
    ),
)
_LONGEST_ARRAY = 10_000
_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Column:
    """What a column of a biobank table holds.

    Attributes:
        field: Field number.
        instance: Visit; 2 is the imaging visit, 3 the repeat. 0 where the name states none.
        array: Index within an array field; None where the name states none.
    """

    field: int
    instance: int
    array: int | None


def parse_column(name: str) -> Column | None:
    """Parse a column name in any of the three styles; None if it is in none of them."""
    for style in _STYLES:
        match = style.match(name.strip().lower())
        if match:
            array = match["array"]
            return Column(int(match["field"]), int(match["instance"] or 0), None if array is None else int(array))
    return None


@dataclass(frozen=True)
class Wanted:
    """Where the wanted columns of a file are: positions, by what they hold.

    Attributes:
        id: Of the participants' ids.
        by_field: Of every column that belongs to a wanted field.
        single: Of fields that are read column by column.
        arrays: Of each array index of fields that are joined, -1 where the file lacks one.
        named: Of columns with plain names.
    """

    id: int
    by_field: Mapping[Column, int]
    single: Mapping[Column, int]
    arrays: Mapping[Column, list[int]]
    named: Mapping[str, int]

    def places(self, number: int) -> list[int]:
        """Positions of a field's columns."""
        return [position for column, position in self.by_field.items() if column.field == number]

    @property
    def positions(self) -> list[int]:
        """All of them, ascending."""
        return sorted({self.id, *self.by_field.values(), *self.named.values()})


def select_columns(
    file: TableFile, fields: Collection[int], names: Mapping[str, str], joined: Collection[int]
) -> Wanted:
    """Find the wanted columns of a table by their names; see ``read_table``.

    Raises:
        UserError: There is no id column, none of the wanted columns, or one of them twice.
    """
    identifier = id_position(file)
    by_field: dict[Column, int] = {}
    named: dict[str, int] = {}
    for position, name in enumerate(file.columns):
        column, known = parse_column(name), names.get(name.strip().lower())
        if position == identifier:
            continue
        if column is not None and column.field in fields:
            _claim(file, by_field, column, position)
        elif (known := known or names.get(split_header(name)[0])) is not None:
            _claim(file, named, known, position)
    if not by_field and not named:
        raise UserError(f"{file.name}: has none of the columns this program knows or --labels declares")
    return Wanted(
        id=identifier,
        by_field=by_field,
        single={column: position for column, position in by_field.items() if column.field not in joined},
        arrays=_arrays(file, by_field, joined),
        named=named,
    )


def id_position(file: TableFile) -> int:
    """Return the position of the column of participant ids.

    Raises:
        UserError: There is none, or it is there twice.
    """
    header = [name.strip().lower() for name in file.columns]
    for wanted in ID_COLUMNS:
        if header.count(wanted) > 1:
            raise UserError(f"{file.name}: has column {wanted} twice; keep one")
        if wanted in header:
            return header.index(wanted)
    raise UserError(f"{file.name}: has no id column; name it one of {', '.join(ID_COLUMNS)}")


def _claim(file: TableFile, claimed: dict[_Key, int], key: _Key, position: int) -> None:
    other = claimed.setdefault(key, position)
    if other != position:
        names = f"{file.columns[other]} and {file.columns[position]}"
        raise UserError(f"{file.name}: columns {names} hold the same; keep one")


def _arrays(file: TableFile, by_field: Mapping[Column, int], joined: Collection[int]) -> dict[Column, list[int]]:
    """Return for each field to be joined, by instance, the position of each array index."""
    found: dict[Column, dict[int, int]] = defaultdict(dict)
    for column, position in by_field.items():
        if column.field in joined:
            if column.array is not None and column.array >= _LONGEST_ARRAY:
                raise UserError(f"{file.name}: column {file.columns[position]} has an impossible array index")
            _claim(file, found[Column(column.field, column.instance, None)], column.array or 0, position)
    return {column: [members.get(i, -1) for i in range(max(members) + 1)] for column, members in found.items()}
