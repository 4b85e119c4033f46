"""A collection's cohort as a table: prepared through the command line, read back from the shards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ecgcmr.cli import main
from ecgcmr.preparation.collections.gathering import gather
from ecgcmr.preparation.collections.protocol import Collection, SearchNotes
from ecgcmr.shards import ShardIndex, read_ecgs, read_labels


class Listed(NamedTuple):
    """What a collection says before anything is read.

    Attributes:
        labels: (n, L), NaN = missing.
        names: Of the L labels.
        candidates: n of them.
        notes: What was left out.
        groups: Group -> names of its labels.
    """

    labels: np.ndarray
    names: list[str]
    candidates: list[Any]
    notes: SearchNotes
    groups: dict[str, list[str]]

    def of(self, candidate: str) -> dict[str, float]:
        """Return the labels of the recording whose name for reports ends so."""
        (row,) = [i for i, one in enumerate(self.candidates) if one.ecg_name.endswith(candidate)]
        return dict(zip(self.names, self.labels[row].tolist(), strict=True))


def listed(collection: Collection) -> Listed:
    """Ask a collection for everything."""
    notes = SearchNotes()
    found = gather(collection, "test", notes)
    groups: dict[str, list[str]] = {}
    for column in found.columns:
        groups.setdefault(column.label.group, []).append(column.label.name)
    return Listed(found.labels, [column.label.name for column in found.columns], found.candidates, notes, groups)


def prepared(folder: Path, *words: object, code: int = 0) -> ShardIndex:
    """Prepare in this process without beats and cleaning, and return the index.

    Args:
        folder: Where the key and the cohort (``out``) go.
        words: Further arguments.
        code: The exit code that is expected.
    """
    (folder / "subject.key").write_bytes(bytes(range(32)))
    command = ["prepare", "--out", folder / "out", "--key-file", folder / "subject.key", "--workers", 1]
    command += ["--cleaning", "none", "--no-beats"]
    assert main([*map(str, command), *map(str, words)]) == code
    return ShardIndex.load(folder / "out")


def ecg_where(index: ShardIndex, label: str, is_right: Callable[[float], bool]) -> np.ndarray:
    """Return the (12, samples) ECG of the one recording whose label is right."""
    rows = index.positions(None, need=())
    values = read_labels(index, [label], rows)[:, 0]
    (row,) = [place for place, value in zip(rows, values, strict=True) if is_right(float(value))]
    return read_ecgs(index, np.array([row]))[0].astype(np.float64)
