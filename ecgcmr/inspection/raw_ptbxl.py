"""A PTB-XL download: recordings, patients, folds and labels, with that table's own coding of sex and age."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console

from ecgcmr.errors import UserError
from ecgcmr.formats.ptbxl import DATABASE, read_ptbxl
from ecgcmr.inspection.label_text import print_labels
from ecgcmr.inspection.text import print_table
from ecgcmr.preparation.collections.ptbxl import PTBXL_LABELS, label_values
from ecgcmr.preparation.label_columns import LabelCounts, columns_of, matrix_of


def inspect_ptbxl(console: Console, folder: Path) -> None:
    """Print what a PTB-XL folder holds; no recording is opened.

    Args:
        console: Where to print.
        folder: Folder of ``ptbxl_database.csv``.

    Raises:
        UserError: A table is missing, damaged or empty.
    """
    records = read_ptbxl(folder)
    if not records:
        raise UserError(f"{DATABASE}: lists no recording")
    present = sum(record.path.is_file() for record in records)
    console.print("PTB-XL", style="bold")
    console.print(
        f"{len(records):,} recordings of {len({record.patient_id for record in records}):,} patients; files of "
        f"{present:,} recordings are there"
    )
    folds = Counter(record.fold for record in records)
    print_table(console, "folds", ("fold", "recordings"), [(str(f), f"{folds[f]:,}") for f in sorted(folds)])
    columns = [column for declared in PTBXL_LABELS for column in columns_of(declared)]
    values = matrix_of([label_values(record) for record in records], columns, LabelCounts())
    print_labels(console, [column.label for column in columns], values, every_label=True)
