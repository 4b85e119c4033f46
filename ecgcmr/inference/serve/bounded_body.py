"""The body of a request as the application receives it: bounded in size and time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from ecgcmr.inference.serve.limits import Limits

CLOSE = {"Connection": "close"}
"""With the refusal of a request of which not all has been read."""

_DRAINED = 4  # times the bound, and for so many seconds what is too large is read and thrown away before the answer
_DRAIN_SECONDS = 3.0


class BoundedBody:
    """A request's body as the application receives it, bounded in size and time.

    Attributes:
        received: Bytes so far.
    """

    def __init__(self, receive: Receive, scope: Scope, limits: Limits, hold: Callable[[int], None]) -> None:
        """Bound what is received.

        Args:
            receive: Of the request.
            scope: Of the request.
            limits: Bounds.
            hold: Called with each number of bytes that is held from now on; may refuse them.
        """
        self._receive, self._limits, self._hold = receive, limits, hold
        self._waits_for_continue = any(name == b"expect" for name, _ in scope["headers"])
        self._until = time.monotonic() + self._limits.body_seconds
        self._ended = False
        self.received = 0

    async def __call__(self) -> Message:
        """Receive the next part.

        Raises:
            HTTPException: 408 it took too long, 413 it is too large, and whatever ``hold`` raises.
        """
        if self._ended:
            return await self._receive()  # only a disconnection can come
        try:
            async with asyncio.timeout(max(0.0, self._until - time.monotonic())):
                message = await self._receive()
        except TimeoutError as error:
            self._ended = True
            raise HTTPException(408, "the request took too long to arrive", CLOSE) from error
        self._ended = not message.get("more_body", False)
        count = len(message.get("body", b""))
        self.received += count
        self._hold(count)
        if self.received > self._limits.request_bytes:
            await self.refuse_size()
        return message

    async def refuse_size(self) -> None:
        """Refuse the body; what still comes is thrown away for a moment, so that the client gets to read the answer.

        Raises:
            HTTPException: 413.
        """
        left = _DRAINED * self._limits.request_bytes
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not (self._ended or self._waits_for_continue) and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._ended = not message.get("more_body", False)
        except TimeoutError:
            pass
        self._ended = True
        most = self._limits.request_bytes / 2**20
        raise HTTPException(413, f"a request may have {most:g} MB at most", CLOSE)
