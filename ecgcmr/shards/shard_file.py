"""One shard as the loader sees it: a file descriptor and where each record lies, for reading past HDF5.

A record is one chunk, so an uncompressed one is a plain run of bytes. HDF5 is asked once where the runs are and then
closed; an open shard costs a descriptor and 16 bytes a row. Records behind a filter (compression) are read through
HDF5. Nothing is mapped into memory: a file that shrinks while it is read gives an error, not a dead process.
"""

from __future__ import annotations

import os
import threading
import weakref
import zlib
from pathlib import Path

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.shards import record_kernel
from ecgcmr.shards.index import MODALITIES
from ecgcmr.shards.layout import Layout
from ecgcmr.shards.shard_reader import ShardReader


class ShardFile:
    """One open shard.

    Attributes:
        name: The file's own name, for messages.
        descriptor: Open for reading; closed when the object is collected, so a reading thread may outlive a cache.
        offsets: Per modality (n,) int64 bytes from the start of the file to each record, -1 where there is none; None
            where records must be read through HDF5.
    """

    def __init__(self, path: Path, layout: Layout, locking: bool | None = False, digest: str | None = None) -> None:
        """Open the file and check it; arguments as for ``ShardReader``.

        Raises:
            UserError: If it is missing, damaged or of another layout; the message names it.
        """
        self.name = path.name
        self.offsets: dict[str, np.ndarray | None] = {}
        self._layout = layout
        self._reader = ShardReader(path, layout, locking, digest)
        self._one_at_a_time = threading.Lock()
        with self._reader as reader:
            self.rows = len(reader)
            for name in MODALITIES:
                if getattr(layout, name) is not None:
                    self.offsets[name] = reader.chunk_offsets(name) if record_kernel.AVAILABLE else None
            self._checksums = {name: reader.checksums(name) for name in self.offsets}
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self.descriptor)

    def offset(self, name: str, row: int) -> int:
        """Return where a record starts in the file.

        Raises:
            UserError: If the shard holds no such record though the index says so.
        """
        offsets = self.offsets[name]
        place = -1 if offsets is None or row >= self.rows else int(offsets[row])
        if place < 0:
            raise UserError(f"{self.name}: record {row} has no {name}; the index and the shard disagree, verify them")
        return place

    def record(self, name: str, row: int) -> np.ndarray:
        """Read a whole record through HDF5, in its type of storage.

        Raises:
            UserError: If it cannot be read; the message names shard and record.
        """
        try:
            with self._one_at_a_time:
                return self._reader.stored_ecg(row) if name == "ecg" else self._reader.cmr(row)
        except UserError as error:
            raise UserError(f"{error} (record {row})") from error
        except (ValueError, IndexError) as error:
            raise UserError(f"{self.name}: record {row} has no {name}; the index and the shard disagree") from error

    def has_checksums(self, name: str) -> bool:
        """Tell whether the shard holds a checksum of each record."""
        return self._checksums[name] is not None

    def checked_record(self, name: str, row: int) -> np.ndarray:
        """As ``record``, compared with the record's stored checksum.

        Raises:
            UserError: If the bytes are not those that were written, or the shard holds no checksums.
        """
        checksums = self._checksums[name]
        if checksums is None:
            raise UserError(f"{self.name}: holds no checksums of records; prepare it again or leave out verify_reads")
        record = self.record(name, row) if self.offsets[name] is None else self._plain_record(name, row)
        if zlib.crc32(np.ascontiguousarray(record).data) != checksums[row]:
            raise UserError(f"{self.name}: {name} of record {row} is damaged; restore the shard or prepare it again")
        return record

    def _plain_record(self, name: str, row: int) -> np.ndarray:
        """Read a whole record past HDF5."""
        part = getattr(self._layout, name)
        size = int(np.prod(part.shape)) * np.dtype(part.dtype).itemsize
        return np.frombuffer(self.reread(name, row, 0, size), dtype=part.dtype).reshape(part.shape)

    def reread(self, name: str, row: int, begin: int, size: int) -> bytes:
        """Read bytes that a first attempt did not get: a signal or a network disk may cut a read short.

        Raises:
            UserError: If they are not there.
        """
        parts, got, place = [], 0, self.offset(name, row) + begin
        try:
            while got < size:
                part = os.pread(self.descriptor, size - got, place + got)
                if not part:
                    break
                parts.append(part)
                got += len(part)
        except OSError as error:
            raise UserError(f"{self.name}: {name} of record {row} cannot be read ({error.strerror})") from error
        if got < size:
            raise UserError(f"{self.name}: the file ends within {name} of record {row}; restore it or prepare again")
        return b"".join(parts)
