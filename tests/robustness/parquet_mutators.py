"""Parquet files with other columns."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

Generator = np.random.Generator


def parquet_column(content: bytes, rng: Generator) -> bytes:
    """A Parquet file with one column of another type, lost, renamed or twice, or with very many equal rows."""
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(content))
    place = int(rng.integers(table.num_columns))
    field, n = table.schema.field(place), table.num_rows
    others: tuple[Any, ...] = (
        pa.array([[1.0]] * n), pa.array([{"a": 1}] * n), pa.array([b"\xff\xfe"] * n), pa.array([True] * n), pa.nulls(n),
        pa.array([0] * n, pa.timestamp("ns")), pa.array([2**63 - 1] * n), pa.array(["nan"] * n),
        pa.array([float("inf")] * n),
        pa.array(["a\x1b[31m\n|<b>"] * n), pa.array([1e308] * n), pa.array([0] * n, pa.date32()), pa.array([""] * n),
        pa.array([b"x"] * n, pa.binary()), pa.array([0] * n, pa.duration("s")), pa.array(["x" * 10_000] * n),
    )  # fmt: skip
    way = int(rng.integers(8))
    if way == 0:
        table = table.remove_column(place)
    elif way == 1:
        table = table.append_column(field.name, table.column(place))
    elif way == 2:
        table = table.rename_columns([("\x1b[31m", "", "x" * 5000, "a\nb")[rng.integers(4)] if k == place else name
                                      for k, name in enumerate(table.column_names)])  # fmt: skip
    elif way == 3:
        table = table.slice(0, 0)
    elif way == 4 and n:
        return _many_rows(table, 12_000_000)
    else:
        table = table.set_column(place, field.name, others[rng.integers(len(others))])
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def many_rows(content: bytes, rng: Generator) -> bytes:
    """Twelve million rows in a small file."""
    from pyarrow import parquet

    return _many_rows(parquet.read_table(io.BytesIO(content)), 12_000_000)


def _many_rows(table: Any, rows: int) -> bytes:
    """The first row again and again: a small file that is large in memory."""
    import pyarrow as pa
    from pyarrow import parquet

    few = table.select(table.column_names[:4])
    block = few.take(pa.array(np.zeros(200_000, np.int64)))
    buffer = io.BytesIO()
    with parquet.ParquetWriter(buffer, block.schema, compression="zstd") as writer:
        for _ in range(rows // len(block)):
            writer.write_table(block)
    return buffer.getvalue()
