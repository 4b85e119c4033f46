"""Tasks in processes and on a Dask cluster: all results, in order; faults in one line."""

from __future__ import annotations

import os
import signal

import pytest

from ecgcmr.errors import UserError
from ecgcmr.parallel import run_all


def square(x: int) -> int:
    return x * x


def die(x: int) -> int:
    if x == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.multiprocess)])
def test_results_come_in_order(workers: int, capsys: pytest.CaptureFixture) -> None:
    assert run_all(square, range(7), [3] * 7, workers=workers) == [x * x for x in range(7)]
    assert "21/21" in capsys.readouterr().err


@pytest.mark.multiprocess
def test_a_killed_worker_is_told_with_a_remedy() -> None:
    with pytest.raises(UserError, match="fewer --workers"):
        run_all(die, range(4), [1] * 4, workers=2)


@pytest.mark.multiprocess
@pytest.mark.slow
def test_dask_cluster() -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        address = cluster.scheduler_address
        assert run_all(abs, [-1, 2, -3], [1] * 3, workers=2, backend="dask", scheduler=address) == [1, 2, 3]


def test_backends_that_cannot_be_had_are_told() -> None:
    with pytest.raises(UserError, match="--scheduler"):
        run_all(square, [1], [1], workers=1, backend="dask")
    with pytest.raises(UserError, match="local, dask"):
        run_all(square, [1], [1], workers=1, backend="slurm")


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")

    def refuse(address: str, **_: object) -> None:
        raise OSError(f"timed out connecting to {address}")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(UserError, match="--scheduler tcp://127.0.0.1:1: no Dask scheduler answers"):
        run_all(square, [1], [1], workers=1, backend="dask", scheduler="tcp://127.0.0.1:1")
