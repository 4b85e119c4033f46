"""A fit that has only so much time: the running batch is finished and saved before it is over, as at SIGTERM.

The limit is ``trainer.max_time`` of one call, and the end of a SLURM job where SLURM says when that is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from lightning.pytorch.callbacks import Callback

from ecgcmr.errors import UserError
from ecgcmr.training.run_session import RunSession

JOB_END = "SLURM_JOB_END_TIME"
"""In the environment of a job: when its time is over, in seconds since 1970."""

SECONDS_TO_SAVE = 20.0
"""Before a job's end, on top of what a batch takes: SLURM kills what is still writing then."""

_FORM = re.compile(r"(\d+):(\d\d):(\d\d):(\d\d)")
_FIRST = 2  # batches whose time says nothing of the others': code is made, caches are filled


class TimeLimit(Callback):
    """Asks for the end of a fit once another batch might not be over in time.

    A batch is reckoned to take as long as the longest so far, with a validation or a checkpoint between two.

    Args:
        session: The call; its time counts from here on.
        max_time: Of the call; None is no limit.
        environment: Of the process.
        clock: Seconds, for what passes.
        now: Seconds since 1970.
    """

    def __init__(
        self,
        session: RunSession,
        max_time: timedelta | None,
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.session = session
        self._clock = clock
        self._ends = {} if max_time is None else {"trainer.max_time is over": clock() + max_time.total_seconds()}
        if environment.get(JOB_END, "").isdecimal():
            left = int(environment[JOB_END]) - now() - SECONDS_TO_SAVE
            self._ends["the time of the SLURM job is nearly over"] = clock() + left
        self._batches, self._longest, self._before = 0, 0.0, clock()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Look at the clock; ``StopWhenTerminated`` does what is asked for."""
        now, self._batches = self._clock(), self._batches + 1
        if self._batches > _FIRST:
            self._longest = max(self._longest, now - self._before)
        self._before = now
        over = [reason for reason, end in self._ends.items() if now + self._longest >= end]
        if over:
            self.session.time_is_up = over[0]


def time_limit(value: Any) -> timedelta | None:
    """Return ``trainer.max_time`` as a duration, None where there is none.

    Args:
        value: DD:HH:MM:SS, a duration, or its parts such as ``{hours: 11, minutes: 30}``.

    Raises:
        UserError: It is something else, or no time at all.
    """
    if value is None:
        return None
    duration = value if isinstance(value, timedelta) else None
    if isinstance(value, str) and (form := _FORM.fullmatch(value.strip())):
        days, hours, minutes, seconds = map(int, form.groups())
        duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if isinstance(value, Mapping):
        try:
            duration = timedelta(**value)
        except TypeError:
            duration = None
    if duration is None or duration <= timedelta(0):
        raise UserError(f"trainer.max_time {value}: write DD:HH:MM:SS, such as 00:11:30:00 for eleven and a half hours")
    return duration
