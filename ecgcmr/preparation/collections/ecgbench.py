"""Any 12-lead collection that the library ecgbench describes: its records, labels, units, lead order and splits.

The library knows where each collection keeps its tables and how its labels are read; recordings are read by this
program. Nothing is written into the collection's folder: the table that the library makes for some goes to a
temporary one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from ecgcmr.errors import UserError
from ecgcmr.formats.array_rows import HDF5Row, NpyRow, RowContent
from ecgcmr.formats.declared_files import DeclaredFile, LeadRowsFile, ScaledFile, WholeHDF5
from ecgcmr.formats.lead_names import standard_lead
from ecgcmr.formats.record import MILLIVOLTS, Z_SCORE
from ecgcmr.formats.record_reader import RecordReader
from ecgcmr.formats.ukb_table import clean_id
from ecgcmr.label_declarations import DeclaredLabel
from ecgcmr.preparation.collections.frame_labels import FrameLabels, labels_of_frame
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.text import printable

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "ecgbench:"
EXTRA = "open-data"
INDEPENDENT_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""From which the twelve follow."""
_WRITES_BESIDE_ITS_SOURCE = ("echonext",)
"""Where the library does not ask its config where its own table lies."""
_FORMATS = ("wfdb", "csv", "csv_lead_rows", "npy", "hdf5")


class _Source(NamedTuple):
    path: Path
    read_by: RecordReader | None


