"""What can be wrong with one shard, and where: file, columns, labels, beats, records."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.files import sha256_of
from ecgcmr.json_file import recall_json
from ecgcmr.shards.index import MODALITIES
from ecgcmr.shards.layout import LEAD_FLAGS, SPLITS, Layout
from ecgcmr.shards.mask_values import mask_fault
from ecgcmr.shards.shard_digest import ANOTHER_RUN
from ecgcmr.shards.shard_reader import ShardReader
from ecgcmr.yaml_file import mapping_at


@dataclass(frozen=True)
class ShardExpectation:
    """What the index says of a shard.

    Attributes:
        path: The file.
        file: Its name within the cohort, for messages.
        sha256: Checksum of the whole file.
        bytes: Its size.
        digest: Hash of its columns; empty where the index names none.
        layout: The cohort's layout.
        subject: (n,) hashes.
        split: (n,) splits.
        has: (n,) bool for ``ecg``, ``cmr`` and ``cmr_mask``.
        quick: Leave out the checksum and the records.
    """

    path: Path
    file: str
    sha256: str
    bytes: int
    digest: str
    layout: Layout
    subject: np.ndarray = field(repr=False)
    split: np.ndarray = field(repr=False)
    has: dict[str, np.ndarray] = field(repr=False)
    quick: bool = False


def verify_shard(expected: ShardExpectation) -> list[str]:
    """Return one line for each fault of a shard; none if it is as the index and docs/shards.md say."""
    if not expected.path.is_file():
        return [f"{expected.file}: is missing"]
    faults = []
    size = expected.path.stat().st_size
    if size != expected.bytes:
        faults.append(f"{expected.file}: has {size} bytes, the index says {expected.bytes}")
    elif not expected.quick and sha256_of(expected.path) != expected.sha256:
        faults.append(f"{expected.file}: its content is not what was written (the checksum differs)")
    checks: list[Callable[[ShardReader, ShardExpectation], Iterator[str]]] = [
        _digest,
        _columns,
        _labels,
        _beats,
        _quality,
    ]
    if not expected.quick:
        checks += [_ecgs, _frames, _masks]
    with ShardReader(expected.path, expected.layout) as reader:
        try:
            rows = len(reader)
        except (UserError, ValueError) as error:
            return [*faults, f"{expected.file}: cannot be opened ({_reason(error, expected)})"]
        if rows != len(expected.subject):
            return [*faults, f"{expected.file}: holds {rows} records, the index says {len(expected.subject)}"]
        for check in checks:
            try:
                faults += [f"{expected.file}: {fault}" for fault in check(reader, expected)]
            except (UserError, ValueError) as error:
                faults.append(f"{expected.file}: cannot be read whole ({_reason(error, expected)})")
    return faults


def _reason(error: Exception, expected: ShardExpectation) -> str:
    return str(error).removeprefix(f"{expected.path.name}: ")


def _report(wrong: np.ndarray, what: str) -> Iterator[str]:
    """Yield one line for the records in which something is wrong, if there are any.

    Args:
        wrong: (n,) bool, or (n, ...) of which any counts.
        what: What is wrong with them.
    """
    records = np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))
    if len(records):
        more = f" and {len(records) - 1} more" if len(records) > 1 else ""
        yield f"{what} in record {records[0]}{more}"


def _digest(reader: ShardReader, expected: ShardExpectation) -> Iterator[str]:
    stored, computed = reader.digests()
    if stored != expected.digest:
        yield ANOTHER_RUN
    elif stored and computed != stored:  # labels that were changed in place leave the stored digest as it was
        yield "its columns (labels, splits, beats) are not what was written"
    elif _recorded_checksum(expected.path) not in (None, expected.sha256):
        yield "its record beside it is of another run; run the same 'ecgcmr prepare' again"


def _recorded_checksum(path: Path) -> str | None:
    """Return the checksum in the file beside the shard; None if there is none, as where only shards were passed on."""
    recorded = mapping_at(recall_json(path.with_suffix(".json")), "entry").get("sha256")
    return recorded if isinstance(recorded, str) else None


def _columns(reader: ShardReader, expected: ShardExpectation) -> Iterator[str]:
    subject, code = reader.column("subject"), reader.column("split")
    yield from _report(subject.astype("U32") != expected.subject, "subject differs from the index")
    yield from _report(code >= len(SPLITS), "split is unknown")
    names = np.array([*SPLITS, "?"])[np.minimum(code, len(SPLITS))]
    yield from _report(names != expected.split, "split differs from the index")
    for name in MODALITIES:
        yield from _report(reader.has(name) != expected.has[name], f"has_{name} differs from the index")
        if getattr(expected.layout, name) is not None and (offsets := reader.chunk_offsets(name)) is not None:
            yield from _report(reader.has(name) & (offsets < 0), f"{name} was never written though has_{name} says so")

    if _stores_masks(expected):
        has_mask = reader.has("cmr_mask")
        yield from _report(has_mask != expected.has["cmr_mask"], "has_cmr_mask differs from the index")
        yield from _report(has_mask & ~reader.has("cmr"), "a mask belongs to no frames")


def _stores_masks(expected: ShardExpectation) -> bool:
    return expected.layout.cmr is not None and expected.layout.cmr.mask


def _labels(reader: ShardReader, expected: ShardExpectation) -> Iterator[str]:
    values = reader.labels()
    if values.shape[1] != len(expected.layout.labels):
        yield f"has {values.shape[1]} label columns, the layout {len(expected.layout.labels)}"
        return
    for column, label in enumerate(expected.layout.labels):
        found = values[:, column]
        yield from _report(np.isinf(found), f"label {label.name} is infinite")
        if label.is_binary:
            yield from _report(~(np.isnan(found) | np.isin(found, (0, 1))), f"label {label.name} is neither 0 nor 1")
        elif label.kind == "time":
            yield from _report(found < 0, f"label {label.name} is negative")


def _beats(reader: ShardReader, expected: ShardExpectation) -> Iterator[str]:
    ecg = expected.layout.ecg
    if ecg is None or not ecg.max_beats:
        return
    peaks, waves = reader.column("r_peaks").astype(np.int64), reader.column("waves").astype(np.int64)
    present = peaks >= 0
    yield from _report((peaks >= ecg.samples) | (peaks < -1), "an R peak lies outside the record")
    both = present[:, :-1] & present[:, 1:]
    yield from _report((both & (np.diff(peaks) <= 0)) | (~present[:, :-1] & present[:, 1:]), "R peaks do not ascend")
    yield from _report((waves >= ecg.samples) | (waves < -1), "a wave lies outside the record")
    yield from _report((waves >= 0).any(axis=2) & ~present, "a wave belongs to no beat")


def _quality(reader: ShardReader, expected: ShardExpectation) -> Iterator[str]:
    ecg = expected.layout.ecg
    if ecg is None or not ecg.quality:
        return
    index = reader.lead_quality()
    yield from _report(reader.lead_flags() >= 2 ** len(LEAD_FLAGS), "a lead has an unknown flag")
    yield from _report(~(np.isnan(index) | ((index >= 0) & (index <= 1))), "a lead's quality lies outside 0..1")


def _ecgs(reader: ShardReader, expected: ShardExpectation) -> Iterator[str]:
    def finite(ecg: np.ndarray) -> str | None:
        return None if np.isfinite(ecg).all() else "holds NaN or infinity"

    if expected.layout.ecg is not None:
        yield from _records("ecg", reader.stored_ecg, finite, reader)


def _frames(reader: ShardReader, expected: ShardExpectation) -> Iterator[str]:
    if expected.layout.cmr is not None:
        yield from _records("cmr", reader.cmr, lambda frames: None, reader)


def _masks(reader: ShardReader, expected: ShardExpectation) -> Iterator[str]:
    if _stores_masks(expected):
        yield from _records("cmr_mask", reader.cmr_mask, mask_fault, reader)


def _records(
    name: str,
    read: Callable[[int], np.ndarray],
    judge: Callable[[np.ndarray], str | None],
    reader: ShardReader,
) -> Iterator[str]:
    """Read every record of a kind and yield a line for each that is damaged."""
    checksums = reader.checksums(name)
    for row in np.flatnonzero(reader.has(name)).tolist():
        try:
            record = read(row)
        except (UserError, ValueError):
            yield f"{name} of record {row} cannot be read"
            continue
        fault = judge(record)
        if fault is not None:
            yield f"{name} of record {row} {fault}"
        elif checksums is not None and zlib.crc32(np.ascontiguousarray(record).data) != checksums[row]:
            yield f"{name} of record {row} is not what was written (its checksum differs)"
