"""The 82 imaging-derived phenotypes of UK Biobank, as declared in ``phenotypes.yaml``; read on first use."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ecgcmr.label_declarations import DeclaredLabel, load_labels


@cache
def phenotypes() -> tuple[DeclaredLabel, ...]:
    """Return all 82 phenotypes in column order; the ``column`` of each is its field."""
    return load_labels(Path(__file__).with_name("phenotypes.yaml"))


@cache
def phenotype_positions() -> dict[str, int]:
    """Return the position of each phenotype in ``phenotypes()``, by name."""
    return {phenotype.name: position for position, phenotype in enumerate(phenotypes())}


def names_of_groups(*groups: str) -> tuple[str, ...]:
    """Return the names of all phenotypes of the given groups, in column order."""
    return tuple(phenotype.name for phenotype in phenotypes() if phenotype.group in groups)
