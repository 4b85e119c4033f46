"""Making a whole synthetic cohort, as raw files or as shards, in parallel and without doing anything twice.

Both formats draw on the same population, ECGs and hearts, and shards go through the cleaning of
``ecgcmr.preparation``: preparing the raw files of a seed under ``cohort_key(seed)`` gives the rows that its shards
hold, save for the noise of the pictures, the mask of the mid-beat frame and the true waves. Every subject has random
streams of its own, so neither the shard size nor the number of workers changes a subject. ``cohort.json`` in the folder
tells which cohort lies there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.files import remove_unfinished, replace_atomically, sha256_of
from ecgcmr.json_file import recall_json
from ecgcmr.locks import LOCK_NAME, locked
from ecgcmr.parallel import run_all
from ecgcmr.preparation.cine import finish_frames_batch
from ecgcmr.preparation.cine_masks import finish_masks
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.preparation.cohort_layout import MAX_BEATS, RECIPE_VERSION, cohort_layout
from ecgcmr.preparation.labels import label_schema
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.run import select_training
from ecgcmr.preparation.splits import SPLIT_FRACTIONS, assign_split, split_rule_by_hash
from ecgcmr.preparation.t_end import BEATS_KEY, true_recipe
from ecgcmr.shards.index import INDEX_NAME
from ecgcmr.shards.index_writer import write_index
from ecgcmr.shards.layout import ECGLayout, Layout
from ecgcmr.shards.shard import ShardEntry, ShardRows, write_shard
from ecgcmr.synthesis.ecg import SAMPLING_RATE, render_ecgs
from ecgcmr.synthesis.oracle import oracle_table
from ecgcmr.synthesis.phantom import render_cine, render_frames
from ecgcmr.synthesis.population import Population, device_notes, draw_population
from ecgcmr.synthesis.raw_files import (
    MICROVOLTS_PER_STEP,
    DeviceNotes,
    quantise,
    write_cardiosoft,
    write_cine,
    write_table,
)
from ecgcmr.synthesis.state import CardiacState
from ecgcmr.synthesis.true_waves import SHARE, true_beats

FORMATS = ("raw", "shards")
COHORT_NAME = "cohort.json"
ORACLE_NAME = "oracle.csv"
SHARD_FOLDER = "shards"

_ECG_STREAM, _CMR_STREAM = 42, 43
_BLOCK = 64  # subjects rendered at once; bounds memory
_RAW_BLOCK = 8  # subjects a task when writing raw files


@dataclass(frozen=True)
class SynthesisOptions:
    """Which cohort to make.

    Attributes:
        subjects: Number of subjects.
        seed: Seed; the same seed and options give the same bytes.
        out: Folder to write to; nothing is written outside it.
        format: ``raw`` or ``shards``.
        workers: Processes; None for one per processor.
        size: Frame size of shards, pixels.
        shard_size: Subjects per shard.
        slices: Slices of a raw cine.
        frames: Frames of a raw cine.
    """

    subjects: int
    seed: int
    out: Path
    format: str = "shards"
    workers: int | None = None
    size: int = 96
    shard_size: int = 512
    slices: int = 10
    frames: int = 50

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UserError(f"--format {self.format}: choose one of {', '.join(FORMATS)}")
        least = {"subjects": 1, "seed": 0, "shard_size": 1, "slices": 3, "frames": 4}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least {low}")
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers {self.workers}: must be at least 1")
        CineOptions(size=self.size)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the bytes of the cohort, as told in ``cohort.json``."""
        common = {"format": self.format, "subjects": self.subjects, "seed": self.seed}
        if self.format == "raw":
            return {**common, "slices": self.slices, "frames": self.frames}
        return {**common, "size": self.size, "shard_size": self.shard_size}


