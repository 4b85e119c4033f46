"""Opening a table file and reading wanted columns in chunks, as text, in bounded memory.

Three kinds are told apart by content: comma-, tab- or semicolon-separated text, the same packed with gzip, and
Parquet (where pyarrow is installed). A biobank's table can have half a million rows and thousands of columns; at no
time is more than a chunk of the wanted columns in memory.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.limits import naming
from ecgcmr.formats.regular_file import require_regular
from ecgcmr.text import printable

_HEADER_BYTES = 16 << 20
_ROW_BYTES = 32 << 20
MOST_ROWS = 2_000_000
"""Rows of a table; UK Biobank has half a million participants."""
_CELLS_AT_ONCE = 1_000_000
_MOST_ROWS, _FEWEST_ROWS = 20_000, 200
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_NO_TABLES = {
    b"PK\x03\x04": "is a spreadsheet or zip archive",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet",
    b"\xff\xfe": "is UTF-16 text",
    b"\xfe\xff": "is UTF-16 text",
    b"BZh": "is packed with bzip2",
    b"\xfd7zXZ": "is packed with xz",
    b"\x28\xb5\x2f\xfd": "is packed with zstd",
}
_REMEDY = "save it as CSV in UTF-8, plain or gzip"


class TableFile(Protocol):
    """A table that can be read column by column."""

    @property
    def name(self) -> str:
        """The file's own name, for messages."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names as the file has them; a name may occur twice."""
        ...

    def chunks(self, positions: Sequence[int]) -> Iterator[pd.DataFrame]:
        """Yield the rows in order, some at a time.

        Args:
            positions: Wanted columns, as positions in ``columns``.

        Yields:
            A frame whose columns are the positions; values are text, None or NaN where empty.

        Raises:
            UserError: The file is damaged; the message tells where, if that is known.
        """
        ...


def open_table(path: str | Path) -> TableFile:
    """Open a table by its content and read its column names.

    Raises:
        UserError: There is no such file, or it is no table of a kind this program reads.
    """
    path = Path(path)
    with naming(path):
        require_regular(path)
    with _reading(path.name), path.open("rb") as stream:
        head = stream.read(8)
    for magic, what in _NO_TABLES.items():
        if head.startswith(magic):
            raise UserError(f"{path.name}: {what}, which is not read; {_REMEDY}")
    if head.startswith(_PARQUET):
        return _open_parquet(path)
    return open_text(path.name, partial(_open_gzip if head.startswith(_GZIP) else _open_plain, path))


def _open_plain(path: Path) -> BinaryIO:
    return path.open("rb")


def _open_gzip(path: Path) -> BinaryIO:
    return gzip.open(path, "rb")  # type: ignore[return-value]


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn whatever a reader raises at a damaged file into one line that tells where."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: is not UTF-8 text; {_REMEDY}") from error
    except _RowTooLong as error:
        raise UserError(
            f"{name}: has a row of more than {_ROW_BYTES >> 20} MB, most likely from an unclosed quote; mend it"
        ) from error
    except (ValueError, OSError, EOFError, zlib.error, csv.Error) as error:  # pandas' and Arrow's are ValueErrors
        place = re.search(r"(line|row) (\d+)", str(error))
        where = f" at line {int(place[2]) + (place[1] == 'row')}" if place else ""  # pandas counts rows from 0
        raise UserError(f"{name}: cannot be read as a table{where} ({type(error).__name__})") from error


