"""Parts over worker processes: order, equal work once, shares of the machine, and workers that fail or are lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from ecgcmr.errors import UserError
from ecgcmr.experiments import side_by_side
from ecgcmr.experiments.side_by_side import Part, SideBySide, jobs_of, share_of_machine
from ecgcmr.termination import EXIT_CODE

WORKER = """
import json, os, signal, sys
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    fields = json.loads(line)["fields"]
    if fields["does"] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if fields["does"] == "leaves":
        sys.exit(5)
    if fields["does"] == "fails too":  # the signal comes as it fails by itself, and is lost
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.alarm(20)
    try:
        print(json.dumps({"error": fields["error"], "mistake": fields["mistake"]}), flush=True)
    except BrokenPipeError:  # the experiment has ended already
        os._exit(143)
"""
"""Speaks like ``run_worker`` and needs no torch."""


@dataclass(frozen=True)
class Asked:
    """A request whose result is a name in a set."""

    name: str
    there: set[str] = field(hash=False, compare=False)
    key_of: str = ""
    does: str = "works"
    error: str | None = None
    mistake: bool = True

    @property
    def key(self) -> str:
        return self.key_of or self.name

    def is_done(self) -> bool:
        return self.key in self.there

    def carry_out(self) -> None:
        raise AssertionError("a worker does it")

    def plain(self) -> dict[str, Any]:
        self.there.add(self.key)  # it is on its way, and will be there once it is answered
        return {"does": self.does, "error": self.error, "mistake": self.mistake}

    @classmethod
    def of_plain(cls, fields: Mapping[str, Any]) -> Self:
        raise NotImplementedError


@dataclass
class Course:
    """What a run showed."""

    lines: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)

    def began(self) -> list[str]:
        return [line.removesuffix(": begins") for line in self.lines if line.endswith(": begins")]


@pytest.fixture
def course(monkeypatch: pytest.MonkeyPatch) -> Course:
    def started(number: int, jobs: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(side_by_side, "_start", started)
    return Course()


def run(course: Course, parts: Sequence[Part], jobs: int, folder: Path) -> None:
    SideBySide(jobs, folder, course.lines.append, lambda name, seconds: course.finished.append(name)).run(parts)


def asks(*requests: Asked) -> Callable[[], list[Asked]]:
    return lambda: list(requests)


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_part_begins_when_its_needs_are_finished(course: Course, tmp_path: Path, jobs: int) -> None:
    there: set[str] = set()
    parts = [
        Part("last", ("left", "right"), asks(Asked("last", there))),
        Part("left", ("first",), asks(Asked("left", there))),
        Part("right", ("first",), asks(Asked("right a", there), Asked("right b", there)), prefix="cell/"),
        Part("first", ("finished before",), asks(Asked("first", there))),
    ]
    run(course, parts, jobs, tmp_path)
    assert sorted(course.finished) == ["cell/right a", "cell/right b", "first", "last", "left"]
    assert course.began()[0] == "first"
    assert course.began()[-1] == "last"
    before = course.lines[: course.lines.index("last: begins")]
    assert {line.split(":")[0] for line in before if line.endswith(" s")} == {
        "first",
        "left",
        "cell/right a",
        "cell/right b",
    }


def test_the_longest_chain_begins_first(course: Course, tmp_path: Path) -> None:
    there: set[str] = set()
    parts = [Part(name, (), asks(Asked(name, there)), weight) for name, weight in (("a", 1.0), ("b", 9.0), ("c", 3.0))]
    run(course, parts, 1, tmp_path)
    assert course.began() == ["b", "c", "a"]


def test_equal_work_is_done_once_and_finished_work_not_at_all(course: Course, tmp_path: Path) -> None:
    there = {"known"}
    parts = [
        Part("one", (), asks(Asked("one", there, key_of="same"))),
        Part("two", (), asks(Asked("two", there, key_of="same"))),
        Part("after two", ("two",), asks(Asked("after two", there))),
        Part("known", (), asks(Asked("known", there))),
        Part("nothing", (), asks()),
        Part("after both", ("known", "nothing"), asks(Asked("after both", there))),
    ]
    run(course, parts, 2, tmp_path)
    assert sorted(course.began()) == ["after both", "after two", "one"]


def test_all_done_starts_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "_start", lambda *_: pytest.fail("a worker was started"))
    course = Course()
    run(course, [Part("known", (), asks(Asked("known", {"known"})))], 2, tmp_path)
    assert course.lines == []


@pytest.mark.parametrize(
    ("request_of", "words"),
    [
        ({"error": "lr is NaN; lower it"}, "bad: lr is NaN; lower it$"),
        ({"error": "KeyError: 3", "mistake": False}, "bad: KeyError: 3; what it printed is in logs/bad.log"),
        ({"does": "dies"}, "bad: a worker process was killed, most likely for want of memory; .*fewer --jobs"),
        ({"does": "leaves"}, "bad: a worker process ended with code 5"),
    ],
)
def test_a_part_that_fails_is_named_and_ends_the_others(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_of: dict[str, Any], words: str
) -> None:
    workers: list[subprocess.Popen[bytes]] = []
    start = side_by_side._start

    def kept(number: int, jobs: int) -> subprocess.Popen[bytes]:
        workers.append(start(number, jobs))
        return workers[-1]

    monkeypatch.setattr(side_by_side, "_start", kept)
    parts = [
        Part("bad", (), asks(Asked("bad", set(), **request_of)), 2.0),
        Part("good", (), asks(Asked("good", set())), 1.0),
        Part("never", ("bad",), asks(Asked("never", set()))),
    ]
    with pytest.raises(UserError, match=words):
        run(course, parts, 2, tmp_path / "logs")
    assert "never" not in course.began()
    assert all(worker.returncode is not None for worker in workers)


def test_two_parts_that_fail_at_once_end_the_experiment(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, workers = side_by_side._start, list[subprocess.Popen[bytes]]()

    def noted(number: int, jobs: int) -> subprocess.Popen[bytes]:
        workers.append(started(number, jobs))
        return workers[-1]

    monkeypatch.setattr(side_by_side, "_start", noted)
    there: set[str] = set()
    parts = [Part(name, (), asks(Asked(name, there, does="fails too", error="full"))) for name in ("a", "b")]
    with pytest.raises(UserError, match="full"):
        run(course, parts, 2, tmp_path)
    assert {worker.returncode for worker in workers} <= {0, EXIT_CODE, -signal.SIGTERM}  # by no alarm of theirs


def test_a_worker_whose_experiment_has_ended_says_nothing() -> None:
    words = "import sys\nfrom ecgcmr.experiments import run_worker\nrun_worker.import_heavy = lambda name: None\n"
    read, write = os.pipe()
    os.close(read)
    call = [sys.executable, "-c", f"{words}sys.exit(run_worker.serve())"]
    worker = subprocess.run(call, stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (worker.returncode, worker.stderr) == (EXIT_CODE, b"")


def test_each_worker_has_its_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in side_by_side._THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(side_by_side, "available_cores", lambda: 8)
    monkeypatch.setattr(side_by_side, "visible_gpus", list)
    assert set(share_of_machine(1, 3).values()) == {"2"}
    assert "CUDA_VISIBLE_DEVICES" not in share_of_machine(1, 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert share_of_machine(0, 2)["OMP_NUM_THREADS"] == "1"  # as the user says
    monkeypatch.setattr(side_by_side, "visible_gpus", lambda: ["4", "6"])
    assert [share_of_machine(number, 3)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == ["4", "6", "4"]
    assert "CUDA_VISIBLE_DEVICES" not in share_of_machine(0, 1)  # one part may use them all


def test_jobs_by_default_are_the_cores_but_one_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "available_cores", lambda: 3)
    monkeypatch.setattr(side_by_side, "visible_gpus", list)
    assert (jobs_of(None), jobs_of(7)) == (3, 7)
    monkeypatch.setattr(side_by_side, "available_cores", lambda: 64)
    assert jobs_of(None) == 4
    monkeypatch.setattr(side_by_side, "visible_gpus", lambda: ["0"])
    assert jobs_of(None) == 1
    with pytest.raises(UserError, match="--jobs 0: at least 1"):
        jobs_of(0)


def test_workers_do_not_hear_the_terminal() -> None:
    """Ctrl-C is for the experiment: a worker that got it too would be asked to end twice."""
    worker = subprocess.Popen(["sleep", "30"], process_group=0)
    try:
        assert os.getpgid(worker.pid) != os.getpgrp()
    finally:
        worker.kill()
        worker.wait()
