"""Times are remembered for a machine and its versions; damage, a second writer and a read-only folder change no run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import torch

from ecgcmr.speed_choices import memory
from ecgcmr.speed_choices.memory import machine, machine_key, path_for, recall, remember
from ecgcmr.speed_choices.race import Race

TIMES = Race({"a": 0.25, "b": 0.5}, steady=True)
WAYS = {"a", "b"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_what_is_written_is_read() -> None:
    path = path_for("0123-float32")
    assert recall(path, WAYS) is None
    assert remember(path, TIMES, replace=False) == TIMES
    assert recall(path, WAYS) == recall(path, {"a"}) == TIMES
    assert recall(path, {"a", "c"}) is None


def test_it_lies_in_the_cache_folder_of_the_user(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert path_for("part").is_relative_to(cache / "ecgcmr")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert path_for("part").is_relative_to(Path.home() / ".cache" / "ecgcmr")


@pytest.mark.parametrize("what", ["processor", "instructions", "capability", "limits", "cores", "threads", "torch"])
def test_all_that_changes_times_changes_the_key(what: str) -> None:
    described = machine()
    assert machine_key(described) == machine_key(machine())
    assert machine_key({**described, what: "another"}) != machine_key(described)


def test_another_torch_or_limit_is_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    before = path_for("part")
    with monkeypatch.context() as context:
        context.setattr(torch, "__version__", "9.9.9")
        assert path_for("part") != before
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert path_for("part") != before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"null",
        b'{"seconds": {"a": "x", "b": 1}, "steady": true, "measured": 0}',
        b'{"seconds": {"a": NaN, "b": 1}, "steady": true, "measured": 0}',
        b'{"seconds": {"a": -1, "b": 1}, "steady": true, "measured": 0}',
        b'{"seconds": {"a": 1, "b": 1}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_as_none_and_is_written_anew(content: bytes) -> None:
    path = path_for("part")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert recall(path, WAYS) is None
    assert remember(path, TIMES, replace=False) == TIMES
    assert recall(path, WAYS) == TIMES


def test_of_two_that_measured_at_once_the_first_counts_for_both() -> None:
    path, later = path_for("part"), Race({"a": 9.0, "b": 1.0}, steady=True)
    remember(path, TIMES, replace=False)
    assert remember(path, later, replace=False) == TIMES
    assert recall(path, WAYS) == TIMES
    assert remember(path, later, replace=True) == later == recall(path, WAYS)
    assert os.listdir(path.parent) == [path.name]


def test_times_of_a_busy_machine_are_good_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    path, busy, now = path_for("part"), Race({"a": 1.0, "b": 2.0}, steady=False), time.time()
    remember(path, busy, replace=False)
    assert recall(path, WAYS) == busy
    monkeypatch.setattr(memory.time, "time", lambda: now + 3600.0)
    assert recall(path, WAYS) is None
    assert remember(path, TIMES, replace=False) == TIMES


def test_file_says_which_machine_it_is_of() -> None:
    path = path_for("part")
    remember(path, TIMES, replace=False)
    assert json.loads(path.read_text())["machine"] == machine()


def test_a_folder_that_cannot_be_written_raises_for_the_caller(cache: Path) -> None:
    (cache / "ecgcmr").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"ecgcmr|speed"):
        remember(path_for("part"), TIMES, replace=False)
