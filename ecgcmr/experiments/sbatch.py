"""Handing jobs to SLURM, each behind those that it needs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.experiments.cluster_jobs import Job
from ecgcmr.files import write_atomically
from ecgcmr.json_file import read_json
from ecgcmr.text import printable

NOTE = "jobs.json"
"""In the folder of the scripts: part -> number of its job, such as ``4242`` or, in an array, ``4242_7``."""


def submit(jobs: Sequence[Job], folder: Path) -> dict[str, str]:
    """Submit jobs whose files lie in a folder; what was submitted stands in ``jobs.json`` at every moment.

    Args:
        jobs: In an order in which each comes behind those that it needs.
        folder: Of the files ``NAME.sbatch``.

    Returns:
        Part -> number of its job.

    Raises:
        UserError: There is no sbatch, or it refuses a job.
    """
    program = shutil.which("sbatch")
    if program is None:
        raise UserError(f"there is no sbatch here: submit the files in {folder} on a login node of the cluster")
    numbers: dict[str, str] = {}
    arrays: dict[str, str] = {}
    for job in jobs:
        number = _submitted(program, job, folder, _behind(job, numbers, arrays, jobs))
        for place, part in enumerate(job.parts):
            numbers[part] = number if len(job.parts) == 1 else f"{number}_{place}"
            arrays[part] = number
        write_atomically(folder / NOTE, (json.dumps(numbers, indent=1) + "\n").encode())
    return numbers


def _behind(job: Job, numbers: Mapping[str, str], arrays: Mapping[str, str], jobs: Sequence[Job]) -> list[str]:
    """Return the numbers of the jobs that one waits for; a whole array is one number."""
    needed = set(job.needs)
    found = []
    for other in jobs:
        wanted = needed.intersection(other.parts)
        if wanted and len(wanted) == len(other.parts):
            found.append(arrays[other.parts[0]])
        else:
            found += [numbers[part] for part in other.parts if part in wanted]
    return found


def _submitted(program: str, job: Job, folder: Path, behind: Sequence[str]) -> str:
    words = [program, "--parsable"]
    if behind:
        words += [f"--dependency=afterok:{':'.join(behind)}", "--kill-on-invalid-dep=yes"]
    done = subprocess.run([*words, str(folder / f"{job.name}.sbatch")], capture_output=True, text=True, check=False)
    number = done.stdout.strip().partition(";")[0]
    if done.returncode or not re.fullmatch(r"\d+", number):
        said = (done.stderr.strip() or done.stdout.strip() or f"code {done.returncode}").splitlines()[-1]
        raise UserError(
            f"sbatch refuses {job.name}.sbatch: {printable(said, 200)}; mend the cluster file, take back with scancel "
            f"what {folder / NOTE} lists, and submit again"
        )
    return number


def refuse_while_queued(folder: Path) -> None:
    """Refuse to submit an experiment a second time while jobs of it are queued or running.

    Raises:
        UserError: There are some.
    """
    note, program = folder / NOTE, shutil.which("squeue")
    if not note.exists() or program is None:
        return
    content = read_json(note, what="note of jobs")
    given = content.values() if isinstance(content, dict) else ()
    numbers = sorted({str(number).partition("_")[0] for number in given})
    for number in numbers:  # one by one: squeue fails where one of several is no longer known
        command = [program, "--noheader", "--format=%i", f"--jobs={number}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.returncode and done.stdout.strip():
            raise UserError(
                f"job {number} of this experiment is still queued or running; wait for it, or take all back with "
                f"'scancel {' '.join(numbers)}' and submit again: what is finished is kept"
            )
