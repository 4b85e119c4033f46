"""``ecgcmr serve``: a model over HTTP, and a page where a file is dropped."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecgcmr.inference.serve.limits import Limits

HELP = """\
Serve a model folder over HTTP: POST /v1/predict and /v1/embed take files of any supported format, GET /v1/model says
what the model is, /healthz whether it works, /openapi.json describes all of it; at / is a page where a file is dropped
and the report appears. Files stay in memory, nothing is written to disk, and no name of a file is logged. Needs the
extra serve. SIGTERM or Ctrl-C finishes what is worked on and ends with 0. Research use only, not a medical device.

There is no password and no encryption: to other machines serve it only behind a proxy that has both.

  ecgcmr serve --model models/demo
  ecgcmr serve --model hf://OWNER/NAME --port 8080
  curl -F files=@ecg.xml http://127.0.0.1:8000/v1/predict
"""

_NEEDED = ("fastapi", "uvicorn", "python_multipart")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--model", required=True, metavar="DIR", help="model folder, or hf://OWNER/NAME[@REVISION]")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="CLASS", help="class beside this package's that may be imported"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="host name by which it may be asked for, beside localhost and addresses; can be repeated",
    )  # fmt: skip
    parser.add_argument("--level", type=float, default=0.95, help="of prediction intervals (default: %(default)s)")
    parser.add_argument("--max-mb", type=int, default=32, help="largest request (default: %(default)s)")
    parser.add_argument("--max-files", type=int, default=32, help="most files of a request (default: %(default)s)")
    parser.add_argument(
        "--queue", type=int, default=64, help="most recordings that wait; beyond it 503 (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, help="seconds for a request to come, and to be worked on (default: 60)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until asked to end.

    Returns:
        0.

    Raises:
        UserError: The extra is missing, an option makes no sense, the model cannot be loaded, the port is taken.
    """
    from ecgcmr.errors import UserError

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"{missing[0]} is not installed; add it with: pip install 'ecgcmr[serve]'")
    limits = _limits(args)
    from ecgcmr.inference.serve.running import serve

    serve(args.model, args.trust, args.host, args.port, args.allow_host, args.level, limits)
    return 0


def _limits(args: argparse.Namespace) -> Limits:
    """Return the bounds that the options ask for.

    Raises:
        UserError: One makes no sense.
    """
    from ecgcmr.errors import UserError
    from ecgcmr.inference.serve.limits import MEBIBYTE, Limits

    ranges = {
        "port": (0, 65_535),
        "max_mb": (1, 1024),
        "max_files": (1, 1000),
        "queue": (args.max_files, 10_000),  # a request with as many files as are allowed must find a place
        "timeout": (1, 3600),
    }
    for name, (least, most) in ranges.items():
        if not least <= getattr(args, name) <= most:
            given = f"--{name.replace('_', '-')} {getattr(args, name)}"
            raise UserError(f"{given}: must lie between {least} and {most}")
    largest = args.max_mb * MEBIBYTE
    return Limits(
        request_bytes=largest,
        held_bytes=max(Limits.held_bytes, 2 * largest),
        files=args.max_files,
        recordings=args.queue,
        body_seconds=args.timeout,
        work_seconds=args.timeout,
    )
