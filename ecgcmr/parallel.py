"""Many tasks over local processes or a Dask cluster, with a progress bar that tells rate and remaining time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TypeVar

import joblib
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ecgcmr.errors import UserError
from ecgcmr.worker_processes import local_processes, refused_if_killed

BACKENDS = ("local", "dask")

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_all(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    sizes: Sequence[int],
    *,
    workers: int,
    backend: str = "local",
    scheduler: str | None = None,
    title: str = "preparing",
) -> list[Result]:
    """Call a function on every task, several at a time.

    Args:
        function: Importable from the workers.
        tasks: Its arguments.
        sizes: How much each task advances the bar.
        workers: Processes, or tasks in flight on a cluster.
        backend: ``local`` or ``dask``.
        scheduler: Address of the Dask scheduler, such as ``tcp://10.0.0.1:8786``.
        title: What stands before the bar.

    Returns:
        The results in the order of the tasks.

    Raises:
        UserError: A worker process died, or the cluster cannot be reached.
    """
    results: dict[int, Result] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with _engine(backend, scheduler), Progress(*columns, console=Console(file=sys.stderr)) as progress:
        bar = progress.add_task(title, total=sum(sizes), rate="")
        parallel = joblib.Parallel(n_jobs=workers, batch_size=1, return_as="generator_unordered")
        calls = (joblib.delayed(_numbered)(function, number, task) for number, task in enumerate(tasks))
        with refused_if_killed(), closing(parallel(calls)) as finished:
            for number, result in finished:
                results[number] = result
                progress.advance(bar, sizes[number])
                state = progress.tasks[0]
                progress.update(bar, rate=f"{state.completed / state.elapsed:.0f}/s" if state.elapsed else "")
    return [results[number] for number in range(len(tasks))]


def _numbered(function: Callable[[Task], Result], number: int, task: Task) -> tuple[int, Result]:
    return number, function(task)


@contextmanager
def _engine(backend: str, scheduler: str | None) -> Iterator[None]:
    """Choose where joblib runs its calls."""
    if backend == "local":
        with local_processes():
            yield
        return
    if backend != "dask":
        raise UserError(f"--backend {backend}: choose one of {', '.join(BACKENDS)}")
    if not scheduler:
        raise UserError("--backend dask: name the cluster with --scheduler ADDRESS, such as tcp://10.0.0.1:8786")
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError("--backend dask needs the package 'distributed': pip install 'ecgcmr[dask]'") from error
    try:
        client = Client(scheduler, timeout=10, set_as_default=True)
    except (OSError, ValueError) as error:
        raise UserError(f"--scheduler {scheduler}: no Dask scheduler answers there ({type(error).__name__})") from error
    with client, joblib.parallel_config(backend="dask", wait_for_workers_timeout=30):
        yield
