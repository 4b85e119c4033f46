"""A folder of recordings with one table that has a row for each: its file, subject, labels, perhaps split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.ecg_kind import identify_ecg
from ecgcmr.formats.ecg_reader import load_reader
from ecgcmr.formats.short_axis_file import cmr_kind
from ecgcmr.formats.signal_declaration import DECLARATION_FILE
from ecgcmr.formats.ukb_table import Table, read_table
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.folder_checks import require_folder
from ecgcmr.preparation.label_columns import LabelColumn, usable
from ecgcmr.preparation.label_table import check_units
from ecgcmr.preparation.labels import TableLabels
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.table_use import check_declared, use_of_table
from ecgcmr.preparation.unusable_labels import check_usable
from ecgcmr.shards.layout import SPLITS
from ecgcmr.text import printable

_COLUMN = {"ecg": "file", "cmr": "cmr"}
_PLACES = {"file": "ecg", "ecg": "ecg", "cmr": "cmr", "split": "split"}


@dataclass
class FolderCollection:
    """What ``--ecg``, ``--cmr``, one ``--table`` and ``--labels`` name.

    The table has a row a recording: ``subject`` (or another column of ids), ``file`` below ``--ecg``, ``cmr`` below
    ``--cmr``, and, if the splits are given, ``split``. Its labels are those declared in ``--labels`` and no others.

    Attributes:
        options: Those of the run.
    """

    options: PrepareOptions

    @cached_property
    def _labels(self) -> TableLabels:
        return TableLabels.read(None, self.options.labels, is_biobank=False)

    def labels(self) -> Sequence[LabelColumn]:
        """Return the declared labels."""
        return self._labels.columns

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate for each row whose file is there.

        Raises:
            UserError: There is not one table, it lacks a column, or it states another unit than is declared.
        """
        options = self.options
        if len(options.tables) != 1:
            raise UserError("--collection folder: needs one --table, with a row for each recording")
        folders = {part: require_folder(folder, f"--{part}") for part, folder in self._folders()}
        table = self._read(options.tables[0], notes)
        labels = self._label(table, notes)
        used: set[Path] = set()
        usable_rows, named_before, first_reason = 0, set(), ""
        for row, subject in enumerate(table.ids):
            named = {part: str(table.named[part][row] or "") for part in ("ecg", "cmr", "split") if part in table.named}
            found = {part: folders[part] / named[part] for part in folders if named.get(part)}
            used.update(found.values())
            if (recording := named.get("ecg") or named.get("cmr") or "") in named_before:
                raise UserError(f"{table.name}: two rows name the file {printable(recording, 60)}; keep one")
            named_before |= {recording} - {""}
            for part, path in list(found.items()):
                reason = self._why_not(part, named[part], path)
                if reason:
                    notes.skip(named[part], reason)
                    first_reason = first_reason or f"; the first, {printable(named[part], 60)}, {reason}"
                    del found[part]
            if found:
                usable_rows += 1
                yield Candidate(
                    str(subject),
                    found.get("ecg"),
                    found.get("cmr"),
                    labels[row],
                    _split(named.get("split", ""), table.name),
                    id=named.get("ecg") or named["cmr"],
                    ecg_name=named.get("ecg", ""),
                    cmr_name=named.get("cmr", ""),
                )
        if not usable_rows:
            where = " and ".join(f"--{part}" for part in folders)
            raise UserError(
                f"{table.name}: none of its {len(table.ids)} rows with a subject names a usable file below {where}"
                f"{first_reason}"
            )
        everything = (path for folder in folders.values() for path in folder.rglob("*"))
        others = [path for path in everything if path.is_file() and path.name != DECLARATION_FILE]
        unnamed = sum(used.isdisjoint((path, *path.parents, path.with_suffix(".hea"))) for path in others)
        if unnamed:
            notes.remarks.append(f"{table.name}: {unnamed} files below --ecg and --cmr are of no row")

    def _folders(self) -> Iterator[tuple[str, Path]]:
        for part, folder in (("ecg", self.options.ecg), ("cmr", self.options.cmr)):
            if folder is not None:
                yield part, folder

    def _read(self, path: Path, notes: SearchNotes) -> Table:
        """Read the table, and note what is not used of it."""
        notes.files.append(path.name)
        table = read_table(path, (), {**{name: name for name in self._labels.by_name}, **_PLACES})
        for part, _ in self._folders():
            if part not in table.named:
                raise UserError(f"--table {path.name}: lacks a column {_COLUMN[part]} of what lies below --{part}")
        check_units(table, self._labels)
        check_declared(self._labels, [table])
        notes.tables.append(use_of_table(table, self._labels, (), first_stands=False))
        return table

    def _label(self, table: Table, notes: SearchNotes) -> npt.NDArray[np.float32]:
        """Return (rows, L): the declared labels of each row."""
        labels = np.empty((len(table.ids), len(self.labels())), dtype=np.float32)
        for place, column in enumerate(self.labels()):
            texts = table.named[column.plain_column]
            numbers = column.read(texts, decimal_comma=table.decimal_comma)
            labels[:, place] = usable(column, numbers, notes.counts)
        check_usable(self.labels(), labels, notes, [table])
        return labels

    def _why_not(self, part: str, name: str, path: Path) -> str:
        """Say why a file that a row names cannot be used; empty if it can."""
        options = self.options
        if "\\" in name:
            return "has a backslash: write the path below the folder with /"
        if "\0" in name or ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            return "is no path below the folder"
        if part == "ecg":
            declared = options.declaration is not None
            return identify_ecg(path, declared=declared, reader=load_reader(options.reader)).reason
        return "" if cmr_kind(path, options.view) else f"holds no images of --view {options.view}"


def _split(text: str, table: str) -> str | None:
    """Return the split that a cell names, in any case; None of an empty one."""
    split = text.strip().lower()
    if split and split not in SPLITS:
        raise UserError(
            f"{table}: its column split holds {printable(text, 40)!r}; write one of {', '.join(SPLITS)}, or nothing"
        )
    return split or None
