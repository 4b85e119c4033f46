"""What the published collections of cardiac images have in common: their tables, and texts that become classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.csv_rows import read_csv_rows
from ecgcmr.label_declarations import ONE_OF, DeclaredLabel, word
from ecgcmr.preparation.collections.protocol import SearchNotes

_NO_TEXT = ("", "nan", "na", "n/a", "none", "null", "-")


def table_rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a publisher's table, each as its columns' names in lower case -> text.

    Raises:
        UserError: The table cannot be read, or lacks a needed column.
    """
    rows = read_csv_rows(path)
    header = [cell.lower() for cell in rows[0][1]] if rows else []
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise UserError(f"{path.name}: lacks the column {lacking[0]}; fetch it again from the publisher")
    return [dict(zip(header, cells, strict=False)) for _, cells in rows[1:]]


def rows_by(path: Path, rows: Iterable[dict[str, str]], name: str) -> dict[str, dict[str, str]]:
    """Return the rows by the text of a column; one without it is of nobody.

    Raises:
        UserError: Two rows of one text differ in what they say.
    """
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        text = text_of(row, name)
        said = {column: cell for column, cell in row.items() if column}  # a column without a name counts the rows
        if text is not None and found.setdefault(text, said) != said:
            raise UserError(f"{path.name}: two rows of one {name} say different things; keep the right one")
    return found


def text_of(row: Mapping[str, str], name: str) -> str | None:
    """Return a cell's text, None where it is empty or a word for that."""
    text = word(row.get(name, ""))
    return None if text.lower() in _NO_TEXT else text


def whole_number(row: Mapping[str, str], name: str) -> int | None:
    """Return a cell's whole number of at least 0, None where it has none."""
    text = text_of(row, name) or ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else None


def classes(name: str, title: str, known: Sequence[str], found: Iterable[str | None]) -> DeclaredLabel:
    """Declare one of several: the classes that are known, then others that a table has, in order of the alphabet.

    Args:
        name: Of the label.
        title: What it is.
        known: Texts that the publisher describes.
        found: Texts of the table.
    """
    lower = {text.lower() for text in known}
    others = {text.lower(): text for text in found if text is not None and text.lower() not in lower}
    return DeclaredLabel(name, ONE_OF, title=title, classes=(*known, *(others[key] for key in sorted(others))))


def say_unmatched(notes: SearchNotes, table: str, without_row: int, without_images: int) -> None:
    """Say how many subjects stand in no row of a table, and how many rows are of nobody."""
    notes.files.append(table)
    if without_row:
        notes.remarks.append(f"{table}: {without_row} subjects with images stand in no row of it")
    if without_images:
        notes.remarks.append(f"{table}: {without_images} of its rows are of nobody with images here")


def require_view(view: str, views: Sequence[str], title: str) -> None:
    """Refuse a view that a collection does not have.

    Raises:
        UserError: It does not.
    """
    if view not in views:
        raise UserError(f"--view {view}: {title} has {' and '.join(views)} alone")
