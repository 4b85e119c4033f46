"""Reading single rows of a shard, lazily, from whichever process asks."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.shards.layout import MASK_UNKNOWN, SCHEMA, SCHEMA_VERSION, SPLITS, Layout
from ecgcmr.shards.shard import Beats, LeadQuality, ShardRows
from ecgcmr.shards.shard_digest import check_digest, digest_columns, stored_digest
from ecgcmr.shards.shard_structure import check_structure, dataset_at
from ecgcmr.text import printable


class ShardReader:
    """Reads single rows of one shard.

    The file is opened on first use in each process (an HDF5 handle must not cross a fork) and the object pickles
    closed, so it can be handed to workers however they start. Nothing is cached: a read costs its own bytes only.
    """

    def __init__(
        self,
        path: str | Path,
        layout: Layout | None = None,
        locking: bool | None = False,
        digest: str | None = None,
    ) -> None:
        """Remember where the shard lies; nothing is opened.

        Args:
            path: The HDF5 file.
            layout: If given, the shard's layout must equal it; the check happens at opening.
            locking: Whether HDF5 locks the file while it is open. Shards are never written again, so that no lock is
                needed, and network disks and read-only media often refuse one. None leaves it to HDF5.
            digest: What the index says of the shard's columns, empty text if it says nothing; compared at opening, so
                that a shard of another run is never read. None for a shard that is read without an index.
        """
        self.path = Path(path)
        self.locking = locking
        self._expected = layout
        self._digest = digest
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

    def cmr_mask(self, i: int) -> np.ndarray:
        """Return (frames, height, width) uint8, the regions of row ``i``'s frames by ``MASK_REGIONS``.

        A frame that nobody has segmented is ``MASK_UNKNOWN`` throughout, as are all frames of a row without a mask.

        Raises:
            ValueError: If this cohort stores no masks, or the row has no frames.
            UserError: If the file cannot be read.
        """
        dataset = self._present("cmr", i)
        if not self._row("has_cmr_mask", i):
            return np.full(dataset.shape[1:], MASK_UNKNOWN, dtype=np.uint8)
        mask = self._row("cmr_mask", i)
        if mask.dtype != np.uint8:
            raise UserError(f"{self.path.name}: cmr_mask is {mask.dtype}, not uint8; prepare the shard again")
        return mask

    def r_peaks(self, i: int) -> np.ndarray:
        """Return (k,) sample positions of row ``i``'s R peaks, ascending, as integers.

        Raises:
            ValueError: If the row has no ECG or this cohort stores no beats.
            UserError: If the file cannot be read.
        """
        self._present("ecg", i)
        peaks = self._row("r_peaks", i)
        return peaks[peaks >= 0].astype(np.int64)

    def waves(self, i: int) -> np.ndarray:
        """Return (k, 8) sample positions of the ``WAVES`` of row ``i``'s beats, -1 where one was not found."""
        count = len(self.r_peaks(i))
        return self._row("waves", i)[:count].astype(np.int64)

    def lead_flags(self, i: int | slice = slice(None)) -> np.ndarray:
        """Return (leads,) uint8 of row ``i``, or (n, leads) of a slice; bit i stands for ``LEAD_FLAGS[i]``."""
        return self._row("lead_flags", i)

    def lead_quality(self, i: int | slice = slice(None)) -> np.ndarray:
        """Return (leads,) float32 in 0..1 of row ``i``, or (n, leads) of a slice; NaN = unknown."""
        return self._row("lead_quality", i)

    def all_rows(self) -> ShardRows:
        """Read the whole shard into memory, as ``write_shard`` takes it, in the types of storage."""
        layout = self.layout
        n, ecg = len(self), layout.ecg
        everything = slice(None)
        beats = quality = None
        if ecg is not None and ecg.max_beats:
            beats = Beats(self._row("r_peaks", everything), self._row("waves", everything))
        if ecg is not None and ecg.quality:
            quality = LeadQuality(self.lead_flags(), self.lead_quality())
        return ShardRows(
            subject=[text.decode("ascii") for text in self._row("subject", everything)],
            split=[SPLITS[code] for code in self._row("split", everything)],
            ecg=None if ecg is None else self._row("ecg", everything),
            has_ecg=self.has("ecg"),
            cmr=None if layout.cmr is None else self._row("cmr", everything),
            has_cmr=self.has("cmr"),
            labels=self.labels(slice(0, n)),
            beats=beats,
            quality=quality,
            cmr_mask=self._masks() if layout.cmr is not None and layout.cmr.mask else None,
        )

    def _masks(self) -> np.ndarray:
        masks = self._row("cmr_mask", slice(None))
        masks[~self.has("cmr_mask")] = MASK_UNKNOWN  # an absent record reads as zeros
        return masks

    def column(self, name: str) -> np.ndarray:
        """Return a dataset whole, as it is stored: ``subject``, ``split``, ``r_peaks``, ``waves``, ..."""
        return self._row(name, slice(None))

    def has(self, name: str) -> np.ndarray:
        """Return (n,) bool: which rows have an ``ecg``, ``cmr`` or ``cmr_mask``."""
        return self._row(f"has_{name}", slice(None)).astype(bool)

    def labels(self, i: int | slice = slice(None)) -> np.ndarray:
        """Return (labels,) float32 of row ``i``, or (n, labels) of a slice; NaN = missing."""
        return self._row("labels", i)

    def checksums(self, name: str) -> np.ndarray | None:
        """Return (n,) uint32, the CRC-32 of each row's ``ecg``, ``cmr`` or ``cmr_mask`` as stored (0 where none is).

        None if the shard was written without.
        """
        self._dataset(f"has_{name}")
        return self._row(f"{name}_crc32", slice(None)) if self._file and f"{name}_crc32" in self._file else None

    def digests(self) -> tuple[str, str]:
        """Return the digest that the shard carries and that of its columns as they are now."""
        self._dataset("labels")
        if self._file is None:
            raise ValueError(f"{self.path.name} is closed")
        with self._told():
            return stored_digest(self._file), digest_columns(self._file)

    def chunk_offsets(self, name: str) -> np.ndarray | None:
        """Return (n,) int64, where in the file the bytes of each row's ``ecg`` or ``cmr`` start, -1 for no record.

        None if a record is not one plain run of bytes: behind a filter, in other chunks or in another byte order.
        """
        dataset = self._dataset(name)
        plain = dataset.chunks == (1, *dataset.shape[1:]) and dataset.dtype.isnative
        if not plain or dataset.id.get_create_plist().get_nfilters() or not hasattr(dataset.id, "chunk_iter"):
            return None
        result = np.full(len(dataset), -1, dtype=np.int64)

        def note(chunk: Any) -> None:
            result[chunk.chunk_offset[0]] = chunk.byte_offset

        with self._told():
            dataset.id.chunk_iter(note)
        return result

    def _row(self, name: str, i: int | slice) -> np.ndarray:
        dataset = self._dataset(name)
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
            with self._told():
                if self._file is None or name not in self._file:
                    raise ValueError(f"{self.path.name} holds no {name}")
                self._datasets[name] = dataset_at(self._file, name)
                check_filters(self._datasets[name], self.path.name)
        return self._datasets[name]

    def _open(self) -> Layout:
        """Open the file in this process and check it; the layout it holds is returned."""
        self.close()
        with self._told():
            # Without a chunk cache a crop is read straight from the file, and hundreds of open shards cost no memory.
            file = h5py.File(self.path, "r", locking=self.locking, rdcc_nbytes=0)
        try:
            with self._told():
                layout = _checked_layout(file, self.path.name, self._expected)
                check_structure(file, self.path.name, layout)
                if self._digest is not None:
                    check_digest(file, self.path.name, self._digest)
                self._datasets = {name: dataset_at(file, name)[:] for name in ("has_ecg", "has_cmr")}
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
        except (OSError, KeyError, RuntimeError) as error:  # HDF5 has no class of its own
            if "lock file" in str(error) or "locking flag" in str(error):
                raise UserError(
                    f"{self.path.name}: cannot be locked, or is open under another locking; set locking to false"
                ) from error
            if getattr(error, "errno", None) in (errno.EACCES, errno.EPERM):
                raise UserError(f"{self.path.name}: may not be read; give yourself permission to read it") from error
            message = f"{self.path.name}: shard is truncated or damaged; restore it or run 'ecgcmr prepare' again"
            raise UserError(message) from error


