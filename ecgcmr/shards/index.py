"""The index of a cohort: which rows the shards hold, in which split, and the training split's label statistics.

``index.json`` stores the subjects as columns, so that 100,000 of them load in a fraction of a second and every
selection is one vectorised operation. A row is known by its position: the number it has when the shards' rows are
counted through in index order.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.json_file import read_json
from ecgcmr.shards.index_checks import check_content
from ecgcmr.shards.layout import SCHEMA, SCHEMA_VERSION, SPLITS, Layout
from ecgcmr.shards.shard_digest import DIGEST, check_digests
from ecgcmr.shards.shard_reader import ShardReader
from ecgcmr.text import printable

INDEX_NAME = "index.json"
MODALITIES = ("ecg", "cmr")


class ShardIndex:
    """A cohort of shards.

    Attributes:
        root: Folder of ``index.json``.
        layout: The layout all shards share.
        shards: One dict a shard: ``file`` (relative to root), ``sha256``, ``bytes``, ``rows``.
        statistics: Per label name, from the training split alone: ``n``, ``mean``, ``std``, ``min``, ``max`` for a
            number (None where n is 0), ``n`` and ``positives`` for a 0/1 label.
        counts: Rows: ``train``, ``val``, ``test``, ``total``, ``with_ecg``, ``with_cmr``, ``with_both``; and
            ``subjects``.
        selections: Named parts of the training split: ``about`` says what, ``rows`` are positions.
        withdrawn: Hashes of subjects whose consent has ended; none of their rows is ever given out.
        duplicates: Positions of rows left out because the same recording stands in another split.
        extra: What the writer added.
    """

    def __init__(self, root: str | Path, content: dict[str, Any]) -> None:
        """Build the index from the content of ``index.json``; use ``ShardIndex.load``."""
        check_content(content)
        self.root = Path(root)
        self.layout = Layout.from_dict(content["layout"])
        self.shards: list[dict[str, Any]] = list(content["shards"])
        self.statistics: dict[str, dict[str, Any]] = dict(content["statistics"])
        self.counts: dict[str, int] = dict(content["counts"])
        self.selections: dict[str, dict[str, Any]] = dict(content["selections"])
        self.withdrawn: list[str] = list(content["withdrawn"])
        self.duplicates: list[int] = list(content["duplicates"])
        self.extra: dict[str, Any] = dict(content.get("extra", {}))
        columns = content["subjects"]
        self._subject = np.asarray(columns["subject"], dtype="S32")
        self._split = np.asarray(columns["split"], dtype="U5")
        self._has = {name: np.asarray(columns[f"has_{name}"], dtype=bool) for name in MODALITIES}
        self._has["cmr_mask"] = np.zeros(len(self._subject), dtype=bool)
        if self.layout.cmr is not None and self.layout.cmr.mask:
            self._has["cmr_mask"] = np.asarray(columns["has_cmr_mask"], dtype=bool)
        self._first = np.concatenate([[0], np.cumsum([shard["rows"] for shard in self.shards])]).astype(np.int64)
        lengths = {
            len(self._subject),
            len(self._split),
            *(len(has) for has in self._has.values()),
            int(self._first[-1]),
        }
        if len(lengths) != 1:
            raise ValueError("the columns under subjects and the shards' rows differ in length")
        self._active = ~np.isin(self._subject, np.asarray(self.withdrawn, dtype="S32"))
        self._active[self.duplicates] = False

    @classmethod
    def load(cls, root: str | Path, *, check_files: bool = True) -> ShardIndex:
        """Read ``ROOT/index.json`` and check that every shard file is there in full length.

        Args:
            root: Folder of ``index.json``.
            check_files: False leaves the shard files alone.

        Raises:
            UserError: If the folder, the index or a shard is missing, the index is not JSON or of another schema or
                version, or a shard file has another length than when it was written.
        """
        root = Path(root)
        if not root.is_dir():
            raise UserError(f"{root}: no such folder; give the folder that 'ecgcmr prepare' wrote")
        path = root / INDEX_NAME
        if not path.is_file():
            raise UserError(f"{root}: holds no {INDEX_NAME}; give the folder that 'ecgcmr prepare' wrote")
        try:
            content = read_json(path, what="index")
        except UserError as error:
            raise UserError(f"{error}; run 'ecgcmr prepare' again") from error
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise UserError(f"{path}: not an index of {SCHEMA}; give the folder that 'ecgcmr prepare' wrote")
        if content.get("version") != SCHEMA_VERSION:
            found = content.get("version")
            raise UserError(
                f"{path}: schema version {printable(found, 40)}, this program reads {SCHEMA_VERSION}; prepare it again"
            )
        try:
            index = cls(root, content)
            fingerprint = index.layout.fingerprint
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError, RecursionError) as error:
            reason = printable(error, 300)
            raise UserError(f"{path}: incomplete or damaged ({reason}); run 'ecgcmr prepare' again") from error
        if content.get("fingerprint") != fingerprint:
            raise UserError(f"{path}: layout and fingerprint disagree; the file was edited, prepare it again")
        if check_files:
            index._check_files()
        return index

    def _check_files(self) -> None:
        for shard in self.shards:
            path = self.root / shard["file"]
            if not path.is_file():
                raise UserError(f"{path}: shard is missing; restore it or run 'ecgcmr prepare' again")
            if path.stat().st_size != shard["bytes"]:
                size = path.stat().st_size
                raise UserError(
                    f"{path}: shard has {size} bytes instead of {shard['bytes']}; restore it or prepare again"
                )
        check_digests({self.shard_path(i): self.shard_digest(i) for i in range(len(self.shards))})

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._subject)

    @property
    def title(self) -> str:
        """Name of the cohort's folder, for messages."""
        return self.root.name

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the label columns."""
        return self.layout.label_names

    def positions(self, split: str | None, need: Sequence[str] = MODALITIES) -> np.ndarray:
        """Return the positions (k,) int64, ascending, of a split's rows that have all modalities of ``need``.

        Rows of withdrawn subjects and duplicates are never among them.

        Args:
            split: ``train``, ``val``, ``test``, or None for all rows.
            need: Any of ``ecg``, ``cmr`` and ``cmr_mask``.
        """
        if split is not None and split not in SPLITS:
            raise UserError(f"split {split!r}: choose one of {', '.join(SPLITS)}")
        chosen = self._active.copy() if split is None else self._active & (self._split == split)
        for name in need:
            chosen &= self._has[name]
        return np.flatnonzero(chosen).astype(np.int64)

    def selection(self, name: str) -> np.ndarray:
        """Return the positions (k,) int64, ascending, of a named selection, without rows that are left out.

        Raises:
            UserError: If there is no such selection; the message lists those there are.
        """
        if name not in self.selections:
            known = ", ".join(self.selections) or "none"
            raise UserError(f"selection {name!r} is not in the index; there are: {known}")
        rows = np.asarray(self.selections[name]["rows"], dtype=np.int64)
        return rows[self._active[rows]]

    def splits(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the splits (k,) of rows given as (k, 2) pairs or (k,) positions; of all rows if none are given."""
        return self._split.copy() if rows is None else self._split[self._positions_of(rows)]

    def has(self, modality: str) -> np.ndarray:
        """Return (rows,) bool: which rows have an ``ecg``, ``cmr`` or ``cmr_mask``."""
        return self._has[modality].copy()

    def rows(self, split: str | None, need: Sequence[str] = MODALITIES) -> np.ndarray:
        """Return (k, 2) int64, each (shard, row within the shard), of the rows that ``positions`` selects."""
        return self.locate(self.positions(split, need))

    def locate(self, positions: np.ndarray) -> np.ndarray:
        """Turn positions (k,) into (k, 2) int64 (shard, row within the shard)."""
        positions = np.asarray(positions, dtype=np.int64)
        if positions.size and not (positions.min() >= 0 and positions.max() < len(self)):
            raise ValueError(f"positions must lie in 0..{len(self) - 1}")
        shard = np.searchsorted(self._first, positions, side="right") - 1
        return np.stack([shard, positions - self._first[shard]], axis=1)

    def subjects(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the hashes (k,) of rows given as (k, 2) pairs or (k,) positions; of all rows if none are given."""
        chosen = self._subject if rows is None else self._subject[self._positions_of(rows)]
        return chosen.astype("U32")

    def shard_path(self, shard: int) -> Path:
        """Return the file of a shard."""
        return self.root / self.shards[shard]["file"]

    def shard_digest(self, shard: int) -> str:
        """Return the digest that a shard must carry; empty text if the index is older than digests."""
        return str(self.shards[shard].get(DIGEST, ""))

    def shard_layout(self, shard: int) -> Layout:
        """Return the layout of a shard."""
        return self.layout

    def cohort_numbers(self, rows: np.ndarray) -> np.ndarray:
        """Return (k,) int64: of several cohorts taken as one, which each row given as a position is of."""
        return np.zeros(len(rows), dtype=np.int64)

    def without(self, rows: Sequence[int]) -> ShardIndex:
        """Return the same index with some positions left out; counts and statistics stay as they are."""
        result = copy.copy(self)
        result._active = self._active.copy()
        result._active[np.asarray(rows, dtype=np.int64)] = False
        result.duplicates = sorted({*self.duplicates, *rows})
        return result

    def labels_in(self, shard: int, rows: np.ndarray, columns: Sequence[int]) -> np.ndarray:
        """Return (k, columns) float32, the labels of a shard's rows (k,)."""
        with self.reader(shard) as reader:
            return reader.labels()[rows][:, list(columns)]

    def reader(self, shard: int, locking: bool | None = False) -> ShardReader:
        """Return a reader of a shard, which checks at opening that it is the shard this index speaks of."""
        return ShardReader(self.shard_path(shard), self.layout, locking, self.shard_digest(shard))

    def label_columns(self, names: Sequence[str]) -> list[int]:
        """Return the column of each label.

        Raises:
            UserError: If a name is unknown; the message lists the closest known ones.
        """
        return [label_column(self.label_names, name) for name in names]

    def _positions_of(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows, dtype=np.int64)
        return rows if rows.ndim == 1 else self._first[rows[:, 0]] + rows[:, 1]

    def by_shard(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Group rows ((k, 2) pairs or (k,) positions) by shard.

        Yields:
            (shard, where, row): for each shard touched, indices into ``rows`` and the rows within the shard, both in
            ascending order of the row, so that a file is opened once and read forwards.
        """
        positions = self._positions_of(rows)
        order = np.argsort(positions, kind="stable")
        pairs = self.locate(positions[order])
        shards, starts = np.unique(pairs[:, 0], return_index=True)
        for shard, start, end in zip(shards, starts, np.append(starts, len(order))[1:], strict=True):
            yield int(shard), order[start:end], pairs[start:end, 1]


def label_column(known: Sequence[str], name: str) -> int:
    """Return the column of a label.

    Raises:
        UserError: If the name is unknown; the message lists close matches.
    """
    if name in known:
        return known.index(name)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {len(known)}, such as {', '.join(known[:5])}"
    raise UserError(f"label {name!r} is not in the index: {hint}")


def read_labels(index: ShardIndex, names: Sequence[str], rows: np.ndarray) -> np.ndarray:
    """Read label columns.

    Args:
        index: The cohort.
        names: Which labels.
        rows: (k, 2) pairs (shard, row) or (k,) positions, in any order.

    Returns:
        (k, len(names)) float32 in the labels' units, NaN = missing.

    Raises:
        UserError: If a name is unknown or a shard cannot be read.
    """
    columns = index.label_columns(names)
    result = np.empty((len(rows), len(columns)), dtype=np.float32)
    for shard, where, row in index.by_shard(rows):
        result[where] = index.labels_in(shard, row, columns)
    return result


def read_ecgs(index: ShardIndex, rows: np.ndarray, start: int = 0, length: int | None = None) -> np.ndarray:
    """Read ECGs into memory; (k, leads, length) float32 needs 4 * leads * length bytes a row.

    Args:
        index: The cohort.
        rows: (k, 2) pairs (shard, row) or (k,) positions, in any order; all must have an ECG.
        start: First sample.
        length: Number of samples; to the end of the record if None.
    """
    if index.layout.ecg is None:
        raise UserError(f"{index.root}: this cohort holds no ECGs")
    leads, samples = index.layout.ecg.shape
    length = samples - start if length is None else length
    result = np.empty((len(rows), leads, length), dtype=np.float32)
    for shard, where, row in index.by_shard(rows):
        with index.reader(shard) as reader:
            for target, i in zip(where, row, strict=True):
                result[target] = reader.ecg(int(i), start, length)
    return result


def read_cmr(index: ShardIndex, rows: np.ndarray) -> np.ndarray:
    """Read frames into memory: (k, frames, height, width) uint8; rows as for ``read_ecgs``, all with frames."""
    if index.layout.cmr is None:
        raise UserError(f"{index.root}: this cohort holds no CMR frames")
    result = np.empty((len(rows), *index.layout.cmr.shape), dtype=np.uint8)
    for shard, where, row in index.by_shard(rows):
        with index.reader(shard) as reader:
            for target, i in zip(where, row, strict=True):
                result[target] = reader.cmr(int(i))
    return result
