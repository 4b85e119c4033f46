"""Embeddings of many files, or of a prepared cohort's recordings, into one Parquet file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.inference.answers import Answers
from ecgcmr.inference.embeddings_file import EmbeddingRow, EmbeddingsFile, Key
from ecgcmr.inference.file_tasks import open_workers, read_ahead
from ecgcmr.inference.input_files import InputFiles
from ecgcmr.inference.model_entries import Preparation
from ecgcmr.inference.results import ECGEmbedding
from ecgcmr.leads import LEADS
from ecgcmr.shards.index import ShardIndex, read_ecgs
from ecgcmr.shards.layout import LEAD_FLAGS, SPLITS
from ecgcmr.shards.recipe import compare_recipes, recipe_of

_ROWS = 256
"""Rows of a cohort that are read together."""


def embed_request(answers: Answers) -> str:
    """Return the hash of what all rows follow from."""
    content = json.dumps(asdict(answers.model.description), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def embed_files(
    answers: Answers, found: InputFiles, out: Path, *, workers: int, overwrite: bool, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Embed files.

    Args:
        answers: Of the model.
        found: The files.
        out: The Parquet file; its folder is locked.
        workers: Processes.
        overwrite: Replace a file of another origin or model.
        advance: Called with the number of files that have been finished.

    Returns:
        ``rows``, and ``failed`` and ``refused``: lists of ``file`` and ``reason``. A recording that the preparation
        refuses has no row; one that only the verdict refuses has one, with ``in_distribution`` false.

    Raises:
        UserError: Something in the way may not be replaced, or a worker was killed.
    """
    model = answers.model
    file = EmbeddingsFile(out, embed_request(answers), model.feature_dim, is_cohort=False, overwrite=overwrite)
    keys = [file.key(one.name, one.digest()) for one in found.files]
    waiting = [number for number, key in enumerate(keys) if not file.has(key)]
    advance(len(keys) - len(waiting))
    failed, refused = [], []
    with open_workers(workers, len(waiting)) as pool:
        paths = [found.files[number].path for number in waiting]
        numbers = iter(waiting)
        for read in read_ahead(pool, model.description.preparation, paths, keep_windows=False):
            block = list(islice(numbers, len(read)))
            usable = [(n, one.recording) for n, one in zip(block, read, strict=True) if one.recording is not None]
            failed += [
                {"file": found.files[n].name, "reason": str(one.failed)}
                for n, one in zip(block, read, strict=True)
                if one.recording is None
            ]
            embedded = answers.embed([recording for _, recording in usable])
            rows: dict[Key, list[EmbeddingRow]] = {}
            for (number, _), windows in zip(usable, embedded, strict=True):
                name = found.files[number].name
                refused += [{"file": name, "reason": one.refused} for one in windows if one.refused is not None]
                rows[keys[number]] = [_row(keys[number][0], one) for one in windows if one.embedding is not None]
            file.add(rows)
            advance(len(block))
    return {"rows": file.finish(keys), "failed": failed, "refused": refused, "skipped": found.skipped}


def _row(name: str, one: ECGEmbedding) -> EmbeddingRow:
    if one.embedding is None:
        raise ValueError("a row needs an embedding")
    quality = one.quality if math.isfinite(one.quality) else None
    return EmbeddingRow(name, one.recording, one.embedding, quality, one.in_distribution)


def embed_cohort(
    answers: Answers, index: ShardIndex, out: Path, *, overwrite: bool, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Embed the recordings of a prepared cohort, which have been prepared already; as ``embed_files``.

    Raises:
        UserError: The cohort was prepared by another recipe than the model's.
    """
    model, recipe = answers.model, answers.model.description.preparation
    check_cohort(recipe, index)
    file = EmbeddingsFile(out, embed_request(answers), model.feature_dim, is_cohort=True, overwrite=overwrite)
    rows = np.concatenate([index.positions(split, ("ecg",)) for split in SPLITS])
    rows.sort()
    places = index.locate(rows)
    names = [f"{index.shards[shard]['file']}:{row}" for shard, row in places.tolist()]
    keys = [
        file.key(str(index.shards[shard]["file"]), _row_digest(str(index.shards[shard]["sha256"]), row))
        for shard, row in places.tolist()
    ]
    waiting = np.array([number for number, key in enumerate(keys) if not file.has(key)], dtype=np.int64)
    advance(len(names) - len(waiting))
    for start in range(0, len(waiting), _ROWS):
        block = waiting[start : start + _ROWS]
        chosen = rows[block]
        flags, quality = _lead_quality(index, chosen)
        mask = _usable(flags, recipe.leave_out_leads)
        features = model.embed_signals(read_ecgs(index, chosen), mask)
        inside = answers.inside(features)
        subjects, splits = index.subjects(chosen), index.splits(chosen)
        added: dict[Key, list[EmbeddingRow]] = {}
        for place, number in enumerate(block.tolist()):
            shard, row = places[number].tolist()
            value = float(quality[place])
            added[keys[number]] = [
                EmbeddingRow(
                    str(index.shards[shard]["file"]), row, features[place], value if math.isfinite(value) else None,
                    inside[place], str(subjects[place]), str(splits[place]),
                )
            ]  # fmt: skip
        file.add(added)
        advance(len(block))
    return {"rows": file.finish(keys), "failed": [], "refused": [], "skipped": []}


def check_cohort(recipe: Preparation, index: ShardIndex) -> None:
    """Compare a cohort's recipe with a model's.

    Raises:
        UserError: They differ, or the cohort holds no ECGs of the twelve leads.
    """
    ecg = index.layout.ecg
    if ecg is None or ecg.leads != LEADS:
        raise UserError(f"{index.root}: holds no ECGs of the leads {', '.join(LEADS)}")
    trained = {**asdict(recipe), "leads": list(LEADS)}
    differences = list(compare_recipes(trained, recipe_of(index.layout, "ecg"), "ecg").differences)
    if ecg.samples != recipe.samples:
        differences.append(f"samples {recipe.samples} -> {ecg.samples}")
    if differences:
        raise UserError(
            f"{index.root}: was prepared otherwise than the model's recordings ({'; '.join(differences)}); prepare it "
            "by the model's recipe, or embed its raw files"
        )


def _row_digest(shard: str, row: int) -> str:
    return hashlib.sha256(f"{shard}:{row}".encode()).hexdigest()


def _lead_quality(index: ShardIndex, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8] | None, NDArray[np.float64]]:
    """Return (n, 12) flags, None where the cohort stores none, and (n,) mean quality index, NaN unknown."""
    ecg = index.layout.ecg
    quality = np.full(len(rows), np.nan)
    if ecg is None or not ecg.quality:
        return None, quality
    flags = np.zeros((len(rows), len(ecg.leads)), dtype=np.uint8)
    for shard, where, row in index.by_shard(rows):
        with index.reader(shard) as reader:
            flags[where] = reader.lead_flags()[row]
            each = reader.lead_quality()[row].astype(np.float64)
        known = np.isfinite(each)
        counts = known.sum(axis=1)
        sums = np.where(known, each, 0.0).sum(axis=1)
        quality[where] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return flags, quality


def _usable(flags: NDArray[np.uint8] | None, leave_out: list[str]) -> NDArray[np.bool_] | None:
    if not leave_out:
        return None
    if flags is None:
        raise UserError("the model leaves leads out by their quality, of which the cohort stores nothing")
    bits = np.uint8(sum(1 << LEAD_FLAGS.index(flag) for flag in leave_out))
    return np.asarray((flags & bits) == 0)
