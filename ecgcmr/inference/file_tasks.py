"""Files read, prepared and judged, in this process or in several; no torch is imported there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.ecg_file import read_ecg
from ecgcmr.formats.file_person import sex_and_age
from ecgcmr.inference.model_entries import Preparation
from ecgcmr.inference.person import Person
from ecgcmr.inference.recording import PreparedRecording, Preparer

BLOCK = 64
"""Files that go through the network together."""
FEW = 12
"""So many files are read by this process alone: starting others takes longer."""
_CHUNK = 8

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class FileTask:
    """Some files to read.

    Attributes:
        preparation: The model's recipe.
        paths: The files.
        keep_windows: Whether the signal before cleaning is wanted too, for the page.
    """

    preparation: Preparation
    paths: tuple[Path, ...] = field(repr=False)
    keep_windows: bool = False


@dataclass(frozen=True)
class FileRead:
    """What became of one file.

    Attributes:
        recording: None if it could not be read.
        failed: Why, without the file's name; None if it was read.
        person: What it states of the person.
    """

    recording: PreparedRecording | None
    failed: str | None
    person: Person


def read_files(task: FileTask) -> list[FileRead]:
    """Read and prepare each file of a task; a failure of one costs no other."""
    preparer = Preparer(task.preparation)
    return [_read(preparer, path, keep=task.keep_windows) for path in task.paths]


def _read(preparer: Preparer, path: Path, *, keep: bool) -> FileRead:
    try:
        recording = preparer.prepare(read_ecg(path), path.name)
        sex, age = sex_and_age(path)
    except UserError as error:
        return FileRead(None, str(error).removeprefix(f"{path.name}: "), Person())
    except OSError as error:
        return FileRead(None, f"cannot be read ({error.strerror})", Person())
    except MemoryError:
        raise
    except Exception as error:  # a fault of this program with one strange file must not cost the other files
        return FileRead(None, f"unexpected {type(error).__name__}; please report it as a bug", Person())
    if not keep:  # four times the size of what the network needs, which would travel between processes
        nothing = np.empty((12, 0))
        windows = tuple(replace(w, window=replace(w.window, signal=nothing)) for w in recording.windows)
        recording = replace(recording, windows=windows)
    return FileRead(recording, None, Person(sex, age))


class Workers:
    """Calls a function on many arguments, in processes of their own where there are enough."""

    def __init__(self, count: int) -> None:
        """Take the number of processes; 1 = this one alone."""
        self.count = count

    def start(self, function: Callable[[T], R], arguments: Sequence[T]) -> Callable[[], list[R]]:
        """Begin with calls, and return what waits for their results, in order; in one process they begin then.

        Raises:
            UserError: A process was killed (when the results are waited for).
        """
        if self.count < 2 or len(arguments) < 2:
            return lambda: [function(argument) for argument in arguments]
        from ecgcmr.worker_processes import submit

        return submit(function, arguments, self.count)

    def map(self, function: Callable[[T], R], arguments: Sequence[T]) -> list[R]:
        """Return the results in order.

        Raises:
            UserError: A process was killed.
        """
        return self.start(function, arguments)()


@contextmanager
def open_workers(count: int, files: int) -> Iterator[Workers]:
    """Give worker processes, which end with the block; few files need none."""
    with ExitStack() as stack:
        if files <= FEW or count < 2:
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(1, "blas"))  # else the others spin between short calls
            yield Workers(1)
            return
        from ecgcmr.worker_processes import local_processes

        stack.enter_context(local_processes())
        yield Workers(count)


def read_ahead(
    workers: Workers, preparation: Preparation, paths: Sequence[Path], *, keep_windows: bool
) -> Iterator[list[FileRead]]:
    """Read files, several at a time, and the next ``BLOCK`` of them while the caller works on the last.

    Args:
        workers: Processes.
        preparation: The model's recipe.
        paths: The files.
        keep_windows: As in ``FileTask``.

    Yields:
        ``BLOCK`` files after the other, in order.
    """
    waiting: deque[Callable[[], list[list[FileRead]]]] = deque()
    for start in range(0, len(paths), BLOCK):
        block = paths[start : start + BLOCK]
        tasks = [
            FileTask(preparation, tuple(block[n : n + _CHUNK]), keep_windows) for n in range(0, len(block), _CHUNK)
        ]
        waiting.append(workers.start(read_files, tasks))
        if len(waiting) > 1:
            yield list(chain.from_iterable(waiting.popleft()()))
    while waiting:
        yield list(chain.from_iterable(waiting.popleft()()))
