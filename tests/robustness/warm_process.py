"""A process that has imported everything and trains nothing itself: its forks are at work at once.

Forks of a process that has trained would wait forever for its threads.
"""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

HEAVY = (
    "ecgcmr.training.command", "ecgcmr.stages", "data_modules", "ecgcmr.preparation.run", "ecgcmr.formats",
    "ecgcmr.inspection.command",
    "ecgcmr.experiments.experiment", "ecgcmr.experiments.command", "ecgcmr.verification.cohort",
    "ecgcmr.weights_import.command",
    "ecgcmr.weights_import.image_encoder", "ecgcmr.weights_import.signal_encoder", "ecgcmr.reports.compare",
    "ecgcmr.reports.evaluate_command", "ecgcmr.inspection.raw_ecg", "ecgcmr.inspection.raw_cmr",
    "ecgcmr.inspection.raw_table",
    "ecgcmr.inspection.prepared", "wfdb", "pydicom", "nibabel", "h5py", "pyarrow.parquet", "omegaconf",
    "tensorboard.backend.event_processing.event_accumulator",
)  # fmt: skip


def import_all() -> None:
    """Import what the commands import, so that every fork has it."""
    gc.disable()
    for name in HEAVY:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.freeze()
    gc.enable()


PREPARE = "prepare --out out --key-file key --workers 1 --short pad --size 16 --ecg ecg --table table.csv"


def fork(work: Callable[[], object], output: int | None = None) -> int:
    """Run ``work`` in a fork, which then ends; returns its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        if output is not None:
            os.dup2(output, 1)
            os.dup2(output, 2)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()  # of the harness itself: what a command raises is part of its outcome
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def warm_up(material: Path, folder: Path) -> None:
    """Prepare once and read one config, so that every fork has what is compiled and what the parser has learnt."""
    from ecgcmr.cli import main

    shutil.copytree(material / "lists", folder)
    shutil.copy(material / "run" / "regression.yaml", folder)
    os.environ["HOME"] = str(folder)
    os.chdir(folder)
    silence = os.open(os.devnull, os.O_WRONLY)
    kept = [os.dup(1), os.dup(2)]
    try:
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        main(PREPARE.split())
        main(["fit", "-c", "regression.yaml", "--print_config"])
    finally:
        sys.stdout.flush()
        for descriptor, target in zip(kept, (1, 2), strict=True):
            os.dup2(descriptor, target)
    os.chdir(material)
    shutil.rmtree(folder)
    gc.collect()
    gc.freeze()
