"""The Parquet file of embeddings: rows are kept in parts beside it until it is whole, and never computed twice.

The file's metadata say what the rows follow from: a hash of the model, and one of each row's file. A later run by the
same model takes the rows whose file has not changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.files import remove_paths, replace_atomically

_NOTE = b"ecgcmr"
_KEY_CHARACTERS = 24

Key = tuple[str, str]
"""Name of a file and a hash of its content."""


@dataclass(frozen=True)
class EmbeddingRow:
    """One row.

    Attributes:
        file: Name of the file, as the command line found it; of a cohort the shard.
        recording: Number of the window in the file; of a cohort the row in the shard.
        embedding: (D,) float32.
        quality: Mean quality index of the leads, 0 to 1; None if unknown.
        in_distribution: None where the model cannot say.
        subject: Of a cohort alone, its hash.
        split: Of a cohort alone.
    """

    file: str
    recording: int
    embedding: NDArray[np.float32] = field(repr=False)
    quality: float | None
    in_distribution: bool | None
    subject: str | None = None
    split: str | None = None


class EmbeddingsFile:
    """Rows that are known, and the parts in which new ones are kept."""

    def __init__(self, path: Path, request: str, width: int, *, is_cohort: bool, overwrite: bool) -> None:
        """Read what is there.

        Args:
            path: The Parquet file that is to be.
            request: Hash of the model and of what else all rows follow from.
            width: D.
            is_cohort: Whether rows have ``subject`` and ``split``.
            overwrite: Replace a file of another origin or model.

        Raises:
            UserError: Such a file is in the way.
        """
        self.path = path
        self.request = request
        self.width = width
        self.is_cohort = is_cohort
        self._parts = path.with_name(f".{path.name}.parts")
        self._count = 0
        self._known: dict[Key, list[EmbeddingRow]] = {}
        if path.exists() and not self._take(path) and not overwrite:
            raise UserError(
                f"--out {path}: is of another origin, or by another model; choose another file or add --overwrite"
            )
        for part in sorted(self._parts.glob("*.parquet")):
            if self._take(part):
                self._count = int(part.stem) + 1
            else:
                remove_paths([part])

    def has(self, key: Key) -> bool:
        """Return whether the rows of a file are known."""
        return key in self._known

    def add(self, rows: dict[Key, list[EmbeddingRow]]) -> None:
        """Keep the rows of some files; a file may have none."""
        if not rows:
            return
        table = self._table([row for one in rows.values() for row in one], [k for k, one in rows.items() for _ in one])
        self._parts.mkdir(exist_ok=True)
        _write(table, self._parts / f"{self._count:06d}.parquet")
        self._count += 1
        self._known |= rows

    def finish(self, keys: Sequence[Key]) -> int:
        """Write the file with the rows of these files in this order; return how many there are."""
        rows = [(row, key) for key in keys for row in self._known.get(key, [])]
        _write(self._table([row for row, _ in rows], [key for _, key in rows]), self.path)
        remove_paths([self._parts])
        return len(rows)

    def _table(self, rows: Sequence[EmbeddingRow], keys: Sequence[Key]) -> pa.Table:
        values = np.stack([row.embedding for row in rows]) if rows else np.empty((0, self.width), np.float32)
        flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).ravel(), pa.float32())
        columns: dict[str, Any] = {
            "file": pa.array([_text(row.file) for row in rows], pa.string()),
            "recording": pa.array([row.recording for row in rows], pa.int32()),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, self.width),
            "quality": pa.array([row.quality for row in rows], pa.float32()),
            "in_distribution": pa.array([row.in_distribution for row in rows], pa.bool_()),
        }
        if self.is_cohort:
            columns |= {
                name: pa.array([getattr(row, name) for row in rows], pa.string()) for name in ("subject", "split")
            }
        note = {"request": self.request, "keys": [digest[:_KEY_CHARACTERS] for _, digest in keys]}
        return pa.table(columns).replace_schema_metadata({_NOTE: json.dumps(note).encode()})

    def _take(self, path: Path) -> bool:
        """Take the rows of a file of ours and of this model; return whether it is one."""
        try:
            table = parquet.read_table(path)
            note = json.loads((table.schema.metadata or {})[_NOTE])
            digests = [str(digest) for digest in note["keys"]]
            if note["request"] != self.request or len(digests) != len(table):
                return False
            found: dict[Key, list[EmbeddingRow]] = {}
            for row, digest in zip(_rows(table, self.width, is_cohort=self.is_cohort), digests, strict=True):
                found.setdefault((row.file, digest), []).append(row)
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
            return False
        self._known |= found  # in place of the same rows, not beside: a part may have outlived the file it went into
        return True

    @staticmethod
    def key(name: str, digest: str) -> Key:
        """Return the key of a file."""
        return _text(name), digest[:_KEY_CHARACTERS]


def _rows(table: pa.Table, width: int, *, is_cohort: bool) -> Iterator[EmbeddingRow]:
    values = table.column("embedding").combine_chunks()
    flat = values.flatten().to_numpy(zero_copy_only=False).reshape(len(table), width)
    names = ("file", "recording", "quality", "in_distribution", *(("subject", "split") if is_cohort else ()))
    columns = [table.column(name).to_pylist() for name in names]
    for embedding, (file, recording, quality, inside, *more) in zip(flat, zip(*columns, strict=True), strict=True):
        yield EmbeddingRow(file, recording, embedding, quality, inside, *more)


def _write(table: pa.Table, path: Path) -> None:
    with replace_atomically(path) as temporary:
        parquet.write_table(table, temporary)


def _text(name: str) -> str:
    """Return a file's name as text that Parquet can hold."""
    return name.encode("utf-8", "backslashreplace").decode()
