"""Loading a model and serving it until a signal comes."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import sys
import warnings
from collections.abc import Collection, Generator

from ecgcmr.inference.load import load
from ecgcmr.inference.serve.app import make_app
from ecgcmr.inference.serve.connections import listening, make_server
from ecgcmr.inference.serve.guard import LOGGER
from ecgcmr.inference.serve.limits import Limits
from ecgcmr.inference.serve.model_predictor import ModelPredictor
from ecgcmr.inference.serve.pipeline import Pipeline


def serve(
    source: str, trust: Collection[str], host: str, port: int, names: Collection[str], level: float, limits: Limits
) -> None:
    """Load a model and serve it.

    Args:
        source: Model folder, or one on the hub.
        trust: Classes beside this package's that may be imported.
        host: Address to listen at.
        port: 0 takes a free one.
        names: Host names by which the server may be asked for.
        level: Of prediction intervals.
        limits: Bounds.

    Raises:
        UserError: The port is taken, the model cannot be loaded.
    """
    with contextlib.closing(listening(host, port)) as sock, _log_alone():  # first the port: the model takes longer
        predictor = ModelPredictor(load(source, trust), level)
        pipeline = Pipeline(predictor, places=limits.recordings, batch=limits.batch, readers=limits.readers)
        server = make_server(make_app(pipeline, predictor.card, limits, (*names, host)), limits)
        try:
            shown, taken = f"[{host}]" if ":" in host else host, sock.getsockname()[1]
            warn_of_others(host)
            print(f"serving {predictor.card['name']} at http://{shown}:{taken}/ (research use only)", flush=True)
            server.run(sockets=[sock])
        finally:
            pipeline.close(finish=not server.force_exit)
    print(f"stopped after {server.server_state.total_requests} requests")


def warn_of_others(host: str) -> None:
    """Say so where other machines reach an address."""
    if not is_loopback(host):
        print(
            f"warning: {host} can be reached by other machines, and there is no password and no encryption; "
            "serve behind a proxy that has both, or at 127.0.0.1",
            file=sys.stderr,
        )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def _log_alone() -> Generator[None, None, None]:
    """Let this room's log and uvicorn's warnings be written, and nothing of libraries that may quote a file."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    root, levels = logging.getLogger(), {LOGGER: logging.INFO, logging.getLogger("uvicorn"): logging.WARNING}
    earlier = {logger: (logger.handlers, logger.propagate, logger.level) for logger in (root, *levels)}
    try:
        root.handlers = [logging.NullHandler()]
        for logger, level in levels.items():
            logger.handlers, logger.propagate = [handler], False
            logger.setLevel(level)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, (handlers, propagate, level) in earlier.items():
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
