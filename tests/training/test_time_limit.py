"""A fit with a time limit ends in time, with a checkpoint from which it goes on as if nothing had been."""

from __future__ import annotations

import functools
import itertools
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_configs import write_mae

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.training import stage_cli
from ecgcmr.training.time_limit import JOB_END, SECONDS_TO_SAVE, TimeLimit, time_limit


def steps_until_asked(limit: TimeLimit, clock: list[float], seconds: list[float]) -> int:
    """Return after how many batches of so many seconds each the end was asked for."""
    for number, passed in enumerate(seconds, start=1):
        clock[0] += passed
        limit.on_train_batch_end(None, None, None, None, number)
        if limit.session.time_is_up:  # type: ignore[truthy-bool]
            return number
    return 0


def limit_of(clock: list[float], max_time: timedelta | None, environment: dict[str, str] | None = None) -> TimeLimit:
    session: Any = SimpleNamespace(time_is_up="")
    return TimeLimit(session, max_time, environment or {}, lambda: clock[0], lambda: 1000.0 + clock[0])


def test_the_end_is_asked_for_before_a_batch_that_would_come_too_late() -> None:
    clock = [0.0]
    limit = limit_of(clock, timedelta(seconds=100))
    # The first takes as long as making code does; the sixth has a validation before it.
    assert steps_until_asked(limit, clock, [30, 1, 1, 1, 1, 20, 1, 1, 1, 1, 25, 1, 1]) == 11
    assert limit.session.time_is_up == "trainer.max_time is over"


def test_a_slurm_job_ends_before_its_time_is_over() -> None:
    clock = [0.0]
    limit = limit_of(clock, timedelta(days=1), {JOB_END: str(1100)})
    assert steps_until_asked(limit, clock, [2.0] * 60) == (100 - SECONDS_TO_SAVE) / 2 - 1
    assert "SLURM" in limit.session.time_is_up


@pytest.mark.parametrize("environment", [{}, {JOB_END: "soon"}])
def test_without_a_limit_nothing_ends(environment: dict[str, str]) -> None:
    clock = [0.0]
    assert steps_until_asked(limit_of(clock, None, environment), clock, [1e6] * 50) == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("01:02:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ({"hours": 11, "minutes": 30}, timedelta(hours=11.5)),
        (timedelta(minutes=5), timedelta(minutes=5)),
        (None, None),
    ],
)
def test_a_time_is_read_in_every_form_that_the_trainer_takes(value: Any, expected: timedelta | None) -> None:
    assert time_limit(value) == expected


@pytest.mark.parametrize("value", ["12:00", "5", "00:00:00:00", {"years": 1}, 60])
def test_what_is_no_time_is_refused_with_the_form_to_write(value: Any) -> None:
    with pytest.raises(UserError, match="trainer.max_time .*DD:HH:MM:SS"):
        time_limit(value)


@pytest.mark.long
def test_a_fit_whose_time_is_over_goes_on_exactly(
    tmp_path: Path, cohort_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_mae(tmp_path, cohort_root)
    folders = {name: tmp_path / name for name in ("whole", "limited")}

    def fit(name: str, *more: str) -> int:
        return main(["fit", "-c", str(config), f"--trainer.default_root_dir={folders[name]}", *more])

    assert fit("whole") == 0
    clock = functools.partial(next, itertools.count(0.0, 10.0))  # ten seconds a batch
    with monkeypatch.context() as patched:
        patched.setattr(stage_cli, "TimeLimit", functools.partial(TimeLimit, clock=clock))
        assert fit("limited", "--trainer.max_time=00:00:01:15") == 143
    error = capsys.readouterr().err
    assert "terminated; trainer.max_time is over: add --ckpt_path last to the same command to go on" in error
    stopped = torch.load(folders["limited"] / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < stopped < 12
    assert not (folders["limited"] / "encoder.safetensors").exists()
    assert fit("limited", "--ckpt_path=last") == 0
    states = [torch.load(folder / "last.ckpt", weights_only=True)["state_dict"] for folder in folders.values()]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
