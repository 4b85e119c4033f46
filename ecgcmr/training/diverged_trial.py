"""How a trial of a search that runs in a process of its own says that its network diverged, unlike any other failure.

The search names a file in the environment; the trial's rank zero writes why into it, and the search reads it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from ecgcmr.errors import Diverged
from ecgcmr.files import write_atomically
from ecgcmr.text import printable

VARIABLE = "ECGCMR_TRIAL_DIVERGED"
_ASIDE = re.compile(r";|, of a batch of |, last in a batch of |(?: in|:) rows? \d")
"""Where a message goes on to its remedy, or to rows of the cohort."""
_MOST = 200


def reason_of(error: Exception) -> str:
    """Return why a network diverged, in a clause and without the rows that a message may name."""
    return printable(_ASIDE.split(str(error))[0], _MOST)


def note(error: Diverged) -> None:
    """Write the reason, if a search wants to know."""
    place = os.environ.get(VARIABLE)
    if place and not rank_zero_only.rank:  # type: ignore[attr-defined]
        write_atomically(Path(place), reason_of(error).encode())


def take(path: Path) -> Diverged | None:
    """Return what was noted, and remove the file; None where nothing was."""
    if not path.is_file():
        return None
    found = Diverged(path.read_text(encoding="utf-8", errors="replace"))
    path.unlink()
    return found
