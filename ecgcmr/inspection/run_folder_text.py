"""What a run folder holds, as text."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from ecgcmr.inspection.run_folder import Curve, StageRun
from ecgcmr.inspection.text import number, print_table


def print_run(console: Console, run: StageRun) -> None:
    """Print the stage, its networks and the course of every number it logged."""
    console.print(f"run {run.name}", style="bold")
    networks = ", ".join(f"{argument} {name}" for argument, name in run.networks.items())
    console.print(f"{run.stage}{f'; {networks}' if networks else ''}")
    if not run.curves:
        console.print("no curves: there is no TensorBoard log in this folder, or nothing was logged yet")
        return
    lasted = f"{run.steps:,} steps"
    console.print(lasted if run.epochs is None else f"{run.epochs:,} epochs, {lasted}")
    columns = ("number", "logged", "first", "last", "least", "at step", "largest", "at step")
    print_table(console, "logged while training", columns, [_row(curve) for curve in run.curves])


def _row(curve: Curve) -> tuple[str, ...]:
    ends = (number(float(curve.values[0])), number(float(curve.values[-1])))
    known = ~np.isnan(curve.values)
    if not known.any():
        return curve.name, f"{len(curve.values):,}", *ends, "-", "-", "-", "-"
    places = (int(np.nanargmin(curve.values)), int(np.nanargmax(curve.values)))
    extremes = [text for at in places for text in (number(float(curve.values[at])), f"{curve.steps[at]:,}")]
    return curve.name, f"{len(curve.values):,}", *ends, *extremes
