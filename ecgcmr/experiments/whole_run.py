"""A whole experiment in its folder: claimed, begun, trained, compared, reported; each step can be asked for apart."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from ecgcmr import __version__
from ecgcmr.config_pieces import read_config
from ecgcmr.errors import UserError
from ecgcmr.experiments.cohorts import contents_of, plan_record
from ecgcmr.experiments.experiment import Experiment
from ecgcmr.experiments.out_folder import claim_folder
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.run_graph import TABLE, chosen, dependents, run_graph
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.experiments.times import Times
from ecgcmr.files import remove_paths, remove_unfinished, write_atomically
from ecgcmr.locks import FolderLock, remove_all
from ecgcmr.named_class import code_digest
from ecgcmr.shards import ShardIndex
