"""A fit in a SLURM job: queued again before its time is up, and gone on with by the same command.

SLURM restarts the script of a job that was queued again (by us, after a preemption or a node that failed) under the
same number. A run folder notes which job its training began in, so that the command in the script goes on there, where
anybody else would be refused or begin anew.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.training.launch import whole_number
from ecgcmr.training.run_claim import JOB_NOTE, Leave
from ecgcmr.training.whole_checkpoints import LAST

_MOST = 64  # characters of a job's number


def job_number(environment: Mapping[str, str]) -> str | None:
    """Return the number of the SLURM job this process runs in, None outside of one."""
    return environment.get("SLURM_JOB_ID")


def note_job(folder: Path, environment: Mapping[str, str]) -> None:
    """Note in a run folder which job its training began in, or that it was none; rank zero alone does."""
    number = job_number(environment)
    if number is None:
        (folder / JOB_NOTE).unlink(missing_ok=True)
    else:
        write_atomically(folder / JOB_NOTE, number.encode())


def go_on(folder: Path, leave: Leave, environment: Mapping[str, str]) -> tuple[str | None, Leave]:
    """Return how the command of a fit goes on that its job runs once more.

    Args:
        folder: Of the run.
        leave: What the user allows.
        environment: Of the process.

    Returns:
        ``last`` as checkpoint, where one was written; else none, and leave to begin anew where training had begun. The
        given leave where the job was not queued again or the run is not its own.
    """
    number = job_number(environment)
    again = whole_number(environment, "SLURM_RESTART_COUNT") if "SLURM_RESTART_COUNT" in environment else 0
    if number is None or again == 0 or leave.new_folder or not _is_of(folder, number):
        return None, leave
    return ("last", Leave()) if (folder / LAST).exists() else (None, Leave(overwrite=True))


def queue_again(environment: Mapping[str, str]) -> str:
    """Have SLURM queue this job again; what is left of it is ended by SLURM.

    Returns:
        Its number.

    Raises:
        UserError: SLURM does not do so.
    """
    number, program = job_number(environment), shutil.which("scontrol", path=environment.get("PATH"))
    if number is None or program is None:
        raise UserError("this job cannot be queued again: there is no SLURM_JOB_ID or no scontrol; submit it once more")
    done = subprocess.run([program, "requeue", number], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(
            f"SLURM does not queue job {number} again ({said[-1] if said else f'code {done.returncode}'}); submit it "
            "once more, with --requeue"
        )
    return number


def _is_of(folder: Path, number: str) -> bool:
    try:
        with (folder / JOB_NOTE).open("rb") as note:
            return note.read(_MOST) == number.encode()
    except OSError:
        return False
