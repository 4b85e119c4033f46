"""One shard's worth of preparation: read, clean, write; or find that it has been done already.

Beside each shard lies ``shard-NNNNN.json``: what went into the shard (fingerprints of parameters, labels and input
files), what came out and what was left out. A later run with the same fingerprint keeps the shard; where only labels
or splits changed, the recordings are taken from the shard that is there. The file holds keyed hashes and positions
only, no name of a source file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.files import sha256_of
from ecgcmr.formats.ecg_file import ecg_files
from ecgcmr.formats.ecg_reader import NamedReader, load_reader
from ecgcmr.formats.image_files import ImageFiles
from ecgcmr.formats.record_reader import reader_fingerprint
from ecgcmr.formats.short_axis_file import cmr_files, has_segmentation
from ecgcmr.formats.signal_declaration import SignalDeclaration
from ecgcmr.preparation.beats import MEASUREMENTS
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.ecg import StandardOptions
from ecgcmr.preparation.rows import Member, Reading, Remark, RowBuilder
from ecgcmr.sealed_note import recall_sealed, write_sealed
from ecgcmr.shards.layout import Layout
from ecgcmr.shards.shard import ShardEntry, ShardRows, write_shard
from ecgcmr.shards.shard_reader import ShardReader


@dataclass(frozen=True)
class ShardTask:
    """A shard to be written.

    Attributes:
        path: Where.
        layout: Of the whole cohort; the cleaning stands in its ``preparation``.
        standard: Length of recordings, what happens to shorter and longer ones.
        cine: How to make frames; None if the cohort has none.
        view: Which images to read.
        declaration: Leads, unit and rate of files that do not tell; None if none was given.
        members: The rows, before any is left out.
        reader: Name of a class of the user's own that reads ECG files.
    """

    path: Path
    layout: Layout
    standard: StandardOptions
    cine: CineOptions | None
    view: str
    declaration: SignalDeclaration | None
    members: tuple[Member, ...] = field(repr=False)
    reader: str | None = None

    @property
    def record_file(self) -> Path:
        """The file beside the shard that tells what is in it."""
        return self.path.with_suffix(".json")


@dataclass(frozen=True)
class ShardOutcome:
    """What became of a task.

    Attributes:
        entry: For the index; None if no member was usable, so that no shard exists.
        members: For each row of the shard the position of its member in the task.
        digests: For each row the content of its ECG and of its frames as a short hash, empty where it has none.
        problems: Files that could not be used.
        notes: Remarks on files that were used.
        clipped: For each recording how many leads the cleaning clipped, and what share of all samples.
        formats: What the ECG files were that gave a recording -> how many.
    """

    entry: ShardEntry | None
    members: tuple[int, ...] = field(repr=False)
    digests: tuple[tuple[str, str], ...] = field(repr=False)
    problems: tuple[Remark, ...]
    notes: tuple[Remark, ...]
    clipped: tuple[tuple[int, float], ...] = field(default=(), repr=False)
    formats: dict[str, int] = field(default_factory=dict)


def prepare_shard(task: ShardTask) -> ShardOutcome:
    """Compute a shard, write it and then its record, so that a record always tells of a finished shard."""
    content_print, label_print = content_fingerprint(task), label_fingerprint(task)
    earlier = _earlier(task, content_print)
    task.record_file.unlink(missing_ok=True)
    outcome = None if earlier is None else _relabel(task, earlier)
    if outcome is None:
        outcome = _compute(task)
    write_sealed(task.record_file, {"content": content_print, "labels": label_print, **asdict(outcome)})
    return outcome


def finished_shard(task: ShardTask) -> ShardOutcome | None:
    """Return the outcome of an earlier run if it had the same fingerprints and its shard is unharmed, else None."""
    if not task.record_file.is_file():
        return None  # in a first run this process opens no input file: there may be a million
    return _earlier(task, content_fingerprint(task), label_fingerprint(task))


def content_fingerprint(task: ShardTask) -> str:
    """Return a hash of everything the recordings and frames follow from: parameters and input files."""
    ecg, cmr = task.layout.to_dict()["ecg"], task.layout.to_dict()["cmr"]
    stores_masks = cmr is not None and cmr.pop("mask", False)
    recipe = {key: value for key, value in task.layout.preparation.items() if key != "splits"}
    settings = [ecg, cmr, recipe, asdict(task.standard), task.view, task.declaration and asdict(task.declaration)]
    # Where nobody is segmented, shards from before there were masks stay as they are.
    if stores_masks and any(has_segmentation(m.cmr, task.view) for m in task.members if m.cmr is not None):
        settings.append("masks")
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    reader = load_reader(task.reader)
    if reader is not None:
        digest.update(reader.fingerprint.encode())
    for member in task.members:
        digest.update(f"\n{member.row}".encode())
        if isinstance(member.cmr, ImageFiles):
            digest.update(member.cmr.statement.encode())
        if member.read_by is not None:
            digest.update(reader_fingerprint(member.read_by).encode())
        for path in _input_files(member, task.view, reader):
            state = path.stat() if path.exists() else None
            digest.update(
                f" {path.name.rsplit('.')[-1]} {state and (state.st_size, state.st_mtime_ns)}".encode(
                    "utf-8", "surrogateescape"
                )
            )
    return digest.hexdigest()


def label_fingerprint(task: ShardTask) -> str:
    """Return a hash of the layout and of every member's split and labels."""
    digest = hashlib.sha256(task.layout.fingerprint.encode())
    for member in task.members:
        digest.update(f"\n{member.subject} {member.split} ".encode())
        digest.update(np.ascontiguousarray(member.labels).tobytes())
    return digest.hexdigest()


