"""A data set as its collection describes it: recordings, subjects, splits and labels; no recording is opened."""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from ecgcmr.inspection.label_text import print_labels
from ecgcmr.inspection.text import print_table
from ecgcmr.preparation.collections.gathering import gather
from ecgcmr.preparation.collections.protocol import Collection, SearchNotes


def inspect_collection(console: Console, title: str, collection: Collection) -> None:
    """Print what a collection holds.

    Args:
        console: Where to print.
        title: What it is called.
        collection: The collection.

    Raises:
        UserError: A table of it is missing, damaged or empty.
    """
    found = gather(collection, title, SearchNotes())
    candidates = found.candidates
    present = sum(all(path.exists() for _, _, path in candidate.files) for candidate in candidates)
    console.print(title, style="bold")
    console.print(
        f"{len(candidates):,} recordings of {len({one.subject for one in candidates}):,} patients; files of "
        f"{present:,} recordings are there"
    )
    splits = Counter(candidate.split or "by the subject's hash" for candidate in candidates)
    print_table(console, "splits", ("split", "recordings"), [(name, f"{count:,}") for name, count in splits.items()])
    print_labels(console, [column.label for column in found.columns], found.labels, every_label=True)
