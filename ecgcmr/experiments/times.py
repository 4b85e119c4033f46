"""How long the parts of an experiment took, kept in its folder for the next estimate."""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ecgcmr.evaluation.methods import TAUGHT
from ecgcmr.files import write_atomically
from ecgcmr.json_file import finite_number, recall_json

NAME = "times.json"
_MOST_SECONDS = 1e9
"""No part takes thirty years: more is no duration."""
_DOWNSTREAM = re.compile(r"(?P<task>[^-]+)-.*-(?P<labels>\d+)(-s\d+)?")


@dataclass
class Times:
    """Seconds of each part that has run in an experiment's folder.

    Attributes:
        path: The file.
        seconds: Name of a part -> seconds of its last run from beginning to end.
    """

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, out: Path) -> Self:
        """Read what is known; nothing, where there is no file or none that can be read."""
        found = recall_json(out / NAME)
        known = found if isinstance(found, dict) else {}
        return cls(out / NAME, {name: float(value) for name, value in known.items() if _is_duration(value)})

    def record(self, name: str, seconds: float) -> None:
        """Remember how long a part took, beside what another process has noted meanwhile."""
        self.seconds |= {**self.load(self.path.parent).seconds, name: round(seconds, 1)}
        write_atomically(self.path, (json.dumps(self.seconds, indent=1) + "\n").encode())

    def expected(self, name: str) -> float | None:
        """Return the seconds that a part is likely to take: as it took, or as its like did; None if nobody knows."""
        if name in self.seconds:
            return self.seconds[name]
        kind = _kind(name)
        alike = [value for other, value in self.seconds.items() if _kind(other) == kind]
        return statistics.median(alike) if alike else None


def _is_duration(value: Any) -> bool:
    return finite_number(value) and 0 <= value <= _MOST_SECONDS


def _kind(name: str) -> str:
    """Return what parts of like cost have in common: a downstream run is of its task and number of labels.

    What images teach trains on all rows that have one, however few have labels.
    """
    run = _DOWNSTREAM.fullmatch(name)
    if run is None:
        return name
    return f"{run['task']} {TAUGHT if f'@{TAUGHT}-' in name else run['labels']}"
