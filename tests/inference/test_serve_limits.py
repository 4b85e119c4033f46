"""What slow, many and idle clients can do to a server, how recordings are put together, and how it stops."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from served import Echo, Served, served

httpx = pytest.importorskip("httpx")

from ecgcmr.inference.serve.limits import Limits  # noqa: E402
from ecgcmr.inference.serve.pipeline import Busy, Pipeline  # noqa: E402
from ecgcmr.inference.serve.predictor import Upload, Wanted  # noqa: E402

LIMITS = Limits(request_bytes=50_000, held_bytes=80_000, files=4, recordings=4, connections=12)
SHORT = replace(
    LIMITS, header_seconds=0.5, body_seconds=0.5, work_seconds=0.5, send_seconds=0.5, idle_seconds=0.3
)  # fmt: skip
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def server(echo: Echo) -> Iterator[Served]:
    with served(echo, LIMITS) as running:
        yield running


@pytest.fixture
def hasty(echo: Echo) -> Iterator[Served]:
    """A server that waits for nothing."""
    with served(echo, SHORT) as running:
        yield running


def post(server: Served, content: bytes = b"x", count: int = 1) -> httpx.Response:
    files = [("files", (f"{place}.xml", content)) for place in range(count)]
    with httpx.Client(trust_env=False, timeout=20) as client:
        return client.post(f"{server.address}/v1/predict", files=files)


def until(condition) -> None:
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def ended(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def drip(connection: socket.socket, content: bytes) -> bytes:
    """Send byte by byte, for 10 s at most, until the server answers."""
    connection.settimeout(0.02)
    for place in range(500):
        with contextlib.suppress(OSError):
            connection.send(content[place % len(content) : place % len(content) + 1])
        try:
            return connection.recv(65_536)
        except TimeoutError:
            continue
    raise AssertionError("it takes all the time that it is given")


def test_a_head_that_drips_in_is_refused(hasty: Served) -> None:
    with hasty.connected() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        assert drip(connection, b"X-Slow: 1\r\n").startswith(b"HTTP/1.1 408 ")


def test_a_body_that_drips_in_is_refused(hasty: Served) -> None:
    with hasty.connected() as connection:
        part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        connection.sendall(HEAD + b"Content-Length: 40000\r\n\r\n" + part)
        answer = drip(connection, b"x")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer.lower()
    assert post(hasty).status_code == 200


def test_a_silent_connection_is_closed(hasty: Served) -> None:
    with hasty.connected() as connection:
        assert ended(connection).startswith(b"HTTP/1.1 408 ")
    with hasty.connected() as connection:  # after a request it is idle
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert ended(connection).startswith(b"HTTP/1.1 200 ")
    until(lambda: not hasty.server.server_state.connections)


def test_a_body_that_nobody_reads_cannot_drip_in_for_ever(hasty: Served) -> None:
    with hasty.connected() as connection:
        connection.sendall(b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000\r\n\r\n")
        until(lambda: connection.send(b"x") and not hasty.server.server_state.connections)


def test_a_client_that_waits_to_be_asked_for_its_body_is_refused_before_it_sends(server: Served) -> None:
    with server.connected() as connection:
        connection.sendall(HEAD + b"Content-Length: 999999\r\nExpect: 100-continue\r\n\r\n")
        assert ended(connection).startswith(b"HTTP/1.1 413 ")


def test_more_connections_than_allowed_are_asked_to_come_again(server: Served) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(server.connected()) for _ in range(LIMITS.connections)]
        until(lambda: len(server.server.server_state.connections) == len(held))
        with server.connected() as one_more:
            answer = ended(one_more)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 2" in answer
    until(lambda: not server.server.server_state.connections)
    assert post(server).status_code == 200


def test_a_full_queue_answers_503_and_is_emptied_again(server: Served, echo: Echo) -> None:
    echo.free.clear()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(post, server) for _ in range(4)]
        until(lambda: server.pipeline.taken == 4)
        busy = post(server)
        assert busy.status_code == 503
        assert busy.headers["Retry-After"] == "2"
        echo.free.set()
        assert [one.result().status_code for one in waiting] == [200] * 4
    assert post(server, count=4).status_code == 200


def test_work_that_takes_too_long_is_given_up_and_keeps_its_place_until_it_ends(hasty: Served, echo: Echo) -> None:
    echo.free.clear()
    answer = post(hasty, count=2)
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert hasty.pipeline.taken == 2
    echo.free.set()
    until(lambda: hasty.pipeline.taken == 0)
    assert post(hasty).status_code == 200


def test_bodies_that_are_held_together_are_bounded(server: Served, echo: Echo) -> None:
    echo.free.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, server, b"x" * 45_000)
        until(lambda: server.pipeline.taken == 1)
        assert post(server, b"x" * 45_000).status_code == 503
        echo.free.set()
        assert first.result().status_code == 200
    assert post(server, b"x" * 45_000).status_code == 200


def test_recordings_that_wait_go_through_the_network_together() -> None:
    echo = Echo()
    echo.free.clear()
    pipeline = Pipeline(echo, places=20, batch=8, readers=2)
    first = pipeline.submit([[Upload("a", b"x")]], Wanted("predict"))
    until(lambda: echo.asked == 1)
    rest = pipeline.submit([[Upload(f"{place}", b"x")] for place in range(19)], Wanted("predict"))
    until(lambda: pipeline.waiting == 19)
    with pytest.raises(Busy):
        pipeline.submit([[Upload("b", b"x")]], Wanted("embed"))
    rest[3].abandoned = True
    echo.free.set()
    pipeline.close()
    assert sorted(echo.batches) == [1, 3, 7, 8]  # 19 as 8, 8 and 3; of one of them nobody wanted to know
    assert [job.answer.result()[0]["file"] for job in (*first, *rest) if not job.abandoned] == [
        "a", *(f"{place}" for place in range(19) if place != 3)
    ]  # fmt: skip
    assert pipeline.taken == 0
    with pytest.raises(Busy):
        pipeline.submit([[Upload("b", b"x")]], Wanted("embed"))


def test_a_server_that_stops_finishes_what_it_has_begun(server: Served, echo: Echo) -> None:
    echo.free.clear()
    with ThreadPoolExecutor(1) as pool, server.connected() as idle:
        begun = pool.submit(post, server)
        until(lambda: server.pipeline.taken == 1)
        server.server.should_exit = True
        until(lambda: not server.server.servers[0].is_serving())
        assert ended(idle) == b""
        threading.Timer(0.2, echo.free.set).start()
        assert begun.result().status_code == 200
