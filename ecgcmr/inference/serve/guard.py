"""The outermost layer of the server: whom it answers, how much it takes in and for how long, what it logs.

Logged are method, known path, status, recordings and time: no address, no query, no name of a file, and of an error of
our code its kind and place, for its message may hold what was in a file.
"""

from __future__ import annotations

import ipaddress
import logging
import time
import traceback
from collections.abc import Collection, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ecgcmr.inference.serve.bounded_body import CLOSE, BoundedBody
from ecgcmr.inference.serve.limits import Limits
from ecgcmr.inference.serve.pipeline import RETRY_SECONDS

LOGGER = logging.getLogger("ecgcmr.serve")
RETRY = {"Retry-After": str(RETRY_SECONDS)}
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer. What is said of a patient stays in no cache, and no other site may frame or read it."""


class Guard:
    """Checks requests before the application sees them, bounds what it reads of them, and logs how they ended."""

    def __init__(self, app: ASGIApp, limits: Limits, names: Collection[str], paths: Collection[str]) -> None:
        """Wrap an application.

        Args:
            app: The application.
            limits: Bounds.
            names: Host names beside addresses and ``localhost`` by which it may be asked for.
            paths: Those that are logged by their names.
        """
        self._app, self._limits, self._paths = app, limits, frozenset(paths)
        self._names = frozenset(name.lower() for name in names)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        began, statuses = time.monotonic(), [0]
        body = BoundedBody(receive, scope, self._limits, self._hold)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                message = {**message, "headers": [*message.get("headers", ()), *_RAW_HEADERS]}
            await send(message)

        try:
            try:
                await self._check(scope, body)
            except HTTPException as error:
                response = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
                await response(scope, receive, answer)
            else:
                await self._app(scope, body, answer)
        except Exception as error:
            LOGGER.error("%s at %s", type(error).__name__, _place(error))
            if statuses[-1] == 0:
                await JSONResponse({"detail": "internal error"}, 500, CLOSE)(scope, receive, answer)
        finally:
            self._held -= body.received
            path = scope["path"] if scope["path"] in self._paths else "(other)"
            method = scope["method"] if scope["method"] in METHODS else "(other)"
            took = 1000 * (time.monotonic() - began)
            count = scope.get("state", {}).get("recordings")
            done = f", recordings: {count}" if count else ""
            LOGGER.info("%s %s %d%s, %.0f ms", method, path, statuses[-1], done, took)

    async def _check(self, scope: Scope, body: BoundedBody) -> None:
        headers = scope["headers"]
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise HTTPException(400, "this server is not asked for by that host name; see --allow-host", CLOSE)
        for name, value in headers:
            if name == b"origin" and urlsplit(value.decode("latin-1")).netloc.lower() != hosts[0].lower():
                raise HTTPException(403, "requests from pages of other sites are refused", CLOSE)
            if name == b"content-length" and value.isdigit() and int(value) > self._limits.request_bytes:
                await body.refuse_size()

    def _is_ours(self, host: str) -> bool:
        """Tell whether a host names this server: a name that others can point at any address does not."""
        try:
            parts = urlsplit(f"//{host}")
            if parts.netloc != host or parts.username is not None or parts.port == 0:  # a port that is none raises
                return False
        except ValueError:
            return False
        name = (parts.hostname or "").rstrip(".")
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == "localhost" or name in self._names
        return True

    def _hold(self, count: int) -> None:
        """Count bytes of a body that are held.

        Raises:
            HTTPException: 503 all bodies together are too large now.
        """
        self._held += count
        if self._held > self._limits.held_bytes:
            raise HTTPException(503, "the server holds as much as it can; try again later", {**CLOSE, **RETRY})


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


_RAW_HEADERS = _raw(HEADERS)


def _place(error: BaseException) -> str:
    """Return where an error was raised, from the outermost to the innermost of the last calls, without any content."""
    frames: Iterable[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in list(frames)[-4:])
