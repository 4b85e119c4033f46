"""Run several ecgcmr commands one after the other: ``python run_commands.py '[["fit", "-c", ...], ...]'``.

Lightning's ddp starts this file again for every further rank, so that all commands share one start of the interpreter.
"""

from __future__ import annotations

import json
import sys

from ecgcmr.cli import main

if __name__ == "__main__":
    for command in json.loads(sys.argv[1]):
        code = main(command)
        if code != 0:
            sys.exit(code)
