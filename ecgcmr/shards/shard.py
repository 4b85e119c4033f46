"""One shard: an HDF5 file with the records of some hundred subjects, written once and then only read.

One record is one chunk, so that reading a row touches exactly its bytes; there is no compression unless asked for (a
plain record is read past HDF5) and no time stamp (the same rows give the same bytes). docs/shards.md specifies the
format.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.shards.layout import (
    LEAD_FLAGS,
    MASK_REGIONS,
    MASK_UNKNOWN,
    SCHEMA,
    SCHEMA_VERSION,
    SPLITS,
    WAVES,
    CMRLayout,
    ECGLayout,
    Layout,
)
from ecgcmr.shards.mask_values import check_masks
from ecgcmr.shards.shard_digest import DIGEST, digest_columns

SUBJECT_DIGITS = 32
COMPRESSIONS = ("gzip", "blosc2-zstd", "blosc2-lz4")
"""Lossless filters for records; all but gzip need hdf5plugin."""
MASK_COMPRESSION = "gzip"
"""Masks shrink to a fiftieth, and training does not read them."""
LIBVER = ("v110", "v110")
"""HDF5's own structures in the form of version 1.10, which checksums them: damage is an error, not a hang."""
_HEX = frozenset("0123456789abcdef")


@dataclass
class Beats:
    """Where the heart beats in n ECGs; sample positions of the stored record, -1 where there is none.

    Attributes:
        r_peaks: (n, max_beats) integers, ascending, then -1.
        waves: (n, max_beats, 8) integers, the ``WAVES`` of each beat.
    """

    r_peaks: np.ndarray
    waves: np.ndarray


@dataclass
class LeadQuality:
    """How good each lead of n ECGs is.

    Attributes:
        flags: (n, leads) uint8; bit i stands for ``LEAD_FLAGS[i]``.
        index: (n, leads) float32 in 0..1, 1 is best, NaN = unknown.
    """

    flags: np.ndarray
    index: np.ndarray


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
        cmr_mask: (n, frames, height, width) uint8, the regions of ``cmr`` by ``MASK_REGIONS``, ``MASK_UNKNOWN`` in
            frames and rows that nobody has segmented; None if no row has a mask.
        beats: Needed if the layout stores beats.
        quality: Needed if the layout stores the leads' quality.
    """

    subject: list[str]
    split: list[str]
    ecg: np.ndarray | None
    has_ecg: np.ndarray
    cmr: np.ndarray | None
    has_cmr: np.ndarray
    labels: np.ndarray
    beats: Beats | None = None
    quality: LeadQuality | None = None
    cmr_mask: np.ndarray | None = None

    @property
    def has_cmr_mask(self) -> np.ndarray:
        """(n,) bool: which rows have a mask of any of their frames."""
        if self.cmr_mask is None:
            return np.zeros(len(self.subject), dtype=bool)
        return (self.cmr_mask != MASK_UNKNOWN).reshape(len(self.cmr_mask), -1).any(axis=1)


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
        digest: Hash of the columns, see ``shard_digest``; empty for a shard written before there were any.
        has_cmr_mask: Whether each row has a mask; empty where the layout stores none.
    """

    file: str
    sha256: str
    rows: int
    subject: list[str] = field(repr=False)
    split: list[str] = field(repr=False)
    has_ecg: list[bool] = field(repr=False)
    has_cmr: list[bool] = field(repr=False)
    digest: str = ""
    has_cmr_mask: list[bool] = field(default_factory=list, repr=False)


def write_shard(path: str | Path, layout: Layout, rows: ShardRows, compression: str | None = None) -> ShardEntry:
    """Write one shard atomically. The same rows and layout always give the same bytes.

    Args:
        path: ``ROOT/FOLDER/NAME.h5``; the entry's ``file`` becomes ``FOLDER/NAME.h5``.
        layout: Shapes, types and labels.
        rows: The content. Where ``has_ecg`` or ``has_cmr`` is False the record is not read, nor stored.
        compression: One of ``COMPRESSIONS`` for the records, for archives; reading takes several times longer. None
            stores plain records, which are read past HDF5.

    Raises:
        UserError: If the compression is unknown, or needs hdf5plugin and that is not installed.
        ValueError: If shapes disagree with the layout, a hash or split is malformed, or an ECG holds NaN, infinity or
            a value that its storage type cannot hold (the message names the row).
    """
    path = Path(path)
    _check_rows(layout, rows)
    filters = _filters(compression)
    # Made in memory, where the rows are too: HDF5 that meets a full disk takes the process down with it.
    image = io.BytesIO()
    with h5py.File(image, "w", libver=LIBVER, locking=False) as file:
        _write_attributes(file, layout)
        file.create_dataset("subject", data=np.array(rows.subject, dtype=f"S{SUBJECT_DIGITS}"), track_times=False)
        codes = np.array([SPLITS.index(split) for split in rows.split], dtype=np.uint8)
        file.create_dataset("split", data=codes, track_times=False)
        file.create_dataset("has_ecg", data=np.asarray(rows.has_ecg, dtype=np.uint8), track_times=False)
        file.create_dataset("has_cmr", data=np.asarray(rows.has_cmr, dtype=np.uint8), track_times=False)
        file.create_dataset("labels", data=np.asarray(rows.labels, dtype=np.float32), track_times=False)
        if layout.ecg is not None:
            _write_records(file, "ecg", layout.ecg, rows.ecg, rows.has_ecg, filters)
            for name, values in _annotations(layout.ecg, rows).items():
                file.create_dataset(name, data=values, track_times=False)
        if layout.cmr is not None:
            _write_records(file, "cmr", layout.cmr, rows.cmr, rows.has_cmr, filters)
            if layout.cmr.mask:
                has_mask = rows.has_cmr_mask
                file.create_dataset("has_cmr_mask", data=has_mask.astype(np.uint8), track_times=False)
                _write_records(file, "cmr_mask", layout.cmr, rows.cmr_mask, has_mask, _filters(MASK_COMPRESSION))
        digest = file.attrs[DIGEST] = digest_columns(file)
    write_atomically(path, image.getbuffer())
    return ShardEntry(
        file=f"{path.parent.name}/{path.name}",
        sha256=hashlib.sha256(image.getbuffer()).hexdigest(),
        rows=len(rows.subject),
        subject=list(rows.subject),
        split=list(rows.split),
        has_ecg=[bool(value) for value in rows.has_ecg],
        has_cmr=[bool(value) for value in rows.has_cmr],
        digest=digest,
        has_cmr_mask=rows.has_cmr_mask.tolist() if layout.cmr is not None and layout.cmr.mask else [],
    )


