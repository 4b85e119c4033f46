"""What reads a recording that is not a file of its own, such as one row of an array of many recordings.

A collection gives it to each of its candidates, beside the path. It travels to worker processes, and what a shard was
made of is known by it, so it is plain data: a frozen dataclass of a module.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ecgcmr.formats.record import ECGRecord


@runtime_checkable
class RecordReader(Protocol):
    """Reads one recording out of a file. Its class is a frozen dataclass of plain values."""

    @property
    def place(self) -> str:
        """Where in the file the recording lies, such as ``row 17``; empty where it is the whole file."""
        ...

    @property
    def unit(self) -> str:
        """``mV`` or ``z-score``; the records that ``read`` returns have it."""
        ...

    def files(self, path: Path) -> list[Path]:
        """Return the files on which the recording depends, the given one first; nothing is opened."""
        ...

    def read(self, path: Path) -> ECGRecord:
        """Read the recording.

        Raises:
            UserError: The file is missing or damaged, or holds no such recording; the message begins with its name.
        """
        ...


def reader_fingerprint(reader: RecordReader) -> str:
    """Return a SHA-256 of a reader's class and values.

    Raises:
        TypeError: It is no dataclass of plain values.
    """
    if not is_dataclass(reader) or isinstance(reader, type):
        raise TypeError(f"{type(reader).__name__} is no dataclass")
    values: dict[str, Any] = asdict(reader)
    said = json.dumps(values, sort_keys=True)
    return hashlib.sha256(f"{type(reader).__module__}.{type(reader).__qualname__} {said}".encode()).hexdigest()