def _input_files(member: Member, view: str, reader: NamedReader | None) -> list[Path]:
    files = [] if member.cmr is None else cmr_files(member.cmr, view)
    if member.ecg is None:
        return files
    given = _ecg_files(member.ecg, reader) if member.read_by is None else member.read_by.files(member.ecg)
    return [*files, *given]


def _ecg_files(path: Path, reader: NamedReader | None) -> list[Path]:
    try:
        return ecg_files(path, reader)
    except (UserError, OSError):  # reading it will tell what is wrong
        return [path]


def _earlier(task: ShardTask, content: str, labels: str | None = None) -> ShardOutcome | None:
    """Return what an earlier run recorded, if the fingerprints agree and the shard is as it was written."""
    try:
        record = recall_sealed(task.record_file)
        if record is None or record["content"] != content or (labels is not None and record["labels"] != labels):
            return None
        entry = None if record["entry"] is None else ShardEntry(**record["entry"])
        outcome = ShardOutcome(
            entry,
            tuple(record["members"]),
            tuple((ecg, cmr) for ecg, cmr in record["digests"]),
            tuple(Remark(**item) for item in record["problems"]),
            tuple(Remark(**item) for item in record["notes"]),
            tuple((int(leads), float(share)) for leads, share in record["clipped"]),
            {str(name): int(count) for name, count in record.get("formats", {}).items()},  # not known to earlier runs
        )
    except (ValueError, KeyError, TypeError):  # none of ours: the shard is computed anew
        return None
    if entry is not None and not (task.path.is_file() and sha256_of(task.path) == entry.sha256):
        return None
    return outcome


def _relabel(task: ShardTask, earlier: ShardOutcome) -> ShardOutcome | None:
    """Write the shard again with new labels and splits, its recordings taken from the one that is there."""
    if earlier.entry is None:
        return earlier
    try:
        with ShardReader(task.path) as reader:
            rows = reader.all_rows()
            stored = reader.layout.label_names
    except (UserError, ValueError):
        return None  # of an earlier schema: computed anew
    measured = {label.name for label in MEASUREMENTS} & set(stored)
    members = [task.members[i] for i in earlier.members]
    labels = np.full((len(members), len(task.layout.labels)), np.nan, dtype=np.float32)
    for column, name in enumerate(task.layout.label_names):
        if name in measured:
            labels[:, column] = rows.labels[:, stored.index(name)]
    for row, member in enumerate(members):
        labels[row, : len(member.labels)] = member.labels
    if task.layout.cmr is None or not task.layout.cmr.mask:
        rows.cmr_mask = None  # nobody of this shard was segmented, nor is anybody else any more
    rows.labels = labels
    rows.subject = [member.subject for member in members]
    rows.split = [member.split for member in members]
    entry = write_shard(task.path, task.layout, rows)
    return replace(earlier, entry=entry)


def _compute(task: ShardTask) -> ShardOutcome:
    reading = Reading(task.layout, task.standard, task.cine, task.view, task.declaration, load_reader(task.reader))
    builder = RowBuilder(reading)
    for number, member in enumerate(task.members):
        builder.add(number, member)
    if not builder.rows:
        task.path.unlink(missing_ok=True)
        return ShardOutcome(None, (), (), tuple(builder.problems), tuple(builder.notes))
    rows = builder.shard_rows()
    entry = write_shard(task.path, task.layout, rows)
    members = tuple(row.member_number for row in builder.rows)
    reported = (tuple(builder.problems), tuple(builder.notes), tuple(builder.clipped), dict(builder.formats))
    return ShardOutcome(entry, members, _digests(rows), *reported)


def _digests(rows: ShardRows) -> tuple[tuple[str, str], ...]:
    """Hash what is stored of each row, so that copies of a recording are found wherever they lie."""

    def digest(records: npt.NDArray | None, has: npt.NDArray, i: int) -> str:
        if records is None or not has[i]:
            return ""
        return hashlib.blake2b(np.ascontiguousarray(records[i]).tobytes(), digest_size=12).hexdigest()

    return tuple(
        (digest(rows.ecg, rows.has_ecg, i), digest(rows.cmr, rows.has_cmr, i)) for i in range(len(rows.subject))
    )
