"""Columns of a table for what each network costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ecgcmr.evaluation.costs import CostRow
from ecgcmr.evaluation.methods import method_title
from ecgcmr.reports.grid import Grid

TITLES = ("parameters", "operations a recording", "recordings/s")
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_PROTOCOLS = (None, "linear_probe", "layer_probe", "taught_probe", "attention_probe", "finetune", "taught")


def with_costs(grid: Grid, costs: Sequence[CostRow]) -> Grid:
    """Return a table with three more columns; a method without a network has dashes there.

    Args:
        grid: The table, methods down.
        costs: Of the networks.
    """
    if not costs:
        return grid
    of_line = {method_title((cost.method, protocol)): cost for cost in costs for protocol in _PROTOCOLS}
    lines = tuple((name, (*cells, *_cells(of_line.get(name)))) for name, cells in grid.lines)
    where = ", ".join(dict.fromkeys(f"{cost.measured_on}, {cost.batch} at a time" for cost in costs))
    remark = (
        "Costs are those of the encoder on all that is read of a recording, forward; operations are those of products "
        f"and Fourier transforms; recordings/s were measured in this run ({where})."
    )
    below = f"{grid.remark} {remark}" if grid.remark else remark
    return replace(grid, titles=(*grid.titles, *TITLES), lines=lines, remark=below)


def _cells(cost: CostRow | None) -> list[tuple[str, bool]]:
    if cost is None:
        return [("-", False)] * len(TITLES)
    texts = (in_thousands(cost.parameters), in_thousands(cost.operations), f"{cost.recordings_per_s:,.3g}")
    return [(text, False) for text in texts]


def in_thousands(number: float) -> str:
    """Return a number with three digits and k, M, G or T."""
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"
