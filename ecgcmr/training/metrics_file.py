"""What ``metrics.json`` of a run folder holds from commands before this one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.json_file import read_json
from ecgcmr.text import printable


def earlier_metrics(path: Path) -> dict[str, Any]:
    """Return the sections of ``metrics.json``; none, with a note, if it holds something else: a fit is worth more."""
    if not path.exists():
        return {}
    try:
        known = read_json(path, what="metrics")
        if not isinstance(known, dict):
            raise UserError(f"{path}: metrics must hold a section for each command")
    except UserError as error:
        print(f"note: {printable(error)}; the file is written anew", file=sys.stderr)
        return {}
    return known