@dataclass(frozen=True)
class Summary:
    """What was made.

    Attributes:
        subjects: Subjects in the cohort.
        written: Shards, or subjects of raw files, written now.
        kept: Those that were there already.
        counts: Counts of the index; empty for raw files.
    """

    subjects: int
    written: int
    kept: int
    counts: dict[str, int]


@locked("synthesize", lambda options: options.out)
def synthesize(options: SynthesisOptions) -> Summary:
    """Make a cohort; a run that was interrupted goes on where it stopped, a finished one is left as it is.

    Raises:
        UserError: The folder holds something else or cannot be written.
    """
    _claim(options)
    for name in (SHARD_FOLDER, "ecg", "cmr"):
        remove_unfinished(options.out / name, below=True)
    return _write_shards(options) if options.format == "shards" else _write_raw(options)


def generator_fingerprint() -> str:
    """Return a SHA-256 of the program text that turns a seed into a cohort: another text may give other bytes."""
    digest = hashlib.sha256(f"recipe {RECIPE_VERSION}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name not in ("command.py", "__init__.py"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _claim(options: SynthesisOptions) -> None:
    """Write ``cohort.json``, or check that the one in the folder is of the same cohort."""
    path = options.out / COHORT_NAME
    mine = {"what": "synthetic cohort", **options.identity, "generator": generator_fingerprint()}
    try:
        if path.exists():
            there = recall_json(path)
            _refuse_other(there, mine, options)
            if there == mine:
                return
        elif options.out.exists() and any(entry.name != LOCK_NAME for entry in options.out.iterdir()):
            raise UserError(f"--out {options.out}: is not empty and holds no synthetic cohort; choose another folder")
        with replace_atomically(path) as temporary:
            temporary.write_text(json.dumps(mine, indent=1) + "\n", encoding="ascii")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{COHORT_NAME} is damaged"
        raise UserError(f"--out {options.out}: cannot be used ({reason}); choose another folder") from error


def _refuse_other(there: Any, mine: dict[str, Any], options: SynthesisOptions) -> None:
    if not isinstance(there, dict):
        raise ValueError("not a cohort")
    differing = [name for name in mine if name != "generator" and there.get(name) != mine[name]]
    if differing:
        held = ", ".join(f"{name} {there.get(name)}" for name in differing)
        raise UserError(
            f"--out {options.out}: holds another synthetic cohort ({held}); choose another folder or remove this one"
        )
    if options.format == "raw" and there.get("generator") != mine["generator"]:
        raise UserError(
            f"--out {options.out}: its raw files were made by another version of this program; "
            "remove them or choose another folder"
        )


@dataclass(frozen=True)
class _ShardTask:
    """One shard: rows of the state in the order of their hashes."""

    path: Path
    layout: Layout
    cine: CineOptions
    fingerprint: str
    seed: int
    rows: NDArray[np.int64]
    state: CardiacState
    subject: list[str]
    split: list[str]
    labels: NDArray[np.float32]


def shard_layout(cine: CineOptions) -> Layout:
    """Return the layout of a bulk cohort.

    It is the one that ``ecgcmr prepare --no-beats`` gives its raw files, and the true beats and waves beside it.
    """
    options = PrepareOptions(Path(), cine=cine, beats=False)
    layout = cohort_layout(options, cine, label_schema(), split_rule_by_hash(), has_masks=True)
    truth = {BEATS_KEY: true_recipe(SHARE)}
    return replace(
        layout,
        ecg=replace(layout.ecg or ECGLayout(), max_beats=MAX_BEATS),
        preparation={**layout.preparation, **truth},
    )


def _write_shards(options: SynthesisOptions) -> Summary:
    cine = CineOptions(size=options.size)
    layout = shard_layout(cine)
    starts = range(0, options.subjects, options.shard_size)
    paths = [options.out / SHARD_FOLDER / f"shard-{number:05d}.h5" for number in range(len(starts))]
    stamp = f"{generator_fingerprint()} {layout.fingerprint} {json.dumps(options.identity, sort_keys=True)}"
    fingerprint = hashlib.sha256(stamp.encode()).hexdigest()
    entries = {path: entry for path in paths if (entry := _finished(path, fingerprint)) is not None}
    if len(entries) == len(paths) and (counts := _finished_index(options.out, fingerprint)) is not None:
        return Summary(options.subjects, 0, len(paths), counts)
    population = draw_population(options.subjects, options.seed)
    hashes, labels = population.hashes, population.labels()
    order = np.array(sorted(range(options.subjects), key=hashes.__getitem__), dtype=np.int64)
    tasks = []
    for path, start in zip(paths, starts, strict=True):
        rows = order[start : start + options.shard_size]
        subject = [hashes[row] for row in rows]
        split = [assign_split(hashed, SPLIT_FRACTIONS) for hashed in subject]
        if path not in entries:
            tasks.append(
                _ShardTask(
                    path, layout, cine, fingerprint, options.seed, rows, population.state, subject, split, labels[rows]
                )
            )
    sizes = [len(task.rows) for task in tasks]
    # The oracle is fitted in this process while others render.
    with ThreadPoolExecutor(1) as thread:
        oracle = thread.submit(_write_oracle, options, population, order, {"subject": hashes})
        rendered = _parallel(_render_shard, tasks, sizes, options.workers)
        oracle.result()
    entries.update({task.path: entry for task, entry in rendered})
    extra = {
        "synthetic": options.identity,
        "fingerprint": fingerprint,
        "oracle_sha256": sha256_of(options.out / ORACLE_NAME),
    }
    index = write_index(options.out, layout, [entries[path] for path in paths], extra=extra, select=select_training)
    return Summary(options.subjects, len(tasks), len(paths) - len(tasks), dict(index.counts))


def _finished(path: Path, fingerprint: str) -> ShardEntry | None:
    """Return the entry of a shard that an earlier run finished and that is unharmed."""
    try:
        record = recall_json(path.with_suffix(".json"))
        entry = ShardEntry(**record["entry"]) if record["fingerprint"] == fingerprint else None
        return entry if entry is not None and sha256_of(path) == entry.sha256 else None
    except (OSError, ValueError, KeyError, TypeError):  # none, or none of ours: the shard is rendered anew
        return None


def _finished_index(out: Path, fingerprint: str) -> dict[str, int] | None:
    """Return the counts of a finished index with its oracle table."""
    try:
        content = recall_json(out / INDEX_NAME)
        extra = content["extra"]
        whole = extra["fingerprint"] == fingerprint and extra["oracle_sha256"] == sha256_of(out / ORACLE_NAME)
        return content["counts"] if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _render_shard(task: _ShardTask) -> ShardEntry:
    count = len(task.rows)
    ecg = np.empty((count, *(task.layout.ecg or ECGLayout()).shape), dtype=np.float32)
    cmr = np.empty((count, len(task.cine.frames), task.cine.size, task.cine.size), dtype=np.uint8)
    masks = np.empty_like(cmr)
    cleaner = Cleaning.from_dict(task.layout.preparation["ecg"]["cleaning"])
    ecg_stream, cmr_stream = _streams(task.seed)
    for start in range(0, count, _BLOCK):
        block = slice(start, start + _BLOCK)
        steps = quantise(render_ecgs(task.state, task.rows[block], ecg_stream))
        for i, recording in enumerate(steps, start=start):
            ecg[i] = cleaner(recording * (MICROVOLTS_PER_STEP / 1000.0))
        frames = render_frames(task.state, task.rows[block], cmr_stream, phases=task.cine.frames)
        cmr[block] = finish_frames_batch(frames.pictures, frames.spacing_mm, frames.centre, task.cine)
        for i, (mask, (x, y)) in enumerate(zip(frames.masks, frames.centre, strict=True), start=start):
            masks[i] = finish_masks(mask, frames.spacing_mm, (float(x), float(y)), task.cine)
    present = np.ones(count, dtype=bool)
    beats = true_beats(task.state, task.rows, ecg_stream, MAX_BEATS)
    rows = ShardRows(task.subject, task.split, ecg, present, cmr, present, task.labels, beats=beats, cmr_mask=masks)
    entry = write_shard(task.path, task.layout, rows)
    with replace_atomically(task.path.with_suffix(".json")) as temporary:
        record = {"fingerprint": task.fingerprint, "entry": asdict(entry)}
        temporary.write_text(json.dumps(record, sort_keys=True), encoding="ascii")
    return entry


def _streams(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    return np.random.default_rng([seed, _ECG_STREAM]), np.random.default_rng([seed, _CMR_STREAM])


@dataclass(frozen=True)
class _RawTask:
    """Raw files of a few subjects: their rows in the state, numbers, and what the device notes of them."""

    options: SynthesisOptions
    state: CardiacState
    rows: list[int]
    eids: list[int]
    notes: list[DeviceNotes]


def _write_raw(options: SynthesisOptions) -> Summary:
    population = draw_population(options.subjects, options.seed)
    notes, eids = device_notes(population), population.eids
    missing = [row for row in range(options.subjects) if not _is_written(options.out, eids[row])]
    # The oracle comes last of all, and every file appears only when it is whole.
    if not missing and (options.out / ORACLE_NAME).is_file():
        return Summary(options.subjects, 0, options.subjects, {})
    tasks = []
    for start in range(0, len(missing), _RAW_BLOCK):
        rows = missing[start : start + _RAW_BLOCK]
        tasks.append(
            _RawTask(options, population.state, rows, [eids[row] for row in rows], [notes[row] for row in rows])
        )
    _parallel(_write_subjects, tasks, [len(task.rows) for task in tasks], options.workers)
    write_table(options.out / "phenotypes.csv", population.phenotypes)
    write_table(options.out / "diagnoses.csv", population.diagnoses)
    _write_oracle(options, population, np.arange(options.subjects), {"eid": eids})
    return Summary(options.subjects, len(missing), options.subjects - len(missing), {})


def _ecg_path(out: Path, eid: int) -> Path:
    return out / "ecg" / f"{eid}_20205_2_0.xml"


def _is_written(out: Path, eid: int) -> bool:
    """Whether a subject's files are all there; each appears only when it is whole, the cine last."""
    return _ecg_path(out, eid).is_file() and (out / "cmr" / str(eid) / "sa.nii.gz").is_file()


def _write_subjects(task: _RawTask) -> None:
    options = task.options
    ecg_stream, cmr_stream = _streams(options.seed)
    steps = quantise(render_ecgs(task.state, task.rows, ecg_stream))
    for i, (row, eid) in enumerate(zip(task.rows, task.eids, strict=True)):
        write_cardiosoft(_ecg_path(options.out, eid), steps[i], task.notes[i], sampling_rate=SAMPLING_RATE)
        cine = render_cine(task.state, row, cmr_stream, slices=options.slices, frames=options.frames)
        write_cine(options.out / "cmr" / str(eid), cine)


def _write_oracle(
    options: SynthesisOptions, population: Population, order: NDArray[np.int64], names: dict[str, list[Any]]
) -> None:
    """Write the best predictions that the ECGs allow, one line per subject."""
    predicted = oracle_table(population.state, options.seed)
    write_table(options.out / ORACLE_NAME, pd.DataFrame({**names, **predicted}).iloc[order], significant=6)


def _parallel(
    work: Callable[[Any], Any], tasks: Sequence[Any], sizes: Sequence[int], workers: int | None
) -> list[tuple[Any, Any]]:
    """Run tasks in processes and return (task, result) in the order of the tasks."""
    if not tasks:
        return []
    count = min(workers or joblib.cpu_count(), len(tasks))
    return list(zip(tasks, run_all(work, tasks, sizes, workers=count, title="rendering"), strict=True))
