"""Fit runs that are killed: ``python killed_runs.py '[{"arguments": [...], "kill_at": 5, "ranks": 2}, ...]'``.

Everything is imported once; each run is a fork, or two that form a ddp group, so that twenty runs take seconds each.
A run that is to be killed gets SIGKILL from within, at the end of a training step, as a machine would be taken away.
One that is to end with an exit ``code`` must do so by itself on every rank; a run that hangs is killed and told.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

import ecgcmr.stages.command  # noqa: F401 - imported before the forks
from ecgcmr.cli import main

KILL_AT, RECORD = "KILLED_RUNS_KILL_AT", "KILLED_RUNS_RECORD"
TIMEOUT_S = 120


class Recorder(Callback):
    """Writes what every training step was given and gave, to a file a rank; kills the process if it is time."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        entry = {
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            "rows": batch["row"].tolist(),
            "ecg": float(batch["ecg"].double().sum()).hex(),
            "loss": float(outputs["loss"]).hex(),
        }
        with Path(f"{os.environ[RECORD]}-{trainer.global_rank}.jsonl").open("a") as out:
            out.write(json.dumps(entry) + "\n")
            out.flush()
            os.fsync(out.fileno())
        if trainer.global_step == int(os.environ[KILL_AT]):
            os.kill(os.getpid(), signal.SIGKILL)


def _child(arguments: list[str], rank: int, ranks: int, port: str) -> int:
    """Be one rank of a run."""
    if ranks > 1:
        os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(ranks)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    torch.set_num_threads(1)
    return main(arguments)


def run(arguments: list[str], kill_at: int, ranks: int) -> list[int]:
    """Run one fit; the death of one rank takes the others with it. Returns how each rank ended."""
    os.environ[KILL_AT] = str(kill_at)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            os._exit(_child(arguments, rank, ranks, port))
        children.append(child)
    ends: dict[int, int] = {}
    deadline = time.monotonic() + TIMEOUT_S
    while len(ends) < ranks:
        for child in set(children) - set(ends):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                ends[child] = os.waitstatus_to_exitcode(status)
        if min(ends.values(), default=0) < 0 or time.monotonic() > deadline:
            for child in set(children) - set(ends):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return [ends[child] for child in children]


if __name__ == "__main__":
    for number, wanted in enumerate(json.loads(sys.argv[1])):
        os.environ[RECORD] = wanted["record"]
        codes = run(wanted["arguments"], wanted["kill_at"], wanted["ranks"])
        expected = {-signal.SIGKILL} if wanted["kill_at"] >= 0 else {wanted.get("code", 0)}
        if set(codes) != expected:
            sys.exit(f"run {number} ended with {codes}, not {expected}")
