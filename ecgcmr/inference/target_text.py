"""What is known of a target by its name: title, group and plausible range of UK Biobank's phenotypes."""

from __future__ import annotations

import math

from ecgcmr.label_declarations import DeclaredLabel
from ecgcmr.phenotypes import phenotypes


def _declared(name: str) -> DeclaredLabel | None:
    return next((phenotype for phenotype in phenotypes() if phenotype.name == name), None)


def title_and_group(name: str) -> tuple[str, str]:
    """Return a target's title and group; its name and nothing where it is none of the phenotypes."""
    found = _declared(name)
    return (name, "") if found is None else (found.title, found.group)


def plausible_range(name: str, unit: str) -> tuple[float, float] | None:
    """Return the values that a phenotype in this unit can have; None where that is not known."""
    found = _declared(name)
    if found is None or found.unit != unit or not (math.isfinite(found.low) and math.isfinite(found.high)):
        return None
    return found.low, found.high
