"""Shards on disk and their index: what a prepared cohort is made of. NumPy and h5py only, no torch.

Modules are imported when they are asked for: who needs the layout alone needs no h5py.
"""

from typing import TYPE_CHECKING

from ecgcmr.names_on_demand import names_on_demand

if TYPE_CHECKING:
    from ecgcmr.shards.annotations import StoredAnnotations, read_masks, read_r_peaks, read_waves
    from ecgcmr.shards.index import ShardIndex, read_cmr, read_ecgs, read_labels
    from ecgcmr.shards.index_writer import write_index
    from ecgcmr.shards.layout import CMRLayout, ECGLayout, Label, Layout
    from ecgcmr.shards.shard import ShardEntry, ShardRows, write_shard
    from ecgcmr.shards.shard_reader import ShardReader

_HOMES = {
    "StoredAnnotations": "annotations",
    "read_masks": "annotations",
    "read_r_peaks": "annotations",
    "read_waves": "annotations",
    "ShardIndex": "index",
    "read_cmr": "index",
    "read_ecgs": "index",
    "read_labels": "index",
    "write_index": "index_writer",
    "CMRLayout": "layout",
    "ECGLayout": "layout",
    "Label": "layout",
    "Layout": "layout",
    "ShardEntry": "shard",
    "ShardRows": "shard",
    "write_shard": "shard",
    "ShardReader": "shard_reader",
}
__getattr__, __dir__ = names_on_demand(__name__, _HOMES)
