"""Every kind of file that a user can hand in, and how many of the mutants each gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from fuzz_kind import Kind
from made_kinds import config_kinds, prepared_kinds, result_kinds
from raw_kinds import cmr_kinds, ecg_kinds, table_kinds

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (*ecg_kinds(), *cmr_kinds(), *table_kinds(), *prepared_kinds(), *config_kinds(), *result_kinds())
}


def share(count: int, kinds: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Give ``count`` mutants to the kinds by their weights, at least one each, and return (kind, number) of all."""
    chosen = [KINDS[name] for name in kinds or KINDS]
    total = sum(kind.weight for kind in chosen)
    bounds = np.cumsum([0, *(kind.weight for kind in chosen)]) * count / total
    numbers = np.maximum(1, np.diff(np.rint(bounds).astype(int)))
    return [(kind.name, number) for kind, most in zip(chosen, numbers, strict=True) for number in range(most)]
