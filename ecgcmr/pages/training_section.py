"""The course of the stages: what each logged while it trained, as charts, and its last numbers."""

from __future__ import annotations

from collections.abc import Sequence

from ecgcmr.inspection.run_folder import Curve, StageRun
from ecgcmr.pages.charts import Line, line_chart
from ecgcmr.pages.markup import Html, element, joined
from ecgcmr.pages.stage_folder import StageFolder
from ecgcmr.pages.tables import disclosure, facts, in_two_parts, number, table
from ecgcmr.pages.yaml_text import yaml_block

_LOOKS = {"train": "train", "val": "val"}


def training(stages: Sequence[StageFolder], first: Sequence[str], further: Sequence[str] = ()) -> Html:
    """Return the section's content.

    Args:
        stages: With their logs; what was never trained is left out.
        first: Names of the stages of pre-training.
        further: Names of stages that are not shown.
    """
    shown = in_two_parts([stage for stage in stages if stage.run is not None], first, _stage)
    if not further:
        return shown
    names = f"{', '.join(further[:10])}{' and others' if len(further) > 10 else ''}"
    return joined([shown, element("p", f"{len(further):,} further stages are not shown: {names}.")])


def _stage(stage: StageFolder) -> Html:
    run = stage.run
    if run is None:
        return Html("")
    lasted = f"{run.steps:,} steps" if run.epochs is None else f"{run.epochs:,} epochs, {run.steps:,} steps"
    return disclosure(stage.name, course(stage, run), note=f"{run.stage}, {lasted}")


def course(stage: StageFolder, run: StageRun) -> Html:
    """Return the charts and the last numbers of one stage."""
    panels: dict[str, list[Curve]] = {}
    for curve in run.curves:
        panels.setdefault(curve.what, []).append(curve)
    charts = [
        line_chart(what, [_line(curve) for curve in curves], "optimiser steps") for what, curves in panels.items()
    ]
    drawn = element("div", *charts, class_="charts") if charts else element("p", "Nothing was logged.")
    tuned = [disclosure("What the fit found out about itself", yaml_block(stage.tuning))] if stage.tuning else []
    return joined([drawn, *_last_numbers(stage), *tuned])


def _line(curve: Curve) -> Line:
    return Line(curve.split or curve.what, curve.steps.astype(float), curve.values, _LOOKS.get(curve.split, "other"))


def _last_numbers(stage: StageFolder) -> list[Html]:
    rows = [
        (name, section, number(value)) for section, values in stage.metrics.items() for name, value in values.items()
    ]
    if not rows:
        return []
    return [disclosure("Last numbers", table(f"{stage.name}: last value of each number", ("number", "command", "value"),
                                             rows, words=2))]  # fmt: skip


def run_facts(stage: StageFolder) -> Html:
    """Return what a stage was, as terms and what is known of each."""
    run = stage.run
    trained = stage.card.get("training")
    trained = trained if isinstance(trained, dict) else {}
    targets = trained.get("targets")
    return facts([
        ("Stage", run.stage if run else None),
        ("Networks", ", ".join(f"{name}: {kind}" for name, kind in run.networks.items()) if run else None),
        ("Task", trained.get("task")),
        ("Targets", ", ".join(map(str, targets)) if isinstance(targets, list) else None),
        ("Epochs", None if run is None or run.epochs is None else f"{run.epochs:,}"),
        ("Optimiser steps", f"{run.steps:,}" if run else None),
    ])  # fmt: skip
