"""Writing the index of a cohort, and taking subjects out of it.

Both recompute what depends on which rows are given out: counts, the training split's label statistics and the named
selections. The same shards and arguments give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.files import replace_atomically
from ecgcmr.shards.index import INDEX_NAME, MODALITIES, ShardIndex, read_labels
from ecgcmr.shards.layout import SCHEMA, SCHEMA_VERSION, SPLITS, Layout
from ecgcmr.shards.shard import ShardEntry
from ecgcmr.shards.shard_digest import DIGEST

Selections = dict[str, dict[str, Any]]
Selector = Callable[[ShardIndex], Selections]
"""Chooses named parts of the training split; it is given the index with all rows that remain."""


def write_index(
    root: str | Path,
    layout: Layout,
    entries: Sequence[ShardEntry],
    *,
    extra: dict[str, Any] | None = None,
    withdrawn: Iterable[str] = (),
    duplicates: Iterable[int] = (),
    select: Selector | None = None,
) -> ShardIndex:
    """Write ``ROOT/index.json`` atomically for shards already written.

    Args:
        root: Folder the entries' files are relative to.
        layout: The layout of all shards.
        entries: What ``write_shard`` returned, in the order wanted.
        extra: JSON-able additions, stored under ``extra``; nothing about single subjects.
        withdrawn: Hashes of subjects to leave out for good.
        duplicates: Positions of rows to leave out.
        select: Makes the named selections.

    Raises:
        ValueError: If there are no entries or a subject stands in two splits.
        UserError: If a shard file is missing or has another layout.
    """
    root = Path(root)
    if not entries:
        raise ValueError("an index needs at least one shard")
    columns = {
        name: [value for entry in entries for value in getattr(entry, name)]
        for name in ("subject", "split", "has_ecg", "has_cmr", *(["has_cmr_mask"] if _has_masks(layout) else []))
    }
    _check_leak(columns["subject"], columns["split"])
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        "fingerprint": layout.fingerprint,
        "layout": layout.to_dict(),
        "counts": {},
        "statistics": {},
        "selections": {},
        "withdrawn": sorted(set(withdrawn)),
        "duplicates": sorted(set(duplicates)),
        "extra": extra or {},
        "shards": [
            {"file": e.file, "sha256": e.sha256, "bytes": _size(root / e.file), "rows": e.rows}
            | ({DIGEST: e.digest} if e.digest else {})
            for e in entries
        ],
        "subjects": columns,
    }
    return _complete(root, content, select)


def withdraw(
    root: str | Path,
    subjects: Iterable[str],
    select: Selector | None = None,
    extra: dict[str, Any] | None = None,
) -> ShardIndex:
    """Take subjects out of an existing index; shards stay as they are and none of those rows is given out any more.

    Args:
        root: Folder of ``index.json``.
        subjects: Keyed hashes; those already withdrawn stay so.
        select: Makes the named selections anew from the rows that remain.
        extra: JSON-able additions to what stands under ``extra``.

    Raises:
        UserError: If the index cannot be loaded.
    """
    root = Path(root)
    earlier = ShardIndex.load(root)
    content = json.loads((root / INDEX_NAME).read_bytes())
    content["withdrawn"] = sorted({*earlier.withdrawn, *subjects})
    content["selections"] = {}
    content["extra"] = {**earlier.extra, **(extra or {})}
    return _complete(root, content, select)


def _complete(root: Path, content: dict[str, Any], select: Selector | None) -> ShardIndex:
    """Compute what depends on the rows given out, and write."""
    index = ShardIndex(root, content)
    content["counts"] = count_rows(index)
    content["statistics"] = label_statistics(index)
    if select is not None:
        content["selections"] = select(index)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items())
    with replace_atomically(root / INDEX_NAME) as temporary:
        temporary.write_text("{\n" + lines + "\n}\n", encoding="ascii")
    return ShardIndex(root, content)


def _check_leak(subjects: list[str], splits: list[str]) -> None:
    split_of: dict[str, str] = {}
    for subject, split in zip(subjects, splits, strict=True):
        if split_of.setdefault(subject, split) != split:
            raise ValueError(f"a subject stands in two splits: {split_of[subject]} and {split}")


def count_rows(index: ShardIndex) -> dict[str, int]:
    """Count the rows that are given out, by split and modality, their subjects, and the rows left out."""
    remaining = index.positions(None, need=())
    has = {name: index.has(name)[remaining] for name in MODALITIES}
    split = index.splits(remaining)
    return {
        **{name: int((split == name).sum()) for name in SPLITS},
        "total": len(remaining),
        "with_ecg": int(has["ecg"].sum()),
        "with_cmr": int(has["cmr"].sum()),
        "with_both": int((has["ecg"] & has["cmr"]).sum()),
        **({"with_cmr_mask": int(index.has("cmr_mask")[remaining].sum())} if _has_masks(index.layout) else {}),
        "subjects": len(np.unique(index.subjects(remaining))),
        "left_out": len(index) - len(remaining),
    }


def _has_masks(layout: Layout) -> bool:
    return layout.cmr is not None and layout.cmr.mask


def _size(path: Path) -> int:
    if not path.is_file():
        raise UserError(f"{path}: shard is missing, so that no index can be written")
    return path.stat().st_size


def label_statistics(index: ShardIndex) -> dict[str, dict[str, Any]]:
    """Compute the statistics of every label over the training rows that are given out, see ``ShardIndex``."""
    values = read_labels(index, index.label_names, index.positions("train", need=())).astype(np.float64)
    result: dict[str, dict[str, Any]] = {}
    for column, label in enumerate(index.layout.labels):
        present = values[:, column]
        present = present[~np.isnan(present)]
        entry: dict[str, Any] = {"n": len(present)}
        if label.is_binary:
            entry["positives"] = int((present > 0.5).sum())
        else:
            for name in ("mean", "std", "min", "max"):
                entry[name] = float(getattr(present, name)()) if len(present) else None
        result[label.name] = entry
    return result