class EcgbenchCollection:
    """The recordings of one collection."""

    def __init__(self, options: PrepareOptions) -> None:
        """Take a collection by its name in the library.

        Args:
            options: Of the run: ``collection`` is ``ecgbench:`` and the name, such as ``sph``, ``ecg`` its root.

        Raises:
            UserError: The library is not installed or does not know it, it has other leads than the twelve, or no
                folder is named.
        """
        self.slug = (options.collection or "").removeprefix(PREFIX)
        self._config = _config(self.slug)
        if options.ecg is None:
            raise UserError(f"--collection {PREFIX}{self.slug}: name the download with --ecg")
        self.folder: Path = options.ecg

    @cached_property
    def _tables(self) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """The library's tables: a row a record; labels by record, None where a collection has none."""
        splitting, labelling = _library("ecgbench.splitting"), _library("ecgbench.labels")
        with tempfile.TemporaryDirectory(prefix="ecgcmr-") as scratch:
            config = _away_from(self._config, Path(scratch))
            folder = self.folder
            if self.slug in _WRITES_BESIDE_ITS_SOURCE:
                folder = _linked(self.folder, Path(scratch) / "linked")
            records = self._ask(lambda: splitting.get_splitter(self.slug).load_metadata(folder, config))
            try:
                labels = self._ask(lambda: labelling.load_labels(config, self.folder))
            except labelling.LabelsUnavailableError:
                labels = None
        key = self._config.record_id_column
        if key not in records.columns and records.index.name == key:
            records = records.reset_index()
        if key not in records.columns or self._path_column not in records.columns or not len(records):
            raise UserError(f"{PREFIX}{self.slug}: the library finds no record below {self.folder.name}")
        if labels is not None:
            labels.index = labels.index.map(str)
        return records, labels

    @cached_property
    def _found(self) -> FrameLabels:
        records, labels = self._tables
        if labels is None:
            return FrameLabels((), (), ())
        config = self._config
        not_labels = {config.patient_id_column, config.record_id_column, *config.signal_path_columns.values()}
        not_labels |= {"patient_id", "fold", "split", "source_split", "record_number"}
        if config.predefined_splits is not None:
            not_labels.add(config.predefined_splits.column)
        rows = labels.reindex(records[config.record_id_column].map(str))
        return labels_of_frame(rows, {name for name in not_labels if name}, lists=self._list_columns)

    @property
    def _list_columns(self) -> frozenset[str]:
        config = self._config
        return frozenset([config.label_column] if config.label_format == "comma_separated" else [])

    @property
    def _path_column(self) -> str:
        return str(self._config.signal_path_columns[self._config.default_sampling_rate])

    def labels(self) -> Sequence[DeclaredLabel]:
        """Return what the library's labels become."""
        return self._found.labels

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate a record; those that the publisher keeps out of every split are left out.

        Raises:
            UserError: The library cannot read the collection's tables.
        """
        records, labels = self._tables
        config = self._config
        if labels is None:
            notes.remarks.append(f"{PREFIX}{self.slug}: the collection has no labels")
        if self._found.unused:
            some = ", ".join(self._found.unused[:8]) + (" ..." if len(self._found.unused) > 8 else "")
            notes.remarks.append(f"{PREFIX}{self.slug}: {len(self._found.unused)} columns are not used: {some}")
        splits = self._splits(records)
        without_split = sum(split == "" for split in splits)
        if without_split:
            notes.remarks.append(f"{without_split} recordings are in no split of the publisher and left out")
        patients = self._patients(records)
        names = records[config.record_id_column].map(str)
        paths = records[self._path_column].map(str)
        labels_of = self._found.matrix(len(records), notes.counts)
        for name, patient, path, split, values in zip(names, patients, paths, splits, labels_of, strict=True):
            if split == "":
                continue
            source = self._source(path)
            if source is None:
                notes.skip(path, "is no path below the folder")
                continue
            yield Candidate(
                subject=patient,
                ecg=source.path,
                labels=values,
                split=split,
                id=name,
                ecg_name=source.path.relative_to(self.folder).as_posix(),
                read_by=source.read_by,
            )

    def _patients(self, records: pd.DataFrame) -> list[str]:
        """Return whose each record is: by the library's column, else each its own."""
        names = records[self._config.record_id_column].map(str)
        column = self._config.patient_id_column
        if not column or column not in records.columns:
            return list(names)
        known = records[column].notna()
        ids = zip(records[column], known, names, strict=True)
        return [clean_id(str(patient)) if has else name for patient, has, name in ids]

    def _splits(self, records: pd.DataFrame) -> list[str | None]:
        """Return the publisher's split of each record, empty where it is in none; None where there are no splits."""
        given = self._config.predefined_splits
        if not self._config.has_predefined_splits or given is None:
            return [None] * len(records)
        split_of = {str(fold): split for split, folds in given.fold_mapping.items() for fold in folds}
        return [split_of.get(str(fold).removesuffix(".0"), "") for fold in records[given.column]]

    def _source(self, reference: str) -> _Source | None:
        """Return the file of a record and what reads it; None if it leads out of the folder."""
        config = self._config
        leads = tuple(standard_lead(name) for name in config.lead_names)
        rate = float(config.default_sampling_rate)
        volts = MILLIVOLTS if config.signal_unit_scale == 1.0 else f"{config.signal_unit_scale!r} {MILLIVOLTS}"
        unit = Z_SCORE if config.signal_units.lower() in ("zscore", Z_SCORE) else volts
        name, *place = reference.split(":")
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
            return None
        path = self.folder / name
        if config.signal_format == "wfdb":
            header = (
                path.with_suffix(".hea") if path.suffix in (".dat", ".mat", ".hea") else self.folder / f"{name}.hea"
            )
            scale = float(config.signal_unit_scale)
            return _Source(header, None if scale == 1.0 else ScaledFile(scale))
        if config.signal_format == "csv":
            return _Source(path, DeclaredFile(leads, rate, volts))
        if config.signal_format == "csv_lead_rows":
            return _Source(path, LeadRowsFile(RowContent(leads, rate, unit, time_first=False)))
        content = RowContent(leads, rate, unit)
        if config.signal_format == "npy":
            return _Source(path, NpyRow(int(place[0]), content))
        if len(place) == 2:  # a row of (records, time, leads); without one the data set is (leads, time)
            # All are of one length there: what is shorter lies between zeros, as in CODE-15 %.
            return _Source(path, HDF5Row(int(place[1]), place[0], replace(content, is_zero_padded=True)))
        return _Source(path, WholeHDF5(place[0] if place else "", replace(content, time_first=False)))

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Ask the library, and say in one line what it could not do."""
        unavailable = _library("ecgbench.labels").LabelsUnavailableError
        try:
            return question()
        except (UserError, unavailable):
            raise
        except MemoryError:
            raise
        except Exception as error:
            said = printable(str(error), 300).replace(str(self.folder), self.folder.name)
            raise UserError(f"{PREFIX}{self.slug}: ecgbench cannot read it ({type(error).__name__}: {said})") from error


def _library(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f"--collection {PREFIX}SLUG: needs the package ecgbench, which is not installed: pip install "
            f"ecgcmr[{EXTRA}]"
        ) from error


def twelve_lead_collections() -> list[str]:
    """Return the names of the collections that can be taken.

    Raises:
        UserError: The library is not installed.
    """
    library = _library("ecgbench.config")
    return [slug for slug in library.list_available_configs() if not _why_not(library.load_config(slug))]


def _config(slug: str) -> Any:
    library = _library("ecgbench.config")
    if slug not in library.list_available_configs():
        known = ", ".join(twelve_lead_collections())
        raise UserError(
            f"--collection {PREFIX}{printable(slug, 40)}: ecgbench knows no such collection; it has {known}"
        )
    config = library.load_config(slug)
    reason = _why_not(config)
    if reason:
        raise UserError(f"--collection {PREFIX}{slug}: {reason}")
    return config


def _why_not(config: Any) -> str:
    """Say why a collection cannot be taken; empty if it can."""
    leads = [standard_lead(name) for name in config.lead_names or ()]
    if not set(INDEPENDENT_LEADS) <= set(leads):
        return f"has leads {', '.join(leads[:12]) or 'that are not named'}, from which the twelve do not follow"
    if config.signal_format not in _FORMATS:
        return f"is of format {config.signal_format}, which is not read"
    return ""


def _linked(folder: Path, place: Path) -> Path:
    """Return a folder of links to all that lies in another."""
    place.mkdir()
    for entry in folder.iterdir():
        (place / entry.name).symlink_to(entry.absolute())
    return place


def _away_from(config: Any, scratch: Path) -> Any:
    """Return the config with the table that the library itself makes in another folder."""
    if config.metadata_csv != "ecgbench_metadata.csv":
        return config
    table = str(scratch / config.metadata_csv)
    labels = config.labels
    if labels is not None and labels.source_csv == config.metadata_csv:
        labels = replace(labels, source_csv=table)
    return replace(config, metadata_csv=table, labels=labels)
