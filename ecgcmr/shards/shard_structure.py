"""Whether an open shard holds the datasets that its layout promises, each of its shape: checked before one is read.

A damaged shard may lack one, have a group or a broken link in its place, or claim terabytes of rows.
"""

from __future__ import annotations

import h5py

from ecgcmr.errors import UserError
from ecgcmr.shards.layout import WAVES, Layout
from ecgcmr.text import printable


def dataset_at(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset of an open shard.

    Raises:
        KeyError: Nothing, another kind of object, or a link that leads nowhere stands in its place.
    """
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(f"{name} is no dataset")
    return found


def promised_shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    """Return the shape of a row of each dataset that a shard of this layout has."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("subject", "split", "has_ecg", "has_cmr"), ())
    shapes["labels"] = (len(layout.labels),)
    if layout.cmr is not None:
        shapes["cmr"] = layout.cmr.shape
        if layout.cmr.mask:
            shapes |= {"cmr_mask": layout.cmr.shape, "has_cmr_mask": ()}
    if layout.ecg is not None:
        shapes["ecg"] = layout.ecg.shape
        if layout.ecg.max_beats:
            shapes["r_peaks"] = (layout.ecg.max_beats,)
            shapes["waves"] = (layout.ecg.max_beats, len(WAVES))
        if layout.ecg.quality:
            shapes["lead_flags"] = shapes["lead_quality"] = (len(layout.ecg.leads),)
    return shapes


def check_structure(file: h5py.File, name: str, layout: Layout) -> None:
    """Check an open shard's datasets.

    Args:
        file: The shard.
        name: Its file name, for messages.
        layout: Of the shard.

    Raises:
        UserError: One is missing, is none, or has another shape than the layout says.
        KeyError: A link leads nowhere.
    """
    shapes = promised_shapes(layout)
    missing = sorted(set(shapes) - set(file))
    if missing:
        raise UserError(f"{name}: holds no {missing[0]}; restore it or run 'ecgcmr prepare' again")
    rows = dataset_at(file, "has_ecg").shape[:1]
    for entry in file:
        found = dataset_at(file, entry)
        wanted = (*rows, *shapes.get(entry, found.shape[1:]))
        if found.shape != wanted:
            raise UserError(
                f"{name}: {printable(entry, 40)} has the shape {found.shape} instead of {wanted}; restore it or run "
                "'ecgcmr prepare' again"
            )
