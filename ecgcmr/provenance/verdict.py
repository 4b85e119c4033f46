"""Whether a run came out the same again: bit by bit where that can be asked for, else within a tolerance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecgcmr.provenance.differences import Compared, surrounding_changes

IDENTICAL, WITHIN, DIFFERS = "identical", "within the tolerance", "differs"
TOLERANCE = 0.05
"""Relative: of each number, and of the distance between weights by their norm."""
_SHAPE_BITS = (
    "versions.python", "versions.torch", "versions.lightning", "versions.numpy", "versions.ecgcmr", "versions.monai",
    "versions.scipy", "versions.scikit-learn", "versions.triton", "code", "hardware.processor", "hardware.instructions",
    "hardware.threads", "hardware.accelerators", "hardware.system", "ranks", "computes",
)  # fmt: skip
"""What results depend on to the last bit."""


@dataclass(frozen=True)
class Verdict:
    """What came of a reproduction.

    Attributes:
        compared: All that was compared.
        tolerance: Relative.
        reasons: Why equal bits cannot be asked for; empty where they can.
        changes: All differences of what the two ran in.
    """

    compared: list[Compared]
    tolerance: float
    reasons: list[str]
    changes: list[str]

    @property
    def word(self) -> str:
        """``identical``, ``within the tolerance`` or ``differs``."""
        worst = max((found.distance for found in self.compared), default=0.0)
        if worst == 0.0:
            return IDENTICAL
        return WITHIN if worst <= self.tolerance else DIFFERS

    @property
    def holds(self) -> bool:
        """Whether the run came out the same, as far as that can be asked for."""
        return bool(self.compared) and (self.word == IDENTICAL or (self.word == WITHIN and bool(self.reasons)))

    def lines(self, most: int = 20) -> list[str]:
        """Return the verdict in lines: what differs most first."""
        apart = sorted((found for found in self.compared if found.distance), key=lambda found: -found.distance)
        lines = [f"{found.what}: {found.before} -> {found.now} ({_share(found.distance)})" for found in apart[:most]]
        if len(apart) > most:
            lines.append(f"and {len(apart) - most} more, in reproduction.json")
        asked = (
            f"within a relative {self.tolerance:g}, since {'; '.join(map(_short, self.reasons[:4]))}"
            if self.reasons
            else "bit by bit: the same code on the same type of machine"
        )
        equal = len(self.compared) - len(apart)
        return [*lines, f"compared {asked}", f"{equal} of {len(self.compared)} equal bit by bit: {self.word}"]


Note = Mapping[str, Any]


def judge(
    compared: Iterable[Compared],
    before: Note,
    now: Note,
    tolerance: float,
    parts: Mapping[str, tuple[Note, Note]] | None = None,
) -> Verdict:
    """Return a verdict.

    Args:
        compared: What was compared.
        before: Note of the run.
        now: Note of its reproduction.
        tolerance: Relative.
        parts: Name -> notes of a stage of an experiment, or of how a fit was judged, before and now.
    """
    changes = surrounding_changes(before, now)
    reasons = [change for change in changes if change.startswith(_SHAPE_BITS)]
    reasons += _on_a_device(before)
    for name, (first, second) in (parts or {}).items():
        found = [change for change in surrounding_changes(first, second) if change.startswith(_SHAPE_BITS)]
        new = [reason for reason in (*found, *_on_a_device(first)) if reason not in reasons]
        reasons += [f"{name}: {reason}" for reason in new]
    return Verdict(list(compared), tolerance, reasons, changes)


def _on_a_device(note: Mapping[str, Any]) -> Sequence[str]:
    """Return why a run of this kind does not come out the same to the last bit anywhere."""
    computes = note.get("computes")
    if not isinstance(computes, dict) or computes.get("device") == "cpu" or computes.get("deterministic"):
        return []
    return [f"sums on {computes.get('device')} have no order without trainer.deterministic"]


def _share(distance: float) -> str:
    return "only one has it" if distance == float("inf") else f"{distance:.2g} relative"


def _short(text: str) -> str:
    """Return text with the first digits of each checksum alone."""
    return re.sub(r"\b([0-9a-f]{10})[0-9a-f]{30,54}\b", r"\1", text)