@dataclass(frozen=True)
class TextTable:
    """Separated text with a header line, UTF-8 with or without byte-order mark.

    Attributes:
        name: The file's own name.
        columns: Column names.
        separator: Comma, tab or semicolon.
        open: Opens the unpacked bytes from their start.
    """

    name: str
    columns: tuple[str, ...]
    separator: str
    open: Callable[[], BinaryIO] = field(repr=False)

    def chunks(self, positions: Sequence[int]) -> Iterator[pd.DataFrame]:
        """Yield the wanted columns; see ``TableFile``."""
        rows = 0
        for frame in self.frames(positions, rows_at_once(len(positions))):
            rows += len(frame)
            check_rows(self.name, rows)
            yield frame

    def frames(self, positions: Sequence[int], rows: int, empty: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield the wanted columns of as many rows as there are.

        Args:
            positions: Wanted columns, as positions in ``columns``.
            rows: Rows of a frame.
            empty: Texts of an empty cell; None for those that pandas takes as such.

        Raises:
            UserError: The file is damaged, or a row has more values than there are columns.
        """
        width = len(self.columns)
        # Positions as header, one more than there are: pandas then finds rows that are too long or too short.
        header = self.separator.join(map(str, range(width + 1))).encode() + b"\n"
        with _reading(self.name), self.open() as stream:
            stream.readline(_HEADER_BYTES)
            guarded = io.BufferedReader(_RowGuard(stream, header), 1 << 18)
            with pd.read_csv(
                io.TextIOWrapper(guarded, encoding="utf-8", newline=""),
                sep=self.separator,
                usecols=[*positions, width],
                index_col=False,  # a separator at each line's end must not shift the columns
                dtype=str,
                chunksize=rows,
                keep_default_na=empty is None,
                na_values=None if empty is None else list(empty),
            ) as frames:
                for frame in frames:
                    frame.columns = frame.columns.astype(int)
                    self._check_width(frame.pop(width))
                    yield frame

    def _check_width(self, beyond: pd.Series) -> None:
        """Refuse a value beyond the last column: those before it would stand under the wrong names."""
        if beyond.notna().any():
            row = int(beyond.first_valid_index()) + 1
            raise UserError(
                f"{self.name}: row {row} below the header has more values than there are columns; "
                "quote values that hold the separator"
            )


def open_text(name: str, opener: Callable[[], BinaryIO]) -> TextTable:
    """Read the header line of separated text.

    Args:
        name: The file's own name.
        opener: Opens the unpacked bytes from their start.

    Raises:
        UserError: There is no header line, or it is no text.
    """
    with _reading(name), opener() as stream:
        line = stream.readline(_HEADER_BYTES + 1)
    if len(line) > _HEADER_BYTES or b"\0" in line:
        raise UserError(f"{name}: is no text table; {_REMEDY}")
    with _reading(name):
        header = line.decode("utf-8-sig").strip("\r\n")
        separator = max(",\t;", key=header.count)
        columns = tuple(column.strip() for column in next(csv.reader([header], delimiter=separator), []))
    if not any(columns):
        raise UserError(f"{name}: cannot be read as a table (its first line names no columns)")
    return TextTable(name, columns, separator, opener)


class _RowTooLong(Exception):
    """A row outgrew what any table has."""


class _RowGuard(io.RawIOBase):
    """Passes bytes on and stops at a row that does not end: an unclosed quote would take the rest of the file in.

    Before the stream's bytes come others: the first row.
    """

    def __init__(self, stream: BinaryIO, first: bytes) -> None:
        super().__init__()
        self._stream = stream
        self._first = first
        self._length = 0
        self._quoted = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer and return how many bytes it got; ``io.RawIOBase`` asks for this."""
        block = self._first[: len(buffer)] or self._stream.read(len(buffer))
        self._first = self._first[len(block) :]
        buffer[: len(block)] = block
        end = block.rfind(b"\n")
        quoted = self._quoted ^ bool(block.count(b'"') & 1)
        if end >= 0 and not quoted ^ bool(block.count(b'"', end) & 1):
            self._length = len(block) - end  # that line end stands outside quotes
        else:
            self._length += len(block)
        self._quoted = quoted
        if self._length > _ROW_BYTES:
            raise _RowTooLong
        return len(block)


def check_rows(name: str, rows: int) -> None:
    """Refuse a table of more rows than any cohort has, before they fill the memory.

    Raises:
        UserError: There are more.
    """
    if rows > MOST_ROWS:
        raise UserError(f"{name}: has more than {MOST_ROWS:,} rows, one a participant; leave the others out")


def rows_at_once(columns: int) -> int:
    """Return how many rows of so many columns make a chunk."""
    return max(_FEWEST_ROWS, min(_MOST_ROWS, _CELLS_AT_ONCE // max(columns, 1)))


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file.

    Attributes:
        name: The file's own name.
        columns: Column names.
        path: Where it lies.
    """

    name: str
    columns: tuple[str, ...]
    path: Path = field(repr=False)

    def chunks(self, positions: Sequence[int]) -> Iterator[pd.DataFrame]:
        """Yield the wanted columns; see ``TableFile``."""
        import pyarrow.parquet as parquet

        positions = sorted(positions)
        names = [self.columns[position] for position in positions]
        with _reading_parquet(self.name), parquet.ParquetFile(self.path, memory_map=False, pre_buffer=False) as file:
            check_rows(self.name, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=rows_at_once(len(names)), columns=names, use_threads=False):
                yield pd.DataFrame(
                    {
                        position: self._as_text(column, batch.column(column))
                        for position, column in zip(positions, names, strict=True)
                    },
                    columns=positions,
                    dtype=object,
                )

    def _as_text(self, column: str, values: Any) -> Any:
        """Turn Arrow values into text: days as ISO dates, lists joined by ``|``, as CSV exports have them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = values.type
        if pa.types.is_dictionary(kind):
            return self._as_text(column, values.dictionary_decode())
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            items = pa.array(self._as_text(column, values.flatten()), pa.string())
            parts = pa.ListArray.from_arrays(_offsets(values), pc.fill_null(items, ""))
            return pc.binary_join(parts, "|").to_pandas().to_numpy(dtype=object)
        if pa.types.is_boolean(kind):
            values = pc.cast(values, pa.int8())
        elif pa.types.is_timestamp(kind):
            values = pc.cast(pc.cast(values, pa.timestamp("s"), safe=False), pa.date32(), safe=False)
        elif pa.types.is_floating(kind):
            values = _whole_numbers(pc.if_else(pc.is_nan(values), None, values))
        elif not (pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise UserError(f"{self.name}: column {column} is of type {kind}; save it as text or number")
        return pc.cast(values, pa.string()).to_pandas().to_numpy(dtype=object)


@contextmanager
def _reading_parquet(name: str) -> Iterator[None]:
    """As ``_reading``, for what Arrow raises."""
    import pyarrow as pa

    with _reading(name):
        try:
            yield
        except pa.ArrowException as error:
            raise UserError(f"{name}: cannot be read as a table ({type(error).__name__})") from error


def _offsets(values: Any) -> Any:
    """Return where each list begins and ends in the flattened values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(values), 0)
    ends = pc.cumulative_sum(pc.cast(lengths, pa.int32()))
    return pa.concat_arrays([pa.array([0], pa.int32()), ends])


def _whole_numbers(values: Any) -> Any:
    """Turn fractions into integers if all of them are whole, as ids are that stand in a column with gaps."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(values, pa.int64())
    except pa.ArrowInvalid:
        return values


def _open_parquet(path: Path) -> ParquetTable:
    import pyarrow.parquet as parquet

    with _reading_parquet(path.name), parquet.ParquetFile(path, memory_map=False) as file:
        names = tuple(file.schema_arrow.names)
    if len(set(names)) < len(names):  # Arrow would give neither by its name
        twice = next(column for column in names if names.count(column) > 1)
        raise UserError(f"{path.name}: column {printable(twice, 60)} stands there twice; keep one")
    return ParquetTable(path.name, names, path)
