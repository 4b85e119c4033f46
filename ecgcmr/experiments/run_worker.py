"""A worker process of an experiment (``python -m ecgcmr.experiments.run_worker``).

It reads a request a line from its standard input, carries it out and answers with a line: ``{"error": null}``, or what
went wrong. All that the work prints goes to the request's log. It ends with its input, and at once with its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ecgcmr.child_command import end_with_parent
from ecgcmr.disk_errors import disk_error_line
from ecgcmr.errors import UserError
from ecgcmr.heavy_imports import import_heavy
from ecgcmr.termination import EXIT_CODE, Terminated, until_asked_to_end

READY = "ready"


def serve() -> int:
    """Carry out requests until there are no more; returns the exit code."""
    _end_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what is printed outside of requests
    requests = import_heavy("ecgcmr.experiments.requests")
    import_heavy("ecgcmr.training.command")
    try:
        print(json.dumps(READY), file=answers, flush=True)
        with until_asked_to_end():
            for line in sys.stdin:
                task = json.loads(line)
                request = requests.KINDS[task["kind"]].of_plain(task["fields"])
                with _printing_to(Path(task["log"])):
                    answer = _carried_out(request)
                print(json.dumps(answer), file=answers, flush=True)
    except Terminated:
        return EXIT_CODE
    except BrokenPipeError:  # the experiment has gone
        return EXIT_CODE
    return 0


def _carried_out(request: Any) -> dict[str, Any]:
    """Carry out a request and return what became of it."""
    try:
        request.carry_out()
    except UserError as error:
        print(f"error: {error}", flush=True)
        return {"error": str(error), "mistake": True}
    except Exception as error:
        line = disk_error_line(error) if isinstance(error, OSError) else None
        if line is not None:
            print(f"error: {line}", flush=True)
            return {"error": line, "mistake": True}
        traceback.print_exc()
        sys.stderr.flush()
        return {"error": f"{type(error).__name__}: {error}", "mistake": False}
    return {"error": None}


@contextlib.contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Let all output of this process, that of libraries and child processes too, go to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = [os.dup(1), os.dup(2)]
    with log.open("ab") as file:
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, earlier in zip((1, 2), kept, strict=True):
                os.dup2(earlier, number)
                os.close(earlier)


def _end_with_parent() -> None:
    """End when the parent dies, on systems other than Linux with the end of the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    end_with_parent(os.getppid())


if __name__ == "__main__":
    sys.exit(serve())
