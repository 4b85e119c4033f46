"""The whole cohort: the index by itself, then every shard against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ecgcmr.parallel import run_all
from ecgcmr.shards.index import INDEX_NAME, MODALITIES, ShardIndex
from ecgcmr.shards.index_writer import count_rows
from ecgcmr.shards.layout import SPLITS
from ecgcmr.verification.given_out import statistics_faults, withdrawn_faults
from ecgcmr.verification.shard_check import ShardExpectation, verify_shard


def verify_cohort(root: Path, *, quick: bool = False, workers: int = 1) -> list[str]:
    """Return one line for each fault of a cohort; an empty list if there is none.

    Args:
        root: Folder of ``index.json``.
        quick: Leave out what needs every byte: checksums and records.
        workers: Processes; each takes a shard at a time.

    Raises:
        UserError: If the index itself cannot be read, so that nothing can be held against it.
    """
    index = ShardIndex.load(root, check_files=False)
    sizes = [shard["rows"] for shard in index.shards]
    ends = np.cumsum(sizes)
    expected = [
        _expectation(index, number, np.arange(end - size, end), quick)
        for number, (size, end) in enumerate(zip(sizes, ends, strict=True))
    ]
    results = run_all(verify_shard, expected, sizes, workers=workers, title="verifying")
    faults = [*_index_faults(index), *withdrawn_faults(index), *(fault for faults in results for fault in faults)]
    return faults or statistics_faults(index)  # of damaged shards there are no statistics to compare with


def _expectation(index: ShardIndex, number: int, rows: np.ndarray, quick: bool) -> ShardExpectation:
    shard = index.shards[number]
    return ShardExpectation(
        path=index.shard_path(number),
        file=shard["file"],
        sha256=shard["sha256"],
        bytes=shard["bytes"],
        digest=index.shard_digest(number),
        layout=index.layout,
        subject=index.subjects(rows),
        split=index.splits(rows),
        has={name: index.has(name)[rows] for name in (*MODALITIES, "cmr_mask")},
        quick=quick,
    )


def _index_faults(index: ShardIndex) -> list[str]:
    """Return what is wrong with the index whatever the shards hold."""
    faults = []
    subject, split = index.subjects(), index.splits()
    for name in sorted(set(split) - set(SPLITS)):
        faults.append(f"{INDEX_NAME}: split {name!r} is unknown, first in position {np.flatnonzero(split == name)[0]}")
    pairs = {(s, name) for s, name in zip(subject.tolist(), split.tolist(), strict=True)}
    faults += [f"{INDEX_NAME}: subject {name} stands in more than one split" for name in _repeated(s for s, _ in pairs)]
    files = _repeated(shard["file"] for shard in index.shards)
    faults += [f"{INDEX_NAME}: {file} is listed more than once" for file in files]
    try:
        found = count_rows(index)
    except (IndexError, ValueError) as error:
        return [*faults, f"{INDEX_NAME}: its rows cannot be counted ({error})"]
    for name in sorted(set(found) | set(index.counts)):
        if found.get(name) != index.counts.get(name):
            faults.append(f"{INDEX_NAME}: counts.{name} is {index.counts.get(name)}, its rows make {found.get(name)}")
    train = set(np.flatnonzero(split == "train").tolist())
    for name, selection in index.selections.items():
        wrong = [row for row in selection["rows"] if row not in train]
        if wrong:
            faults.append(f"{INDEX_NAME}: selection {name} holds position {wrong[0]}, which is no training row")
    return faults


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, times in Counter(names).items() if times > 1)