def check_filters(dataset: Any, shard: str) -> None:
    """Make sure that this machine can read through a dataset's filters.

    Raises:
        UserError: If one is not installed; the message says what to install.
    """
    filters = dataset.id.get_create_plist()
    for number in range(filters.get_nfilters()):
        code, _, _, title = filters.get_filter(number)
        if h5py.h5z.filter_avail(code):
            continue
        try:
            import hdf5plugin  # noqa: F401 - importing it registers its filters with HDF5
        except ImportError:
            name = title.decode("ascii", "replace") or "unnamed"
            raise UserError(
                f"{shard}: compressed with HDF5 filter {code} ({name}), which is not installed; "
                "run pip install 'ecgcmr[compression]'"
            ) from None
        if not h5py.h5z.filter_avail(code):
            raise UserError(f"{shard}: compressed with HDF5 filter {code}, which hdf5plugin does not have")


def _checked_layout(file: h5py.File, name: str, expected: Layout | None) -> Layout:
    schema, version = file.attrs.get("schema"), file.attrs.get("schema_version")
    if not isinstance(schema, str) or schema != SCHEMA:
        raise UserError(f"{name}: not an {SCHEMA} file (attribute schema is {printable(repr(schema), 40)})")
    if not isinstance(version, int | np.integer) or version != SCHEMA_VERSION:
        found = printable(version, 40)
        raise UserError(f"{name}: schema version {found}, this program reads {SCHEMA_VERSION}; prepare it again")
    text = file.attrs["layout"]
    if not isinstance(text, str):
        raise UserError(f"{name}: attribute layout is no text; prepare the shard again")
    if expected is not None and text == expected.canonical_json:
        return expected
    try:
        layout = Layout.from_dict(json.loads(text))
        differs = expected is not None and layout.fingerprint != expected.fingerprint
    except (ValueError, TypeError, RecursionError) as error:
        reason = printable(error, 200)
        raise UserError(f"{name}: attribute layout is unreadable ({reason}); prepare the shard again") from error
    if differs:
        raise UserError(f"{name}: prepared with other settings than index.json says; prepare the cohort again")
    return layout
