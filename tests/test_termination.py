"""SIGTERM and SIGINT end a command with 143 and 130 and one line, also where Python or a library swallows them."""

from __future__ import annotations

import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from ecgcmr import cli
from ecgcmr.errors import UserError
from ecgcmr.termination import SECONDS_UNTIL_AGAIN, Terminated, Termination, until_asked_to_end

SIGNALS = [(signal.SIGTERM, 143, "terminated; "), (signal.SIGINT, 130, "interrupted; ")]


class Finalised:
    """Is struck by a signal while Python takes it down."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


def in_finaliser(number: signal.Signals) -> None:
    Finalised(number)


def in_callback(number: signal.Signals) -> None:
    thing = type("Thing", (), {})()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(number))
    del thing
    assert reference() is None


def in_closed_generator(number: signal.Signals) -> None:
    def rows() -> Iterator[int]:
        try:
            yield 1
        finally:
            signal.raise_signal(number)

    for _ in rows():
        break


SWALLOWED = [in_finaliser, in_callback, in_closed_generator]


def command(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command that does ``work``."""

    def run(*_: object) -> int:
        work()
        return 0

    monkeypatch.setattr(cli, "_run_command", run)
    return cli.main(["prepare"])


@pytest.mark.parametrize(("number", "code", "line"), SIGNALS)
@pytest.mark.parametrize("swallow", SWALLOWED)
def test_a_signal_that_python_swallows_ends_the_work_soon(
    swallow: Callable[[signal.Signals], None],
    number: signal.Signals,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    reached = []

    def work() -> None:
        swallow(number)
        threading.Event().wait(20)  # waits in the operating system
        reached.append(True)

    began = time.monotonic()
    assert command(work, monkeypatch) == code
    assert not reached
    assert time.monotonic() - began < 10
    error = capfd.readouterr().err
    assert error.startswith(line)
    assert error.count("\n") == 1


@pytest.mark.parametrize(("number", "code", "line"), SIGNALS)
def test_a_signal_that_comes_just_before_the_end_is_no_success(
    number: signal.Signals, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(lambda: in_finaliser(number), monkeypatch) == code
    assert capfd.readouterr().err.startswith(line)
    time.sleep(2 * SECONDS_UNTIL_AGAIN)  # it does not come again once the command has ended
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(("number", "code", "line"), SIGNALS)
def test_a_signal_of_which_a_library_makes_an_error_is_a_signal(
    number: signal.Signals, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        try:
            signal.raise_signal(number)
        except BaseException as error:
            raise UserError("a worker process was killed") from error

    assert command(work, monkeypatch) == code
    assert capfd.readouterr().err.startswith(line)


def test_what_an_inner_part_received_the_command_knows() -> None:
    def work() -> None:
        with Termination() as inner:
            inner.deferred = True
            signal.raise_signal(signal.SIGTERM)

    ended = until_asked_to_end()
    ended.__enter__()
    work()
    with pytest.raises(Terminated):
        ended.__exit__(None, None, None)


def test_other_swallowed_errors_are_still_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: reported.append(it.exc_type))

    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    with Termination():
        Broken()
    assert reported == [ValueError]


def test_an_ignored_sigint_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with until_asked_to_end():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert signal.getsignal(signal.SIGINT) == earlier
