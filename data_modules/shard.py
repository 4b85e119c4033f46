"""One shard: an HDF5 file with the records of some hundred subjects, written once and then only read.

One record is one chunk, so that reading a row touches exactly its bytes; there is no compression (reading a row would
otherwise inflate a chunk) and no time stamp (the same rows give the same bytes). docs/shards.md specifies the format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from data_modules.layout import SCHEMA, SCHEMA_VERSION, SPLITS, Layout
from ecgcmr.errors import UserError
from ecgcmr.files import replace_atomically, sha256_of

SUBJECT_DIGITS = 32
_HEX = frozenset("0123456789abcdef")


@dataclass
class ShardRows:
    """The rows of one shard before they are written. n rows; several may share a subject.

    Attributes:
        subject: n keyed hashes of 32 hex digits; never an id of the source.
        split: n times ``train``, ``val`` or ``test``.
        ecg: (n, leads, samples) float, or None if no row has one.
        has_ecg: (n,) bool.
        cmr: (n, frames, height, width) uint8, or None if no row has one.
        has_cmr: (n,) bool.
        labels: (n, labels) float32 in the units of the layout, NaN = missing.
    """

    subject: list[str]
    split: list[str]
    ecg: np.ndarray | None
    has_ecg: np.ndarray
    cmr: np.ndarray | None
    has_cmr: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class ShardEntry:
    """What the index needs to know of a written shard.

    Attributes:
        file: Path relative to the root, with forward slashes: ``shards/shard-00000.h5``.
        sha256: Checksum of the file, 64 hex digits.
        rows: Number of rows.
        subject: Hash of each row.
        split: Split of each row.
        has_ecg: Whether each row has an ECG.
        has_cmr: Whether each row has frames.
    """

    file: str
    sha256: str
    rows: int
    subject: list[str] = field(repr=False)
    split: list[str] = field(repr=False)
    has_ecg: list[bool] = field(repr=False)
    has_cmr: list[bool] = field(repr=False)


def write_shard(path: str | Path, layout: Layout, rows: ShardRows) -> ShardEntry:
    """Write one shard atomically. The same rows and layout always give the same bytes.

    Args:
        path: ``ROOT/FOLDER/NAME.h5``; the entry's ``file`` becomes ``FOLDER/NAME.h5``.
        layout: Shapes, types and labels.
        rows: The content. Where ``has_ecg`` or ``has_cmr`` is False the record is not read, nor stored.

    Raises:
        ValueError: If shapes disagree with the layout, a hash or split is malformed, or an ECG holds NaN, infinity or
            a value that its storage type cannot hold (the message names the row).
    """
    path = Path(path)
    _check_rows(layout, rows)
    with replace_atomically(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        _write_attributes(file, layout)
        file.create_dataset("subject", data=np.array(rows.subject, dtype=f"S{SUBJECT_DIGITS}"), track_times=False)
        codes = np.array([SPLITS.index(split) for split in rows.split], dtype=np.uint8)
        file.create_dataset("split", data=codes, track_times=False)
        file.create_dataset("has_ecg", data=np.asarray(rows.has_ecg, dtype=np.uint8), track_times=False)
        file.create_dataset("has_cmr", data=np.asarray(rows.has_cmr, dtype=np.uint8), track_times=False)
        file.create_dataset("labels", data=np.asarray(rows.labels, dtype=np.float32), track_times=False)
        if layout.ecg is not None:
            _write_records(file, "ecg", layout.ecg.shape, np.dtype(layout.ecg.dtype), rows.ecg, rows.has_ecg)
        if layout.cmr is not None:
            _write_records(file, "cmr", layout.cmr.shape, np.dtype(layout.cmr.dtype), rows.cmr, rows.has_cmr)
    return ShardEntry(
        file=f"{path.parent.name}/{path.name}",
        sha256=sha256_of(path),
        rows=len(rows.subject),
        subject=list(rows.subject),
        split=list(rows.split),
        has_ecg=[bool(value) for value in rows.has_ecg],
        has_cmr=[bool(value) for value in rows.has_cmr],
    )


def _check_rows(layout: Layout, rows: ShardRows) -> None:
    n = len(rows.subject)
    if n == 0:
        raise ValueError("a shard needs at least one row")
    for name, length in (("split", len(rows.split)), ("has_ecg", len(rows.has_ecg)), ("has_cmr", len(rows.has_cmr))):
        if length != n:
            raise ValueError(f"{name} has {length} entries for {n} subjects")
    for i, (subject, split) in enumerate(zip(rows.subject, rows.split, strict=True)):
        if len(subject) != SUBJECT_DIGITS or not _HEX.issuperset(subject):
            raise ValueError(f"row {i}: a subject is a keyed hash of {SUBJECT_DIGITS} lower-case hex digits")
        if split not in SPLITS:
            raise ValueError(f"row {i}: split {split!r} is not one of {', '.join(SPLITS)}")
    if np.shape(rows.labels) != (n, len(layout.labels)):
        raise ValueError(f"labels have shape {np.shape(rows.labels)}, the layout wants {(n, len(layout.labels))}")
    for name, part, array, has in (
        ("ecg", layout.ecg, rows.ecg, rows.has_ecg),
        ("cmr", layout.cmr, rows.cmr, rows.has_cmr),
    ):
        if np.any(has) and (part is None or array is None):
            raise ValueError(f"has_{name} is set but the {'layout' if part is None else 'shard'} has no {name}")
        if part is not None and array is not None and array.shape != (n, *part.shape):
            raise ValueError(f"{name} has shape {array.shape}, the layout wants {(n, *part.shape)}")
    if rows.cmr is not None and rows.cmr.dtype != np.uint8:
        raise ValueError(f"cmr is {rows.cmr.dtype}, not uint8")


def _write_attributes(file: h5py.File, layout: Layout) -> None:
    file.attrs["schema"] = SCHEMA
    file.attrs["schema_version"] = SCHEMA_VERSION
    file.attrs["fingerprint"] = layout.fingerprint
    file.attrs["layout"] = layout.canonical_json
    if layout.ecg is not None:
        file.attrs["leads"] = list(layout.ecg.leads)
        file.attrs["sampling_rate_hz"] = layout.ecg.sampling_rate
        file.attrs["ecg_unit"] = layout.ecg.unit
    if layout.cmr is not None:
        file.attrs["frames"] = list(layout.cmr.frames)
        file.attrs["spacing_mm"] = layout.cmr.spacing_mm


def _write_records(
    file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype, records: np.ndarray | None, has: np.ndarray
) -> None:
    """Write the present records, one chunk each; a record that is absent takes no room."""
    dataset = file.create_dataset(name, (len(has), *shape), dtype=dtype, chunks=(1, *shape), track_times=False)
    if records is None:
        return
    largest = np.finfo(dtype).max if dtype.kind == "f" else None
    for i in np.flatnonzero(has):
        record = records[i]
        if largest is not None and not np.all(np.abs(record) <= largest):  # NaN compares false, so it is caught too
            raise ValueError(f"row {i}: {name} holds NaN, infinity or a value beyond {dtype}'s {largest:g}")
        dataset[i] = record.astype(dtype)


class ShardReader:
    """Reads single rows of one shard.

    The file is opened on first use in each process (an HDF5 handle must not cross a fork) and the object pickles
    closed, so it can be handed to workers however they start. Nothing is cached: a read costs its own bytes only.
    """

    def __init__(self, path: str | Path, layout: Layout | None = None) -> None:
        """Remember where the shard lies; nothing is opened.

        Args:
            path: The HDF5 file.
            layout: If given, the shard's layout must equal it; the check happens at opening.
        """
        self.path = Path(path)
        self._expected = layout
        self._layout: Layout | None = None
        self._file: h5py.File | None = None
        self._process = 0
        self._datasets: dict[str, Any] = {}

    def ecg(self, i: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Return (leads, length) float32 of row ``i`` from sample ``start`` on, to the end if no length is given.

        Raises:
            ValueError: If the row has no ECG or the crop does not lie within the record.
            UserError: If the file cannot be read.
        """
        return self.stored_ecg(i, start, length).astype(np.float32)

    def stored_ecg(self, i: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """As ``ecg``, in the type of storage: converting a whole batch later is much cheaper than row by row."""
        dataset = self._present("ecg", i)
        samples = dataset.shape[2]
        length = samples - start if length is None else length
        if start < 0 or length < 0 or start + length > samples:
            raise ValueError(f"samples {start} to {start + length} do not lie within a record of {samples}")
        with self._told():
            return dataset[i, :, start : start + length]

    def cmr(self, i: int) -> np.ndarray:
        """Return (frames, height, width) uint8 of row ``i``; v means intensity v / 255.

        Raises:
            ValueError: If the row has no frames.
            UserError: If the file cannot be read.
        """
        dataset = self._present("cmr", i)
        with self._told():
            return dataset[i]

    def labels(self, i: int | slice = slice(None)) -> np.ndarray:
        """Return (labels,) float32 of row ``i``, or (n, labels) of a slice; NaN = missing."""
        dataset = self._dataset("labels")
        with self._told():
            return dataset[i]

    @property
    def layout(self) -> Layout:
        """The layout written in the shard."""
        if self._layout is None:
            self._layout = self._open()
        return self._layout

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._dataset("labels").shape[0])

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        file, self._file, self._datasets = self._file, None, {}
        if file is not None:
            file.close()

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_datasets": {}}

    def _present(self, name: str, i: int) -> Any:
        dataset = self._dataset(name)
        if not self._datasets[f"has_{name}"][i]:
            raise ValueError(f"row {i} of {self.path.name} has no {name}")
        return dataset

    def _dataset(self, name: str) -> Any:
        if self._file is None or self._process != os.getpid():
            self._open()
        if name not in self._datasets:
            raise ValueError(f"{self.path.name} holds no {name}")
        return self._datasets[name]

    def _open(self) -> Layout:
        """Open the file in this process and check it; the layout it holds is returned."""
        self.close()
        with self._told():
            # Without a chunk cache a crop is read straight from the file, and hundreds of open shards cost no memory.
            file = h5py.File(self.path, "r", locking=False, rdcc_nbytes=0)
        try:
            with self._told():
                layout = _checked_layout(file, self.path.name, self._expected)
                self._datasets = {name: file[name] for name in ("ecg", "cmr", "labels") if name in file}
                self._datasets |= {name: file[name][:] for name in ("has_ecg", "has_cmr")}
        except BaseException:
            self._datasets = {}
            file.close()
            raise
        self._file, self._process = file, os.getpid()
        return layout

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn HDF5's errors into one line that names the file."""
        try:
            yield
        except FileNotFoundError as error:
            raise UserError(f"{self.path.name}: shard is missing; restore it or run 'ecgcmr prepare' again") from error
        except (OSError, KeyError) as error:
            message = f"{self.path.name}: shard is truncated or damaged; restore it or run 'ecgcmr prepare' again"
            raise UserError(message) from error


def _checked_layout(file: h5py.File, name: str, expected: Layout | None) -> Layout:
    schema, version = file.attrs.get("schema"), file.attrs.get("schema_version")
    if schema != SCHEMA:
        raise UserError(f"{name}: not an {SCHEMA} file (attribute schema is {schema!r})")
    if version != SCHEMA_VERSION:
        raise UserError(f"{name}: schema version {version}, this program reads {SCHEMA_VERSION}; prepare it again")
    text = file.attrs["layout"]
    if expected is not None and text == expected.canonical_json:
        return expected
    try:
        layout = Layout.from_dict(json.loads(text))
    except ValueError as error:
        raise UserError(f"{name}: attribute layout is unreadable ({error}); prepare the shard again") from error
    if expected is not None and layout.fingerprint != expected.fingerprint:
        raise UserError(f"{name}: prepared with other settings than index.json says; prepare the cohort again")
    return layout
