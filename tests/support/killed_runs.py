"""A process that has imported everything and forks runs: fits that are killed, and commands on several ranks.

It is started by ``warm_runs`` and reads requests, a line of JSON each, until its input ends. Each run is a fork, or
several that form a ddp group, so that it takes a second where a new interpreter takes six. Nothing is ever trained in
this process itself: forks of a process that has trained wait forever for its threads.

A run that is to be killed gets SIGKILL from within, at the end of a training step, as a machine would be taken away;
or another signal, after which it must end by itself.
One that is to end with an exit ``code`` must do so by itself on every rank; a run that hangs is killed and told.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import signal
import socket
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import omegaconf  # noqa: F401 - Lightning imports it with the first checkpoint, so that every fork would
import torch
from lightning.pytorch.callbacks import Callback

import ecgcmr.training.command  # noqa: F401 - imported before the forks
from ecgcmr.cli import main

KILL_AT, RECORD, SIGNAL = "KILLED_RUNS_KILL_AT", "KILLED_RUNS_RECORD", "KILLED_RUNS_SIGNAL"
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
            os.kill(os.getpid(), int(os.environ[SIGNAL]))


def _child(plan: dict[str, Any], rank: int, port: str) -> int:
    """Be one rank of a run: its commands one after the other, until one fails."""
    os.environ |= {KILL_AT: str(plan.get("kill_at", -1)), RECORD: plan.get("record", "")}
    os.environ[SIGNAL] = str(int(plan.get("signal", signal.SIGKILL)))
    environment = plan.get("environment")
    if environment is not None:
        here = {"RANK": str(rank), "PORT": port}
        os.environ |= {name: value.format(**here) for name, value in environment.items()}
    elif plan["ranks"] > 1:
        os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(plan["ranks"])}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    torch.set_num_threads(1)
    for command in plan["commands"]:
        code = main(command)
        if code != 0:
            return code
    return 0


def run(plan: dict[str, Any], log: int) -> list[int]:
    """Run one plan; the death of one rank takes the others with it. Returns how each rank ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    children = []
    for rank in range(plan["ranks"]):
        child = os.fork()
        if child == 0:
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = 70
            try:
                code = _child(plan, rank, port)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    ends: dict[int, int] = {}
    deadline = time.monotonic() + plan.get("timeout_s", TIMEOUT_S)
    while len(ends) < len(children):
        for child in set(children) - set(ends):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                ends[child] = os.waitstatus_to_exitcode(status)
        if min(ends.values(), default=0) < 0 or time.monotonic() > deadline:
            for child in set(children) - set(ends):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return [ends[child] for child in children]


def answer(request: dict[str, Any]) -> str:
    """Run the plans of a request, their output to its log; return what went wrong, or nothing."""
    with Path(request["log"]).open("ab") as log:
        for number, plan in enumerate(request["plans"]):
            codes = run(plan, log.fileno())
            killed = plan.get("kill_at", -1) >= 0 and "code" not in plan
            expected = {-signal.SIGKILL} if killed else {plan.get("code", 0)}
            if set(codes) != expected:
                return f"run {number} ended with {codes}, not {expected}"
    return ""


def warm_up(config: str) -> None:
    """Read a config as every run will: what the parser learns of classes is kept in memory, and forks have it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(["fit", "-c", config, "--print_config"])
    gc.freeze()  # what is there by now is neither looked through nor, for that, copied by every fork
    gc.enable()


def serve() -> None:
    """Answer requests until there are no more; what the packages are warned of is an error in runs too."""
    warnings.filterwarnings("error", module=r"(ecgcmr|data_modules)(\.|$)")
    replies = os.fdopen(os.dup(1), "w")
    warm = False
    for line in sys.stdin:
        wanted = json.loads(line)
        if not warm:
            warm_up(wanted["plans"][0]["config"])
            warm = True
        print(json.dumps(answer(wanted)), file=replies, flush=True)
