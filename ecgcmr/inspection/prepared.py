"""The rows of a prepared cohort, or of one of its shards, for looking at.

A shard that lies in a cohort is seen through the cohort's index, so that rows of withdrawn subjects are not shown
there either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.shards.index import INDEX_NAME, MODALITIES, ShardIndex
from ecgcmr.shards.layout import SPLITS, Layout
from ecgcmr.shards.shard_reader import ShardReader


@dataclass(frozen=True)
class Prepared:
    """n rows that may be looked at.

    Attributes:
        name: Name of the folder or shard.
        is_cohort: Whether this is a whole cohort.
        layout: Of all rows.
        files: The shards.
        position: (n,) number by which a row is asked for: its position in the cohort, or its row in the single shard.
        shard: (n,) index into ``files``.
        row: (n,) row within its shard.
        subject: (n,) keyed hashes.
        split: (n,) ``train``, ``val`` or ``test``.
        has: ``ecg``, ``cmr``, ``cmr_mask`` -> (n,) bool.
        stored: Rows in the files, those left out included.
        left_out: Rows of withdrawn subjects and duplicates.
        selections: Name -> (what it is, number of rows).
    """

    name: str
    is_cohort: bool
    layout: Layout
    files: tuple[Path, ...]
    position: NDArray[np.int64]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    subject: NDArray[np.str_]
    split: NDArray[np.str_]
    has: dict[str, NDArray[np.bool_]]
    stored: int
    left_out: int
    selections: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.position)

    def of_split(self, split: str | None) -> Prepared:
        """Return the rows of one split, or all.

        Raises:
            UserError: If there is no such split or it is empty.
        """
        if split is None:
            return self
        if split not in SPLITS:
            raise UserError(f"--split {split}: choose one of {', '.join(SPLITS)}")
        chosen = self.split == split
        if not chosen.any():
            raise UserError(f"--split {split}: {self.name} has no row in this split")
        return self._of(chosen)

    def _of(self, chosen: NDArray[np.bool_]) -> Prepared:
        return replace(
            self,
            position=self.position[chosen],
            shard=self.shard[chosen],
            row=self.row[chosen],
            subject=self.subject[chosen],
            split=self.split[chosen],
            has={name: has[chosen] for name, has in self.has.items()},
        )

    def by_shard(self) -> Iterator[tuple[ShardReader, NDArray[np.int64], NDArray[np.int64]]]:
        """Go through the shards that hold any of the rows.

        Yields:
            (open reader, indices into the rows, rows within the shard).
        """
        for number in np.unique(self.shard):
            where = np.flatnonzero(self.shard == number)
            with ShardReader(self.files[number], self.layout) as reader:
                yield reader, where, self.row[where]


@dataclass(frozen=True)
class Content:
    """What is stored of n rows beside the records themselves.

    Attributes:
        labels: (n, labels) float32, NaN = missing.
        lead_flags: (n, leads) uint8, or None if the cohort stores no quality; without meaning where there is no ECG.
        lead_quality: (n, leads) float32, NaN = unknown; None as above.
        beats: (n,) number of beats stored, -1 where there is no ECG; None if the cohort stores no beats.
    """

    labels: NDArray[np.float32]
    lead_flags: NDArray[np.uint8] | None
    lead_quality: NDArray[np.float32] | None
    beats: NDArray[np.int64] | None


@dataclass(frozen=True)
class PreparedRow:
    """One row with its records.

    Attributes:
        position: As in ``Prepared``.
        subject: First eight digits of the keyed hash.
        split: ``train``, ``val`` or ``test``.
        labels: (labels,) float32, NaN = missing.
        ecg: (leads, samples) float32, or None.
        cmr: (frames, height, width) uint8, or None.
        cmr_mask: (frames, height, width) uint8, the regions of the frames, or None.
        r_peaks: (k,) sample positions, or None.
        waves: (k, 8) sample positions, -1 = unknown, or None.
        lead_flags: (leads,) uint8, or None.
        lead_quality: (leads,) float32, or None.
    """

    position: int
    subject: str
    split: str
    labels: NDArray[np.float32]
    ecg: NDArray[np.float32] | None = None
    cmr: NDArray[np.uint8] | None = None
    cmr_mask: NDArray[np.uint8] | None = None
    r_peaks: NDArray[np.int64] | None = None
    waves: NDArray[np.int64] | None = None
    lead_flags: NDArray[np.uint8] | None = None
    lead_quality: NDArray[np.float32] | None = None


def open_prepared(path: Path) -> Prepared:
    """Open a prepared folder or one shard; no record is read.

    Raises:
        UserError: It is neither, or damaged.
    """
    if path.is_dir():
        return _whole(ShardIndex.load(path), path.resolve().name)
    root = path.resolve().parent.parent
    if (root / INDEX_NAME).is_file():
        index = ShardIndex.load(root)
        inside = path.resolve().relative_to(root).as_posix()
        number = next((i for i, shard in enumerate(index.shards) if shard["file"] == inside), None)
        if number is not None:
            return _part(index, number, path)
    return _lone_shard(path)


def _whole(index: ShardIndex, name: str) -> Prepared:
    positions = index.positions(None, need=())
    pairs = index.locate(positions)
    return Prepared(
        name=name,
        is_cohort=True,
        layout=index.layout,
        files=tuple(index.shard_path(number) for number in range(len(index.shards))),
        position=positions,
        shard=pairs[:, 0],
        row=pairs[:, 1],
        subject=index.subjects(positions),
        split=index.splits(positions),
        has={name: index.has(name)[positions] for name in (*MODALITIES, "cmr_mask")},
        stored=len(index),
        left_out=len(index) - len(positions),
        selections={
            name: (str(selection["about"]), len(index.selection(name))) for name, selection in index.selections.items()
        },
    )


def _part(index: ShardIndex, number: int, path: Path) -> Prepared:
    """Return the rows of one shard of a cohort, without those that the cohort leaves out."""
    whole = _whole(index, path.name)
    part = whole._of(whole.shard == number)
    stored = int(index.shards[number]["rows"])
    return replace(
        part,
        name=path.name,
        is_cohort=False,
        files=(path,),
        position=part.row,
        shard=np.zeros(len(part), dtype=np.int64),
        stored=stored,
        left_out=stored - len(part),
        selections={},
    )


def _lone_shard(path: Path) -> Prepared:
    """Return all rows of a shard that lies apart from its cohort."""
    with ShardReader(path) as reader:
        layout, rows = reader.layout, len(reader)
        has = {name: reader.has(name) for name in MODALITIES}
        stores_masks = layout.cmr is not None and layout.cmr.mask
        has["cmr_mask"] = reader.has("cmr_mask") if stores_masks else np.zeros(rows, dtype=bool)
        subject, split_codes = reader.column("subject"), reader.column("split")
    if not (split_codes < len(SPLITS)).all():
        raise UserError(f"{path.name}: shard is truncated or damaged; restore it or run 'ecgcmr prepare' again")
    numbers = np.arange(rows, dtype=np.int64)
    return Prepared(
        name=path.name,
        is_cohort=False,
        layout=layout,
        files=(path,),
        position=numbers,
        shard=np.zeros(rows, dtype=np.int64),
        row=numbers,
        subject=subject.astype("U32"),
        split=np.array(SPLITS)[split_codes],
        has=has,
        stored=rows,
        left_out=0,
    )


def read_content(prepared: Prepared) -> Content:
    """Read labels, lead quality and beat counts of all rows, shard by shard."""
    n, layout = len(prepared), prepared.layout
    leads = len(layout.ecg.leads) if layout.ecg else 0
    with_quality = layout.ecg is not None and layout.ecg.quality
    with_beats = layout.ecg is not None and layout.ecg.max_beats > 0
    content = Content(
        labels=np.empty((n, len(layout.labels)), dtype=np.float32),
        lead_flags=np.zeros((n, leads), dtype=np.uint8) if with_quality else None,
        lead_quality=np.full((n, leads), np.nan, dtype=np.float32) if with_quality else None,
        beats=np.full(n, -1, dtype=np.int64) if with_beats else None,
    )
    for reader, where, rows in prepared.by_shard():
        content.labels[where] = reader.labels()[rows]
        if content.lead_flags is not None and content.lead_quality is not None:
            content.lead_flags[where] = reader.lead_flags()[rows]
            content.lead_quality[where] = reader.lead_quality()[rows]
        if content.beats is not None:
            counts = (reader.column("r_peaks")[rows] >= 0).sum(axis=1)
            content.beats[where] = np.where(prepared.has["ecg"][where], counts, -1)
    return content


def choose_row(prepared: Prepared, position: int | None) -> int:
    """Return the index of the row to show: the one asked for, else the first that has all that the cohort holds.

    Raises:
        UserError: The row does not exist, is left out or is of another split.
    """
    if position is None:
        best = sum((has.astype(int) for has in prepared.has.values()), np.zeros(len(prepared), dtype=int))
        return int(best.argmax())
    found = np.flatnonzero(prepared.position == position)
    if len(found):
        return int(found[0])
    if 0 <= position < prepared.stored:
        raise UserError(f"--row {position}: is of another split, of a withdrawn subject or a duplicate; take another")
    raise UserError(f"--row {position}: {prepared.name} has rows 0 to {prepared.stored - 1}")


def read_row(prepared: Prepared, i: int) -> PreparedRow:
    """Read all that is stored of the ``i``-th row."""
    row, ecg = int(prepared.row[i]), prepared.layout.ecg
    has_ecg, has_cmr = bool(prepared.has["ecg"][i]), bool(prepared.has["cmr"][i])
    with ShardReader(prepared.files[prepared.shard[i]], prepared.layout) as reader:
        beats = has_ecg and ecg is not None and ecg.max_beats > 0
        quality = has_ecg and ecg is not None and ecg.quality
        return PreparedRow(
            position=int(prepared.position[i]),
            subject=str(prepared.subject[i])[:8],
            split=str(prepared.split[i]),
            labels=reader.labels(row),
            ecg=reader.ecg(row) if has_ecg else None,
            cmr=reader.cmr(row) if has_cmr else None,
            cmr_mask=reader.cmr_mask(row) if prepared.has["cmr_mask"][i] else None,
            r_peaks=reader.r_peaks(row) if beats else None,
            waves=reader.waves(row) if beats else None,
            lead_flags=reader.lead_flags(row) if quality else None,
            lead_quality=reader.lead_quality(row) if quality else None,
        )


def stored_bytes(prepared: Prepared) -> tuple[int, dict[str, int]]:
    """Return the shards' size on the disk, and bytes by dataset; what remains is HDF5's own."""
    by_dataset: dict[str, int] = {}
    for path in prepared.files:
        with h5py.File(path, "r", locking=False) as file:
            for name, dataset in file.items():
                by_dataset[name] = by_dataset.get(name, 0) + int(dataset.id.get_storage_size())
    return sum(path.stat().st_size for path in prepared.files), by_dataset
