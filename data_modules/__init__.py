"""Shards on disk, the order in which they are read, and the LightningDataModules that stream them.

Writing and indexing need NumPy and h5py only; what needs torch or Lightning is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from data_modules.index import ShardIndex, read_cmr, read_ecgs, read_labels
from data_modules.index_writer import write_index
from data_modules.layout import CMRLayout, ECGLayout, Label, Layout
from data_modules.sampling import window_starts
from data_modules.shard import ShardEntry, ShardRows, write_shard
from data_modules.shard_reader import ShardReader

if TYPE_CHECKING:
    from data_modules.batch import cut_windows
    from data_modules.ecg import ECGDataModule
    from data_modules.labelled import LabelledDataModule
    from data_modules.paired import PairedDataModule

__all__ = [
    "CMRLayout",
    "ECGDataModule",
    "ECGLayout",
    "Label",
    "LabelledDataModule",
    "Layout",
    "PairedDataModule",
    "ShardEntry",
    "ShardIndex",
    "ShardReader",
    "ShardRows",
    "cut_windows",
    "read_cmr",
    "read_ecgs",
    "read_labels",
    "window_starts",
    "write_index",
    "write_shard",
]

_HOMES = {
    "ECGDataModule": "ecg",
    "LabelledDataModule": "labelled",
    "PairedDataModule": "paired",
    "cut_windows": "batch",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use."""
    if name in _HOMES:
        return getattr(import_module(f"data_modules.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
