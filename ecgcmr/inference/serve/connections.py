"""Connections bounded in number and time, and a server that ends by finishing what it has begun."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ecgcmr.errors import UserError
from ecgcmr.inference.serve.limits import Limits
from ecgcmr.inference.serve.pipeline import RETRY_SECONDS

_EMPTY = "Content-Length: 0\r\nConnection: close\r\n"
_FULL = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_SECONDS}\r\n{_EMPTY}"
_SLOW = f"HTTP/1.1 408 Request Timeout\r\n{_EMPTY}"


def bounded_protocol(limits: Limits) -> type[H11Protocol]:
    """Return a protocol of HTTP whose connections are bounded; uvicorn bounds only how long they are idle."""

    class Bounded(H11Protocol):
        """HTTP/1.1 of one connection, which a client can neither open beyond a number nor keep open at will."""

        _end: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Take a connection, or say that there are too many."""
            super().connection_made(transport)
            self.access_log = False  # the guard logs, without addresses and queries
            if len(self.connections) > limits.connections:
                self._end_with(_FULL)
            else:
                self._end_after(limits.header_seconds)

        def data_received(self, data: bytes) -> None:
            """Receive bytes; those of a head that is not whole give it no more time."""
            was_busy = self._is_busy()
            super().data_received(data)
            if self._is_busy() and not was_busy:
                self._end_after(limits.request_seconds)

        def on_response_complete(self) -> None:
            """Wait for the next request, whose body's rest may not drip in for ever either."""
            self._end_after(limits.idle_seconds + limits.header_seconds)
            super().on_response_complete()
            if self._is_busy():  # the next one had come already
                self._end_after(limits.request_seconds)

        def connection_lost(self, exc: Exception | None) -> None:
            """Forget the time limit."""
            self._unset_end()
            super().connection_lost(exc)

        def _is_busy(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _unset_end(self) -> None:
            if self._end is not None:
                self._end.cancel()
                self._end = None

        def _end_after(self, seconds: float) -> None:
            self._unset_end()
            if not self.transport.is_closing():
                self._end = self.loop.call_later(seconds, self._too_long)

        def _too_long(self) -> None:
            if self._is_busy() or self.cycle is not None:
                self.transport.abort()  # its answer is not taken, or a body is sent that nobody reads
            else:
                self._end_with(_SLOW)

        def _end_with(self, head: str) -> None:
            self.transport.write(f"{head}\r\n".encode())
            self.transport.close()

    return Bounded


class Server(uvicorn.Server):
    """A server that SIGTERM or SIGINT ends well: what was begun is finished, and a second one ends it at once."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take the two signals over, and do not raise them again afterwards: the end was in order."""
        if threading.current_thread() is not threading.main_thread():  # where no signal can be taken over
            yield
            return
        earlier = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Receive a signal."""
        self.force_exit = self.should_exit
        self.should_exit = True


def make_server(app: Any, limits: Limits) -> Server:
    """Return a server of an application; ``run(sockets=[...])`` serves until it is asked to end."""
    config = uvicorn.Config(
        app,
        http=bounded_protocol(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, round(limits.idle_seconds)),
        timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
        backlog=max(16, limits.connections),
    )
    return Server(config)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UserError: The address is none of this machine's, or is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"--host {host}: is no address of this machine; use 127.0.0.1") from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(16)
    except OSError as error:
        made.close()
        raise UserError(f"cannot listen at {host} port {port} ({error.strerror}); choose another --port") from error
    return made
