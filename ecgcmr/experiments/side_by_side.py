"""Independent parts of an experiment side by side, each in one of a few worker processes.

A part begins as soon as what it needs is finished. Each worker has its share of the processor cores, or one of the
GPUs, so that a part computes the same whatever runs beside it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib

from ecgcmr.errors import UserError
from ecgcmr.experiments.requests import Request
from ecgcmr.termination import EXIT_CODE, Terminated

_THREADS = tuple(f"{name}_NUM_THREADS" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"))


@dataclass(frozen=True)
class Part:
    """A part of an experiment.

    Attributes:
        name: For people, and for ``needs`` of others.
        needs: Parts that must be finished; names that are no part are taken as finished.
        requests: Makes the requests once these are finished; several go to workers one by one.
        weight: Parts of a larger one begin first.
        prefix: Before the names of its requests, for people and logs.
    """

    name: str
    needs: tuple[str, ...]
    requests: Callable[[], Sequence[Request]]
    weight: float = 0.0
    prefix: str = ""


@dataclass(frozen=True)
class _Item:
    """A request that waits for a worker."""

    part: Part
    request: Request
    key: str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.part.prefix}{self.request.name}"


@dataclass
class _Worker:
    """A worker process and what it is doing."""

    process: subprocess.Popen[bytes]
    ready: bool = False
    item: _Item | None = None
    since: float = 0.0
    unread: bytes = b""


@dataclass
class SideBySide:
    """Runs parts over worker processes.

    Attributes:
        jobs: Workers.
        logs: Folder of a log for each request.
        show: Prints a line.
        finished: Is given the name of each request that was carried out, with its prefix, and its seconds.
    """

    jobs: int
    logs: Path
    show: Callable[[str], None]
    finished: Callable[[str, float], None]
    _waiting: list[Part] = field(default_factory=list, init=False)
    _open: dict[str, int] = field(default_factory=dict, init=False)
    _queue: list[_Item] = field(default_factory=list, init=False)
    _twins: dict[str, list[_Item]] = field(default_factory=dict, init=False)
    _workers: list[_Worker] = field(default_factory=list, init=False)

    def run(self, parts: Sequence[Part]) -> None:
        """Run all parts.

        Raises:
            UserError: One failed, in its words; what ran beside it has been ended, and goes on from its checkpoints.
        """
        self._waiting = sorted(parts, key=lambda part: -part.weight)
        self._open = {part.name: 1 for part in parts}  # until its requests are known
        with self._ended_with_us(), selectors.DefaultSelector() as selector:
            self._release()
            while self._queue or any(worker.item for worker in self._workers):
                self._start_workers(selector)
                self._hand_out()
                for key, _ in selector.select():
                    self._hear(key.data, selector)

    def _release(self) -> None:
        """Queue the requests of every part whose needs are finished; what is done already releases more."""
        released = True
        while released:
            released = False
            for part in [part for part in self._waiting if not any(self._open.get(need) for need in part.needs)]:
                self._waiting.remove(part)
                requests = part.requests()
                self._open[part.name] = len(requests)
                for request in requests:
                    self._take_up(_Item(part, request, request.key))
                released = True
        self._queue.sort(key=lambda item: -item.part.weight)

    def _take_up(self, item: _Item) -> None:
        """Queue a request, let it wait for one of the same result, or strike it out if the result is there."""
        if item.key in self._twins:
            self._twins[item.key].append(item)
        elif item.request.is_done():
            self._open[item.part.name] -= 1
        else:
            self._twins[item.key] = []
            self._queue.append(item)

    def _start_workers(self, selector: selectors.BaseSelector) -> None:
        """Start as many workers as there is work for."""
        busy = sum(worker.item is not None for worker in self._workers)
        while len(self._workers) < min(self.jobs, busy + len(self._queue)):
            worker = _Worker(_start(len(self._workers), self.jobs))
            self._workers.append(worker)
            selector.register(_output(worker), selectors.EVENT_READ, worker)

    def _hand_out(self) -> None:
        for worker in self._workers:
            if worker.ready and worker.item is None and self._queue:
                worker.item = self._queue.pop(0)
                worker.since = time.perf_counter()
                request = worker.item.request
                self.show(f"{worker.item.name}: begins")
                task = {"kind": type(request).__name__, "fields": request.plain(), "log": str(self.log(worker.item))}
                try:
                    _send(worker, json.dumps(task).encode() + b"\n")
                except BrokenPipeError:
                    self._lost(worker)

    def log(self, item: _Item) -> Path:
        """Return the file that what a request prints goes to."""
        return self.logs / f"{item.name.replace('/', '-').replace(' ', '-')}.log"

    def _hear(self, worker: _Worker, selector: selectors.BaseSelector) -> None:
        """Read what a worker says."""
        came = os.read(_output(worker), 1 << 16)
        if not came:
            selector.unregister(_output(worker))
            self._lost(worker)
        *lines, worker.unread = (worker.unread + came).split(b"\n")
        for line in lines:
            self._answered(worker, json.loads(line))

    def _answered(self, worker: _Worker, answer: Any) -> None:
        item = worker.item
        if item is None:
            worker.ready = True
            return
        seconds = time.perf_counter() - worker.since
        worker.item = None
        if answer["error"] is not None:
            log = self.log(item)
            where = f"; what it printed is in {log.parent.name}/{log.name}"
            raise UserError(f"{item.name}: {answer['error']}{'' if answer['mistake'] else where}")
        self.show(f"{item.name}: {seconds:.1f} s")
        self.finished(item.name, seconds)
        self._open[item.part.name] -= 1
        for twin in self._twins.pop(item.key):
            self._take_up(twin)
        self._release()

    def _lost(self, worker: _Worker) -> None:
        """Say that a worker has ended unasked.

        Raises:
            Terminated: By SIGTERM.
            UserError: Else.
        """
        code = worker.process.wait()
        if code in (EXIT_CODE, -signal.SIGTERM):
            raise Terminated
        what = "" if worker.item is None else f"{worker.item.name}: "
        if code == -signal.SIGKILL:
            raise UserError(
                f"{what}a worker process was killed, most likely for want of memory; run the same command again with "
                "fewer --jobs (what is finished is kept)"
            )
        raise UserError(f"{what}a worker process ended with code {code}; its log is in {self.logs.name}")

    @contextmanager
    def _ended_with_us(self) -> Iterator[None]:
        """End the workers in the end: with their input where all is done, else by SIGTERM, so that they keep state."""
        try:
            yield
        except BaseException:
            for worker in self._workers:
                worker.process.terminate()
            raise
        finally:
            # Whoever was failing by itself when the signal came has answered, and ends with its input.
            for worker in self._workers:
                _close(worker)
            for worker in self._workers:
                worker.process.wait()


def _start(number: int, jobs: int) -> subprocess.Popen[bytes]:
    """Start a worker, out of the terminal's reach: Ctrl-C is for the experiment, which ends its workers."""
    environment = {**os.environ, **share_of_machine(number, jobs)}
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return subprocess.Popen(
        [sys.executable, "-m", "ecgcmr.experiments.run_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        process_group=0,
    )


def share_of_machine(number: int, jobs: int) -> dict[str, str]:
    """Return the environment that gives a worker its share: of the cores, and one GPU where there are several jobs.

    Args:
        number: Of the worker, from 0.
        jobs: Workers in all.
    """
    threads = str(max(1, available_cores() // jobs))
    share = {name: os.environ.get(name, threads) for name in _THREADS}
    gpus = visible_gpus()
    if gpus and jobs > 1:
        share["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return share


def available_cores() -> int:
    """Return the processor cores that this process may use."""
    return joblib.cpu_count()


def visible_gpus() -> list[str]:
    """Return the GPUs of this process, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    if count and given:
        return given.split(",")[:count]
    return [str(number) for number in range(count)]


def jobs_of(asked: int | None) -> int:
    """Return how many parts run side by side: what is asked for, else one on GPUs, on a CPU one a core, four at most.

    Small networks gain little from a second core, and nothing from a fifth part that waits for memory.

    Raises:
        UserError: Fewer than one is asked for.
    """
    if asked is not None and asked < 1:
        raise UserError(f"--jobs {asked}: at least 1 must run")
    return asked or (1 if visible_gpus() else min(4, available_cores()))


def _send(worker: _Worker, line: bytes) -> None:
    if worker.process.stdin is None:
        raise RuntimeError("a worker has no input")
    worker.process.stdin.write(line)
    worker.process.stdin.flush()


def _close(worker: _Worker) -> None:
    for pipe in (worker.process.stdin, worker.process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # what it was sent last never reached it
                pipe.close()


def _output(worker: _Worker) -> int:
    if worker.process.stdout is None:
        raise RuntimeError("a worker has no output")
    return worker.process.stdout.fileno()
