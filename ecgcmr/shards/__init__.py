"""Shards on disk and their index: what a prepared cohort is made of. NumPy and h5py only, no torch."""

from ecgcmr.shards.index import ShardIndex, read_cmr, read_ecgs, read_labels
from ecgcmr.shards.index_writer import write_index
from ecgcmr.shards.layout import CMRLayout, ECGLayout, Label, Layout
from ecgcmr.shards.shard import ShardEntry, ShardRows, write_shard
from ecgcmr.shards.shard_reader import ShardReader
