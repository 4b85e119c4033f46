"""How much a server takes on: of one request, of all of them, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds on what strangers may ask of a server; its memory is bounded by them.

    Attributes:
        request_bytes: Largest body of a request.
        held_bytes: Bytes of all bodies that are held at the same time; beyond it requests are asked to come again.
        files: Most files of a request; at most ``recordings``.
        recordings: Most recordings that wait or are worked on; beyond it requests are asked to come again.
        batch: Most recordings that go through the network together.
        readers: Threads that read and prepare recordings.
        connections: Most open connections.
        header_seconds: Until a request's head must have come.
        body_seconds: Until its body must have come.
        work_seconds: Until its recordings must have been worked on.
        send_seconds: Until its answer must have been taken.
        idle_seconds: How long a connection stays open between two requests.
        stop_seconds: How long a server that is to stop waits for what it works on.
    """

    request_bytes: int = 32 * MEBIBYTE
    held_bytes: int = 256 * MEBIBYTE
    files: int = 32
    recordings: int = 64
    batch: int = 32
    readers: int = 2
    connections: int = 128
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    work_seconds: float = 60.0
    send_seconds: float = 30.0
    idle_seconds: float = 5.0
    stop_seconds: float = 30.0

    @property
    def request_seconds(self) -> float:
        """From a request's head to the end of its answer."""
        return self.body_seconds + self.work_seconds + self.send_seconds
