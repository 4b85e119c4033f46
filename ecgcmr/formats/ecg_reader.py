"""A reader of ECG files of the user's own, named by its class and asked before those of this program."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.lead_names import standard_lead
from ecgcmr.formats.record import ECGRecord, ecg_record
from ecgcmr.named_class import build, load_class
from ecgcmr.text import printable

USER_KIND = "user"
"""What ``identify_ecg`` calls the files of such a reader."""


class ECGReader(Protocol):
    """Reads ECG files of one format. The class takes no arguments."""

    def accepts(self, path: Path) -> bool:
        """Tell whether a file is of this format, best by its first bytes."""
        ...

    def read(self, path: Path) -> ECGRecord:
        """Read a file that was accepted.

        Raises:
            UserError: The file is damaged; the message says what is wrong with it.
        """
        ...


@dataclass(frozen=True)
class NamedReader:
    """A reader together with the name that the user gave.

    Attributes:
        name: ``package.module:Class``.
        fingerprint: Of the name and of the file that holds the class.
        reader: The reader.
    """

    name: str
    fingerprint: str
    reader: ECGReader = field(repr=False)

    def accepts(self, path: Path) -> bool:
        """Ask the reader whether a file is of its format.

        Raises:
            UserError: It raised an error or answered with no truth value.
        """
        answer = self._call("accepts", self.reader.accepts, path)
        if not isinstance(answer, bool | np.bool_):
            raise UserError(f"{self.name}: accepts() returned a {type(answer).__name__}, not true or false")
        return bool(answer)

    def read(self, path: Path) -> ECGRecord:
        """Read a file, and make sure that the record keeps what ``ECGRecord`` promises.

        Raises:
            UserError: The reader refused the file, raised an error, or returned no such record.
        """
        record = self._call("read", self.reader.read, path)
        if not isinstance(record, ECGRecord):
            raise UserError(f"{self.name}: read() returned a {type(record).__name__}, not an ECGRecord")
        try:
            signal = np.array(record.signal, dtype=np.float64, ndmin=2)
            leads = tuple(standard_lead(str(lead)) for lead in record.leads)
            if signal.ndim != 2 or len(leads) != len(signal):
                raise UserError(f"returned a signal of shape {signal.shape} for {len(leads)} leads")
            checked = ecg_record(signal, leads, float(record.sampling_rate), tuple(record.notes), tuple(record.others))
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.name}: returned an impossible record ({printable(error, 100)})") from error
        notes = tuple(dict.fromkeys(self._without_name(str(note), path) for note in checked.notes))
        return ECGRecord(checked.signal, checked.leads, checked.sampling_rate, notes, checked.others)

    def _call(self, method: str, call: Callable[[Path], Any], path: Path) -> Any:
        """Call the reader; whatever it raises costs this file alone and becomes one line without the file's path."""
        try:
            return call(path)
        except UserError as error:
            raise UserError(self._without_name(str(error), path)) from error
        except MemoryError:
            raise
        except Exception as error:
            said = self._without_name(printable(error, 200), path)
            raise UserError(f"{self.name}: {method}() raised {type(error).__name__}: {said}") from error

    @staticmethod
    def _without_name(text: str, path: Path) -> str:
        """Notes and reasons stand beside the shards, where no name of a source file may be."""
        for name in (str(path.absolute()), str(path), path.name):
            text = text.replace(name, "the file")
        return text.removeprefix("the file: ")


@cache
def load_reader(name: str | None) -> NamedReader | None:
    """Import a reader; None if none is named.

    Raises:
        UserError: There is no such class, it is no reader, or it cannot be built.
    """
    if name is None:
        return None
    cls = load_class(name, "--reader", {"accepts": ("path",), "read": ("path",)})
    digest = hashlib.sha256(name.encode())
    source = inspect.getsourcefile(cls)
    if source is not None and Path(source).is_file():
        digest.update(Path(source).read_bytes())
    return NamedReader(name, digest.hexdigest(), build(cls, {}, f"--reader {name}"))
