"""One call of ``fit``, ``validate``, ``test`` or ``predict``: who holds the folder, how it ends, how to go on."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from tensorboard.summary.writer.event_file_writer import _AsyncWriterThread

from ecgcmr.locks import FolderLock
from ecgcmr.termination import Terminated, Termination
from ecgcmr.training.run_claim import LAUNCHED_FOR, NEW_FOLDER, OVERWRITE, Leave, launch_mark, launched_for, run_files
from ecgcmr.training.whole_checkpoints import LAST

_SECONDS_TO_END = 30
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class RunSession:
    """What one call holds while it runs; entered around the trainer and left with it.

    Args:
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        leave: What the user allows where a folder holds a run.

    Attributes:
        termination: What to do at SIGTERM.
        folder: The run folder, once it is known.
        started: Whether training has begun, so that there is something to go on from.
        resumes: The checkpoint that a fit is to go on from; None if it begins anew.
        finished: Whether training has come to its end.
        stops_together: Whether all ranks have agreed to stop.
        searching: Whether a search runs before the fit.
        queue_again: Whether SLURM asked, by its signal, for this job to be saved and queued again.
        queued: What became of that, for the line that is printed; empty before.
        time_is_up: Why the time of the fit is over (``TimeLimit``); empty before.
    """

    def __init__(self, command: str, leave: Leave | None = None) -> None:
        self.command = command
        self.leave = leave or Leave()
        self.termination = Termination()
        self.folder: Path | None = None
        self.started = False
        self.resumes: Path | None = None
        self.finished = False
        self.stops_together = False
        self.searching = False
        self.queue_again = False
        self.queued = ""
        self.time_is_up = ""
        self._launched = launched_for() is not None
        self._stack = contextlib.ExitStack()
        self._trainer: Any = None
        self._last_before: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        """Receive SIGTERM, and keep the thread that writes TensorBoard's log quiet: its error is raised here too."""
        self._stack.enter_context(self.termination)
        if self._launched:
            # Ctrl-C in a terminal reaches every rank; rank zero ends the others and says how to go on.
            self._stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.SIG_IGN))
        hook = threading.excepthook

        def report(args: threading.ExceptHookArgs) -> None:
            if not isinstance(args.thread, _AsyncWriterThread):
                hook(args)

        threading.excepthook = report
        self._stack.callback(setattr, threading, "excepthook", hook)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the other ranks of a call that was cut off, give the folder back, say which folder a full disk is of."""
        if error is not None:
            self.end_ranks()
        self._stack.close()
        if isinstance(error, OSError) and error.errno in _DISK and error.filename is None and self.folder is not None:
            error.filename = str(self.folder)

    def hold(self, folder: Path, trainer: Any, *, writes: bool) -> None:
        """Keep other writers out of the run folder until the session ends; rank zero alone does.

        Args:
            folder: The run folder.
            trainer: The trainer; its ranks are ended with the session if that is cut off.
            writes: False if nothing at all will be written.

        Raises:
            UserError: Another process is writing there.
        """
        self.folder, self._trainer = folder, trainer
        self._last_before = _identity(folder / LAST)
        if writes and trainer.is_global_zero and not self._launched:
            self._stack.enter_context(FolderLock(folder, self.command))
            os.environ[LAUNCHED_FOR] = launch_mark(folder)  # for the ranks that this process starts
            self._stack.callback(os.environ.pop, LAUNCHED_FOR, None)

    @property
    def asked_to_end(self) -> bool:
        """Whether a signal or the time asks for an end at the next place to go on from."""
        return self.queue_again or self.termination.requests > 0 or bool(self.time_is_up)

    def advice(self) -> str:
        """Return how to go on after this call was cut off."""
        if self.queued:
            return self.queued
        if self.searching:
            return "the same command goes on with its search"
        if self.command != "fit" or self.folder is None:
            return "the same command begins anew"
        if self.finished:
            return f"training had come to its end, and all of it is in {self.folder}"
        last = self.folder / LAST
        if self.resumes is not None and self.resumes.resolve() == last.resolve():
            return "the same command goes on"
        place = f" with --trainer.default_root_dir {self.folder}" if self.leave.new_folder else ""
        flags = [f"--ckpt_path {self.resumes}"] if self.resumes is not None else []
        flags += [NEW_FOLDER] * self.leave.new_folder + [OVERWRITE] * self.leave.overwrite
        if self.started and _identity(last) not in (None, self._last_before):
            instead = f" in place of {' and '.join(flags)}" if flags else ""
            return f"add --ckpt_path last{instead} to the same command{place} to go on"
        begins = "begins anew" if self.resumes is None else f"begins again from {self.resumes}"
        if self.started and self._refused_next_time():
            return f"nothing to go on from yet: add {OVERWRITE} to the same command, which {begins}"
        return f"the same command {begins}"

    def _refused_next_time(self) -> bool:
        """Whether the folder holds a run by now that the same command may not touch."""
        if self.folder is None or self.leave.overwrite or self.leave.new_folder or not run_files(self.folder):
            return False
        return self.resumes is None or self.resumes.resolve().parent != self.folder.resolve()

    def ended(self) -> Terminated:
        """Return what to raise after a SIGTERM: it says how to go on.

        Of a rank that Lightning started nobody but rank zero sees the exit code, and takes any but 0 for a crash.
        """
        why = f"{self.time_is_up}: " if self.time_is_up else ""
        terminated = Terminated("" if self._launched else f"{why}{self.advice()}")
        if self._launched:
            terminated.code = 0
        return terminated

    def end_ranks(self) -> None:
        """End the ranks that Lightning started for this call, so that none is left behind or complains of the others.

        Those that were asked to stop together end by themselves; others would wait for rank zero for ever.
        """
        launcher = None if self._trainer is None else self._trainer.strategy.launcher
        if not isinstance(launcher, _SubprocessScriptLauncher):
            return
        ranks = list(launcher.procs)
        launcher.procs.clear()  # Lightning's observer of the same list kills this process once one of them has ended
        for rank in ranks:
            if self.stops_together:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    rank.wait(timeout=_SECONDS_TO_END)
            rank.kill()
            rank.wait()


def _identity(path: Path) -> tuple[int, int] | None:
    """By what a file that was replaced is told from the one before it; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