def _annotations(layout: ECGLayout, rows: ShardRows) -> dict[str, np.ndarray]:
    """Return what is stored beside the ECGs, in its types of storage.

    Raises:
        ValueError: If it is not there or has another shape than the layout says.
    """
    n, leads, beats = len(rows.subject), len(layout.leads), layout.max_beats
    arrays: dict[str, np.ndarray] = {}
    expected: dict[str, tuple[int, ...]] = {}
    if beats:
        if rows.beats is None:
            raise ValueError("the layout stores beats, the rows have none")
        arrays |= {"r_peaks": rows.beats.r_peaks.astype(np.int16), "waves": rows.beats.waves.astype(np.int16)}
        expected |= {"r_peaks": (n, beats), "waves": (n, beats, len(WAVES))}
    if layout.quality:
        if rows.quality is None:
            raise ValueError("the layout stores the leads' quality, the rows have none")
        arrays |= {
            "lead_flags": rows.quality.flags.astype(np.uint8),
            "lead_quality": rows.quality.index.astype(np.float32),
        }
        expected |= {"lead_flags": (n, leads), "lead_quality": (n, leads)}
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}, the layout wants {shape}")
    return arrays


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
    if rows.cmr_mask is not None:
        check_masks(layout.cmr, rows.cmr_mask, rows.has_cmr)


def _write_attributes(file: h5py.File, layout: Layout) -> None:
    file.attrs["schema"] = SCHEMA
    file.attrs["schema_version"] = SCHEMA_VERSION
    file.attrs["fingerprint"] = layout.fingerprint
    file.attrs["layout"] = layout.canonical_json
    if layout.ecg is not None:
        file.attrs["leads"] = list(layout.ecg.leads)
        file.attrs["sampling_rate_hz"] = layout.ecg.sampling_rate
        file.attrs["ecg_unit"] = layout.ecg.unit
        if layout.ecg.max_beats:
            file.attrs["waves"] = list(WAVES)
        if layout.ecg.quality:
            file.attrs["lead_flags"] = list(LEAD_FLAGS)
    if layout.cmr is not None:
        file.attrs["frames"] = list(layout.cmr.frames)
        file.attrs["spacing_mm"] = layout.cmr.spacing_mm
        if layout.cmr.mask:
            file.attrs["mask_regions"] = list(MASK_REGIONS)


def _filters(compression: str | None) -> dict[str, Any]:
    """Return h5py's arguments for a compression."""
    if compression is None:
        return {}
    if compression not in COMPRESSIONS:
        raise UserError(f"compression {compression!r}: choose one of {', '.join(COMPRESSIONS)}")
    if compression == "gzip":
        return {"compression": "gzip", "compression_opts": 4, "shuffle": True}
    try:
        import hdf5plugin
    except ImportError as error:
        message = f"compression {compression!r} needs hdf5plugin: run pip install 'ecgcmr[compression]', or take gzip"
        raise UserError(message) from error
    return dict(hdf5plugin.Blosc2(cname=compression.removeprefix("blosc2-"), clevel=5))


def _write_records(
    file: h5py.File,
    name: str,
    layout: ECGLayout | CMRLayout,
    records: np.ndarray | None,
    has: np.ndarray,
    filters: dict[str, Any],
) -> None:
    """Write the present records, one chunk each, and their checksums; a record that is absent takes no room."""
    dtype, chunk = np.dtype(layout.dtype), (1, *layout.shape)
    dataset = file.create_dataset(name, (len(has), *layout.shape), dtype, chunks=chunk, track_times=False, **filters)
    checksums = np.zeros(len(has), dtype=np.uint32)
    largest = np.finfo(dtype).max if dtype.kind == "f" else None
    for i, record in () if records is None else ((i, records[i]) for i in np.flatnonzero(has)):
        if largest is not None and not np.all(np.abs(record) <= largest):  # NaN compares false, so it is caught too
            raise ValueError(f"row {i}: {name} holds NaN, infinity or a value beyond {dtype}'s {largest:g}")
        stored = np.ascontiguousarray(record, dtype=dtype)
        dataset[i] = stored
        checksums[i] = zlib.crc32(stored.data)
    file.create_dataset(f"{name}_crc32", data=checksums, track_times=False)
