"""Work of a server: a few threads read recordings, one sends those that wait through the network together.

Admission is bounded. A place is given back when the work on its recording has ended, and not when a request stopped
waiting for it: so the bound holds whatever clients do.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ecgcmr.inference.serve.predictor import Predictor, Upload, Wanted

RETRY_SECONDS = 2
"""When it is worth while for a client to ask again."""


class Busy(Exception):
    """There is no place for so many recordings now."""


class Abandoned(Exception):
    """Nobody waits for the recording any more."""


@dataclass(eq=False)
class Job:
    """One recording on its way.

    Attributes:
        files: Its files; let go as soon as they are read.
        wanted: What is asked of it.
        answer: Comes to hold the JSON, or what went wrong.
        abandoned: Set where nobody waits any more; what has not begun is left out.
    """

    files: Sequence[Upload]
    wanted: Wanted
    answer: Future[list[dict[str, Any]]] = field(default_factory=Future)
    abandoned: bool = False


class Pipeline:
    """Reads and answers for recordings, as many together as wait.

    Attributes:
        is_open: Whether it takes recordings.
    """

    def __init__(self, predictor: Predictor, *, places: int, batch: int, readers: int) -> None:
        """Start the threads.

        Args:
            predictor: The model.
            places: Most recordings that wait or are worked on.
            batch: Most recordings of one call of the network.
            readers: Threads that read.
        """
        self._predictor, self._places, self._batch = predictor, places, batch
        self._taken = 0
        self._lock = threading.Lock()
        self._read: queue.SimpleQueue[tuple[Job, object] | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="reader")
        self._network = threading.Thread(target=self._answer_all, name="network", daemon=True)
        self._network.start()
        self.is_open = True

    def submit(self, recordings: Sequence[Sequence[Upload]], wanted: Wanted) -> list[Job]:
        """Take recordings on, all or none.

        Args:
            recordings: Files of each.
            wanted: What is asked of all of them.

        Raises:
            Busy: There is no place for them now.
        """
        with self._lock:
            if not self.is_open or self._taken + len(recordings) > self._places:
                raise Busy
            self._taken += len(recordings)
        jobs = [Job(files, wanted) for files in recordings]
        for job in jobs:
            job.answer.set_running_or_notify_cancel()  # from here no waiter can end it before its work has ended
            job.answer.add_done_callback(self._give_back)
            self._readers.submit(self._read_one, job)
        return jobs

    @property
    def taken(self) -> int:
        """Recordings that wait or are worked on."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Recordings that were read and wait for the network."""
        return self._read.qsize()

    @property
    def is_alive(self) -> bool:
        """Whether answers can come."""
        return self.is_open and self._network.is_alive()

    def close(self, *, finish: bool = True) -> None:
        """Take no more.

        Args:
            finish: Finish what was taken on; else only what is being read, and nobody gets an answer any more.
        """
        with self._lock:
            was_open, self.is_open = self.is_open, False
        if was_open:
            self._readers.shutdown(wait=finish, cancel_futures=not finish)
        if was_open and finish:
            self._read.put(None)
            self._network.join()

    def _give_back(self, answer: Future[list[dict[str, Any]]]) -> None:
        with self._lock:
            self._taken -= 1

    def _read_one(self, job: Job) -> None:
        try:
            if job.abandoned:
                raise Abandoned
            reading = self._predictor.read(job.files, job.wanted)
        except BaseException as error:
            job.answer.set_exception(error)
        else:
            self._read.put((job, reading))
        finally:
            job.files = ()

    def _answer_all(self) -> None:
        while (first := self._read.get()) is not None:
            self._answer([first, *self._waiting(self._batch - 1)])

    def _waiting(self, most: int) -> list[tuple[Job, object]]:
        """Return what has been read meanwhile."""
        found: list[tuple[Job, object]] = []
        while len(found) < most and not self._read.empty():
            more = self._read.get()
            if more is None:
                self._read.put(None)  # the end, of which the loop is to hear
                break
            found.append(more)
        return found

    def _answer(self, batch: list[tuple[Job, object]]) -> None:
        for job, _ in batch:
            if job.abandoned:
                job.answer.set_exception(Abandoned())
        kept = [(job, reading) for job, reading in batch if not job.answer.done()]
        try:
            answers = self._predictor.answer([reading for _, reading in kept]) if kept else []
            for (job, _), answer in zip(kept, answers, strict=True):
                job.answer.set_result(answer)
        except BaseException as error:
            for job, _ in kept:
                if not job.answer.done():
                    job.answer.set_exception(error)
