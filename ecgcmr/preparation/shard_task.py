"""One shard's worth of preparation: read, clean, write; or find that it has been done already.

Beside each shard lies ``shard-NNNNN.json``: what went into the shard (a fingerprint of parameters, labels and input
files), what came out and what was left out. A later run with the same fingerprint keeps the shard. The file holds
keyed hashes and positions only, no name of a source file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_modules.layout import Layout
from data_modules.shard import ShardEntry, ShardRows, write_shard
from ecgcmr.errors import UserError
from ecgcmr.files import replace_atomically, sha256_of
from ecgcmr.formats.ecg_file import read_ecg
from ecgcmr.formats.nifti import read_short_axis, short_axis_files
from ecgcmr.preparation.cine import CineOptions, frames_from_short_axis
from ecgcmr.preparation.ecg import ECGCleaner, standardise_record


@dataclass(frozen=True)
class Member:
    """One row to be: a subject with an ECG, images, or both.

    Attributes:
        subject: Keyed hash.
        split: ``train``, ``val`` or ``test``.
        labels: (L,) float32.
        ecg: The ECG file, if there is one.
        cmr: The folder of images, if there is one.
    """

    subject: str
    split: str
    labels: npt.NDArray[np.float32] = field(repr=False)
    ecg: Path | None = field(repr=False)
    cmr: Path | None = field(repr=False)


@dataclass(frozen=True)
class ShardTask:
    """A shard to be written.

    Attributes:
        path: Where.
        layout: Of the whole cohort.
        cine: How to make frames; None if the cohort has none.
        members: The rows, before any is left out.
    """

    path: Path
    layout: Layout
    cine: CineOptions | None
    members: tuple[Member, ...] = field(repr=False)

    @property
    def record_file(self) -> Path:
        """The file beside the shard that tells what is in it."""
        return self.path.with_suffix(".json")


@dataclass(frozen=True)
class Remark:
    """Something to report of one member.

    Attributes:
        member: Position among the task's members.
        part: ``ecg`` or ``cmr``.
        file: The file's name within the subject's folder, or empty.
        text: Reason or note.
    """

    member: int
    part: str
    file: str
    text: str


@dataclass(frozen=True)
class ShardOutcome:
    """What became of a task.

    Attributes:
        entry: For the index; None if no member was usable, so that no shard exists.
        problems: Files that could not be used.
        notes: Remarks on files that were used.
    """

    entry: ShardEntry | None
    problems: tuple[Remark, ...]
    notes: tuple[Remark, ...]


def prepare_shard(task: ShardTask) -> ShardOutcome:
    """Compute a shard, write it and then its record, so that a record always tells of a finished shard."""
    fingerprint = task_fingerprint(task)
    task.record_file.unlink(missing_ok=True)
    outcome = _compute(task)
    content = {"fingerprint": fingerprint, **asdict(outcome)}
    with replace_atomically(task.record_file) as temporary:
        temporary.write_text(json.dumps(content, sort_keys=True), encoding="ascii")
    return outcome


def task_fingerprint(task: ShardTask) -> str:
    """Return a SHA-256 of all that decides a shard's content: layout, members, sizes and times of the input files."""
    digest = hashlib.sha256(task.layout.fingerprint.encode())
    digest.update(repr(task.cine).encode())
    for member in task.members:
        digest.update(f"{member.subject} {member.split}".encode())
        digest.update(np.ascontiguousarray(member.labels, dtype="<f4").tobytes())
        for path in _input_files(member):
            state = path.stat() if path.exists() else None
            digest.update(f" {path.name.rsplit('.')[-1]} {state and (state.st_size, state.st_mtime_ns)}".encode())
    return digest.hexdigest()


def _input_files(member: Member) -> list[Path]:
    files = [] if member.cmr is None else short_axis_files(member.cmr)
    if member.ecg is not None:
        files.append(member.ecg)
        if member.ecg.suffix.lower() == ".hea":
            files.append(member.ecg.with_suffix(".dat"))
    return files


def finished_shard(task: ShardTask) -> ShardOutcome | None:
    """Return the outcome of an earlier run if it had the same fingerprint and its shard is unharmed, else None."""
    try:
        content = json.loads(task.record_file.read_bytes())
        if content["fingerprint"] != task_fingerprint(task):
            return None
        entry = None if content["entry"] is None else ShardEntry(**content["entry"])
        problems, notes = (tuple(Remark(**item) for item in content[key]) for key in ("problems", "notes"))
    except (OSError, ValueError, KeyError, TypeError):  # no record, or none of ours: the shard is computed anew
        return None
    if entry is not None and not (task.path.is_file() and sha256_of(task.path) == entry.sha256):
        return None
    return ShardOutcome(entry, problems, notes)


def _compute(task: ShardTask) -> ShardOutcome:
    layout, count = task.layout, len(task.members)
    problems: list[Remark] = []
    notes: list[Remark] = []
    ecg = cmr = None
    has_ecg, has_cmr = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    if layout.ecg is not None:
        ecg = np.zeros((count, *layout.ecg.shape), dtype=np.float32)
        cleaner = ECGCleaner(**layout.preparation["ecg"]["baseline"])
        for i, member in enumerate(task.members):
            if member.ecg is not None:
                with _reporting(problems, i, "ecg", member.ecg.name):
                    record = read_ecg(member.ecg)
                    ecg[i] = cleaner(standardise_record(record, layout.ecg.samples, layout.ecg.sampling_rate))
                    has_ecg[i] = True
                    notes += [Remark(i, "ecg", "", note) for note in record.notes]
    if layout.cmr is not None and task.cine is not None:
        cmr = np.zeros((count, *layout.cmr.shape), dtype=np.uint8)
        for i, member in enumerate(task.members):
            if member.cmr is not None:
                with _reporting(problems, i, "cmr", member.cmr.name):
                    cmr[i] = frames_from_short_axis(read_short_axis(member.cmr), task.cine)
                    has_cmr[i] = True
    kept = np.flatnonzero(has_ecg | has_cmr)
    if not len(kept):
        task.path.unlink(missing_ok=True)
        return ShardOutcome(None, tuple(problems), tuple(notes))
    rows = ShardRows(
        subject=[task.members[i].subject for i in kept],
        split=[task.members[i].split for i in kept],
        ecg=None if ecg is None else ecg[kept],
        has_ecg=has_ecg[kept],
        cmr=None if cmr is None else cmr[kept],
        has_cmr=has_cmr[kept],
        labels=np.stack([task.members[i].labels for i in kept]),
    )
    return ShardOutcome(write_shard(task.path, layout, rows), tuple(problems), tuple(notes))


@contextmanager
def _reporting(problems: list[Remark], member: int, part: str, own_name: str) -> Iterator[None]:
    """Turn a failure of one member into a problem to report, so that it does not stop the others."""
    try:
        yield
    except UserError as error:
        message = str(error).removeprefix(f"{own_name}: ")
        file, separator, reason = message.partition(": ")
        is_file = bool(separator) and file.endswith((".nii", ".nii.gz"))
        problems.append(Remark(member, part, file if is_file else "", reason if is_file else message))
    except OSError as error:
        problems.append(Remark(member, part, "", f"cannot be read ({error.strerror})"))
    except MemoryError:
        raise
    except Exception as error:  # a fault of this program with one strange file must not cost the other files
        problems.append(Remark(member, part, "", f"unexpected {type(error).__name__}; please report it as a bug"))
