"""EchoNext: 100,000 ECGs of Columbia University with what an echocardiogram of the same patient showed.

Poterucha et al., Nature 2025; PhysioNet, 1.0.0 to 1.1.1. Row i of a split's array is the i-th row of that split in the
table, in its order; nothing else joins them. Signals are clipped and z-scored by the publisher.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.array_rows import NpyRow, RowContent, npy_array
from ecgcmr.formats.limits import naming
from ecgcmr.formats.plain_table import find_file, read_plain_table, require_file
from ecgcmr.formats.record import Z_SCORE
from ecgcmr.label_declarations import DeclaredLabel
from ecgcmr.preparation.collections.echonext_labels import COLUMNS, echonext_labels, label_values, misjoined
from ecgcmr.preparation.collections.label_frames import label_rows
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.folder_checks import require_folder
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.shards.layout import LEADS, SPLITS

METADATA = "echonext_metadata_100k.csv"
CONTENT = RowContent(LEADS, sampling_rate=250.0, stored_unit=Z_SCORE)
"""Leads are not stated; Einthoven's and Goldberger's relations leave this order alone."""
UNUSED = "no_split"
"""Split of other ECGs of those who validate and test."""


class EchoNextCollection:
    """The recordings of an EchoNext folder, those that its publisher divides into splits."""

    def __init__(self, options: PrepareOptions) -> None:
        """Take the folder from ``options.ecg``.

        Raises:
            UserError: There is no such folder.
        """
        self.folder = require_folder(options.ecg or Path(), "--ecg")

    def labels(self) -> Sequence[DeclaredLabel]:
        """Return flags, values, grades, the recorder's measurements, age and sex."""
        return echonext_labels()

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate a row of the three splits.

        Raises:
            UserError: The table is missing or damaged, no array is there, or an array has other rows than the table.
        """
        path = require_file(self.folder, "--ecg", METADATA)
        table = read_plain_table(path, ("ecg_key", "patient_key", "split", "age_at_ecg", "sex", *COLUMNS))
        notes.files.append(path.name)
        notes.split_rule = {"by": "split"}
        table["split"] = table["split"].str.strip().str.lower()
        unused = int((table["split"] == UNUSED).sum())
        if unused:
            notes.remarks.append(
                f"{path.name}: {unused} rows of {UNUSED} are left out; they are further ECGs of those who validate and "
                "test"
            )
        strange = int((~table["split"].isin([*SPLITS, UNUSED])).sum())
        if strange:
            notes.remarks.append(f"{path.name}: {strange} rows are in no known split and are left out")
        found = False
        for split in SPLITS:
            of_split = table[table["split"] == split].reset_index(drop=True)
            array = self._array(split, of_split, notes)
            if array is not None:
                found = True
                yield from _candidates(of_split, split, array, notes)
        if not found:
            raise UserError(f"--ecg {self.folder}: holds none of the arrays EchoNext_{{train,val,test}}_waveforms.npy")

    def _array(self, split: str, table: pd.DataFrame, notes: SearchNotes) -> Path | None:
        """Return the array of a split, once its rows are known to be those of the table; None if it is not there."""
        name = f"EchoNext_{split}_waveforms.npy"
        path = find_file(self.folder, name)
        if path is None:
            if len(table):
                notes.skip(name, f"missing, so that {len(table)} rows of {split} are left out")
            return None
        with naming(path):
            stored = npy_array(path)
            CONTENT.check(stored.shape, stored.dtype)
            rows = stored.shape[0]
            if rows != len(table):
                raise UserError(
                    f"has {rows} rows and the table {len(table)} of {split}; they are joined by position alone, so "
                    "take both from one version of the download"
                )
        features = find_file(self.folder, f"EchoNext_{split}_tabular_features.npy")
        if features is not None:
            with naming(features):
                wrong = misjoined(table, npy_array(features))
                if wrong is not None:
                    raise UserError(f"{wrong}; take table and arrays from one version of the download")
        return path


def _candidates(table: pd.DataFrame, split: str, array: Path, notes: SearchNotes) -> Iterator[Candidate]:
    """Yield the rows of one split; one without a key is left out."""
    labels = label_rows(label_values(table), echonext_labels(), notes.counts)
    for row, (patient, ecg) in enumerate(zip(table["patient_key"], table["ecg_key"], strict=True)):
        name = f"{array.name}, row {row}"
        if not isinstance(patient, str) or not isinstance(ecg, str):
            notes.skip(name, "has no patient_key or no ecg_key")
            continue
        yield Candidate(
            subject=patient.removesuffix(".0"),
            ecg=array,
            labels=labels[row],
            split=split,
            id=ecg.removesuffix(".0"),
            ecg_name=name,
            read_by=NpyRow(row, CONTENT),
        )
