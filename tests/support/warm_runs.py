"""Running plans of ``killed_runs`` in a process that is started once for all tests of a pytest process."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Until all is imported, nothing is looked through for garbage: it takes a third off the start.
START = "import gc; gc.disable(); import killed_runs; killed_runs.serve()"
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Start the process; it ends with its input, when this one does."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{HERE}"}
    server = subprocess.Popen(
        [sys.executable, "-c", START],
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_stop, server)
    return server


def _stop(server: subprocess.Popen[str]) -> None:
    server.kill()
    server.wait()


def plan(*commands: list[str], ranks: int = 1, **expected: Any) -> dict[str, Any]:
    """Describe a run: commands one after the other, the config of the first after ``-c``.

    Args:
        commands: Words after ``ecgcmr``.
        ranks: Processes of its ddp group.
        expected: ``kill_at`` (step at which it is killed), ``signal`` (by which, if not SIGKILL), ``record``
            (start of the files' names that tell its steps),
            ``code`` (exit code of every rank), ``timeout_s``, ``environment`` (in place of Lightning's own for ranks;
            "{RANK}" and "{PORT}" in its values stand for the rank and a port that is free).
    """
    return {"commands": list(commands), "config": commands[0][2], "ranks": ranks, **expected}


def run(plans: list[dict[str, Any]], log: Path) -> str:
    """Run plans in turn, all of which must end as they are to; return what they printed."""
    server = _server()
    if server.stdin is None or server.stdout is None:
        raise RuntimeError("the process has no pipes")
    print(json.dumps({"plans": plans, "log": str(log)}), file=server.stdin, flush=True)
    reply = server.stdout.readline()
    output = log.read_text(errors="replace") if log.is_file() else ""
    assert reply, f"the process that forks runs has ended\n{output[-4000:]}"
    problem = json.loads(reply)
    assert not problem, f"{problem}\n{output[-4000:]}"
    return output


def fit_arguments(config: Path, name: str, batch: int, ranks: int, resume: bool) -> list[str]:
    """Return the command of a fit into the folder ``name`` beside its config, with one global batch for any ranks."""
    arguments = ["fit", "-c", str(config), f"--trainer.default_root_dir={config.with_name(name)}"]
    arguments.append(f"--data.batch_size={batch // ranks}")
    if ranks > 1:
        arguments += [f"--trainer.devices={ranks}", "--trainer.strategy=ddp"]
    return [*arguments, "--ckpt_path=last"] if resume else arguments
