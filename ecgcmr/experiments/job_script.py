"""The file that sbatch is given for one job."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ecgcmr.experiments.cluster_file import Cluster
from ecgcmr.experiments.cluster_jobs import Job, log_folder
from ecgcmr.experiments.stage_runs import LAUNCHER

TABLE = "table"

_BODY = """
parts=({parts})
part="${{parts[${{SLURM_ARRAY_TASK_ID:-0}}]}}"

cd {here} || exit 1
{setup}
# This process is one and starts what it needs; the ranks of a training on several devices are SLURM's again.
export SLURM_JOB_NAME=interactive
export {launcher_name}={launcher}

# Near the end of its time the job saves, is queued again, and goes on where it was.
again() {{
    trap '' USR1
    kill -TERM "$process" 2>/dev/null
    wait "$process"
    scontrol requeue "$SLURM_JOB_ID" || exit 1
    exit 143
}}
trap again USR1
trap 'kill -TERM "$process"; wait "$process"; exit' TERM

echo "$(date): $part"
{command} &
process=$!
wait "$process"
"""


def script(job: Job, cluster: Cluster, words: Sequence[str], here: Path, folder: Path, title: str) -> str:
    """Return the text of a job's file.

    Args:
        job: The job.
        cluster: Where it runs.
        words: The command of the whole experiment, without ``--only``.
        here: Folder in which it is run.
        folder: Where the file will lie, and what the job prints.
        title: Of the experiment, for the queue.
    """
    given, ranks = job.given, job.ranks
    several = len(job.parts) > 1
    options = [
        f"--job-name={f'{title}-{job.name[3:]}'[:60]}",
        f"--output={log_folder(folder)}/{job.name}-{'%A_%a' if several else '%j'}.log",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR1@{given.signal}",
        f"--time={given.time}",
        f"--nodes={ranks.nodes}",
        f"--ntasks-per-node={ranks.devices}",
        f"--cpus-per-task={given.cpus}",
    ]
    if given.gpus:
        kind = f"{given.gpu_type}:" if given.gpu_type else ""
        options.append(f"--gpus-per-node={kind}{given.gpus * ranks.devices}")
    for name in ("memory", "partition", "account"):
        value = getattr(given, name)
        if value is not None:
            options.append(f"--{'mem' if name == 'memory' else name}={value}")
    if several:
        most = "" if cluster.running is None else f"%{cluster.running}"
        options.append(f"--array=0-{len(job.parts) - 1}{most}")
    head = "\n".join(f"#SBATCH {shlex.quote(option)}" for option in [*options, *given.options])
    only = [] if job.parts == (TABLE,) else ["--only", '"$part"']
    body = _BODY.format(
        parts=" ".join(shlex.quote(part) for part in job.parts),
        here=shlex.quote(str(here)),
        setup="".join(f"{line}\n" for line in cluster.setup),
        launcher_name=LAUNCHER,
        launcher=shlex.quote(f"env SLURM_JOB_NAME=ecgcmr {cluster.launcher}"),
        command=" ".join([*map(shlex.quote, words), *only]),
    )
    return f"#!/bin/bash\n{head}\n{body}"
