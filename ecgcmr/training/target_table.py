"""What ``test`` and ``validate`` print of each target, in its unit; means over targets are what they log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.callbacks import Callback

from ecgcmr.metrics.catalogue import METRICS
from ecgcmr.stages.downstream import Downstream
from ecgcmr.stages.run_contract import Column
from ecgcmr.text import printable
from ecgcmr.training.run_record import RunRecord

_NONE = "-"


class TargetTable(Callback):
    """Prints the scores of each target once a split has been judged.

    Args:
        record: Knows the targets and their units.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Print."""
        if trainer.is_global_zero and isinstance(pl_module, Downstream) and pl_module.target_scores:
            print(f"\n{table_of_targets(self.record.known().targets, pl_module.target_scores)}\n")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Print, unless this is a validation within a fit."""
        if trainer.state.fn == "validate":
            self.on_test_end(trainer, pl_module)


def table_of_targets(targets: tuple[Column, ...], scores: Mapping[int, Mapping[str, float]]) -> str:
    """Return scores as text, a line a target.

    Args:
        targets: Name and unit of each column.
        scores: Column -> scores, and ``n``, how many labels are known. A column that is not among them was not scored.
    """
    names = [name for name in dict.fromkeys(name for found in scores.values() for name in found) if name != "n"]
    titles = [METRICS[name].title if name in METRICS else name for name in names]
    rows = [["target", "n", *titles]]
    for column, target in enumerate(targets):
        found = scores.get(column, {})
        cells = [_cell(name, found.get(name, math.nan), target.unit) for name in names]
        rows.append([printable(target.name, 40), f"{found['n']:,.0f}" if found else _NONE, *cells])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    aligned = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(cells).rstrip() for cells in aligned)


def _cell(name: str, value: float, unit: str) -> str:
    if math.isnan(value):
        return _NONE
    if name not in METRICS or not METRICS[name].in_units:
        return f"{value:.3f}"
    return f"{value:.{2 if value < 10 else 1}f} {unit}".rstrip()
