"""The cohort of an experiment: how many subjects in which split, what is known of them, and how they were prepared.

Counts, means and shares alone; nothing of a single subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ecgcmr.pages.markup import Html, anchor, element, joined
from ecgcmr.pages.tables import disclosure, facts, number, table
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.layout import SPLITS, ECGLayout, Label
from ecgcmr.yaml_file import mapping_at

ELSEWHERE = "The shards lie outside of this folder; 'ecgcmr report --root DIR' describes them here."
_FEW = 5
"""Fewer subjects with a disease than this are not counted out: together with other numbers they could be a person."""


def cohorts_facts(cohorts: Mapping[str, ShardIndex | None], plan: dict[str, Any]) -> Html:
    """Return the section's content: of several cohorts one after the other, and what each is used for.

    Args:
        cohorts: Index of each by name, None where it is not known; the name of a single one is empty.
        plan: As of ``cohort_facts``.
    """
    if set(cohorts) == {""}:
        return cohort_facts(cohorts[""], plan)
    parts = [_uses(plan)]
    for name, cohort in cohorts.items():
        made = {"cohort": mapping_at(plan, "cohorts", name)}
        parts += [element("h3", name, id=anchor("cohort", name)), cohort_facts(cohort, made)]
    return joined(parts)


def _uses(plan: dict[str, Any]) -> Html:
    """Return which cohorts each stage is trained on and each task is judged on."""
    stages, tasks = mapping_at(plan, "stages"), mapping_at(plan, "evaluation", "tasks")
    rows = [(f"stage {name}", _named(mapping_at(stages, name).get("cohort"))) for name in stages]
    rows += [(f"task {name}", _named(mapping_at(tasks, name).get("cohort"))) for name in tasks]
    return table("Which cohort is used for what", ("part", "cohort"), rows, words=2)


def _named(cohort: Any) -> str:
    return " + ".join(map(str, cohort)) if isinstance(cohort, list) else str(cohort or "the only one")


def cohort_facts(cohort: ShardIndex | None, plan: dict[str, Any]) -> Html:
    """Return the section's content.

    Args:
        cohort: Its index, or None where it is not known.
        plan: Of the experiment, empty where it is not known.
    """
    origin = _origin(plan)
    if cohort is None:
        return joined([facts([("Origin", origin)]), element("p", ELSEWHERE)])
    layout, counts = cohort.layout, cohort.counts
    ecg, cmr = layout.ecg, layout.cmr
    pairs = [
        ("Origin", origin),
        ("Subjects", f"{counts['subjects']:,} with {counts['total']:,} recordings"),
        (
            "With ECG, with images, with both",
            ", ".join(f"{counts[f'with_{what}']:,}" for what in ("ecg", "cmr", "both")),
        ),
        ("Left out", _left_out(cohort)),
        ("ECG", None if ecg is None else _ecg(ecg)),
        ("Images", None if cmr is None else f"{' '.join(map(str, cmr.frames))}, {cmr.height} x {cmr.width} pixels"),
        ("Labels", f"{len(layout.labels):,}"),
    ]
    labels = disclosure("Labels", _labels(cohort), note=f"{len(layout.labels):,} columns")
    return joined([facts(pairs), _splits(cohort), labels])


def _ecg(ecg: ECGLayout) -> str:
    return f"{len(ecg.leads)} leads, {ecg.samples:,} samples at {ecg.sampling_rate:g} Hz, {ecg.unit}"


def _origin(plan: dict[str, Any]) -> str:
    made = mapping_at(plan, "cohort", "synthesize")
    if made:
        return "synthetic, " + ", ".join(f"{name} {value}" for name, value in made.items())
    if mapping_at(plan, "cohort", "prepare"):
        return "prepared from raw files by the experiment"
    return "prepared beforehand" if mapping_at(plan, "cohort").get("root") else ""


def _left_out(cohort: ShardIndex) -> str:
    what = {"duplicates in another split": len(cohort.duplicates), "withdrawn consent": len(cohort.withdrawn)}
    return ", ".join(f"{count:,} ({reason})" for reason, count in what.items() if count)


def _splits(cohort: ShardIndex) -> Html:
    rows = []
    for split in SPLITS:
        every = cohort.positions(split, ())
        has = [len(cohort.positions(split, need)) for need in (("ecg",), ("cmr",), ("ecg", "cmr"))]
        rows.append((split, *(f"{n:,}" for n in (len(np.unique(cohort.subjects(every))), len(every), *has))))
    titles = ("split", "subjects", "recordings", "with ECG", "with images", "with both")
    return table("Splits", titles, rows)


def _labels(cohort: ShardIndex) -> Html:
    titles = ("label", "title", "kind", "group", "unit", "known", "mean or share", "SD")
    rows = (_label(label, cohort.statistics.get(label.name) or {}) for label in cohort.layout.labels)
    note = "Of the recordings of the training split alone; of a yes or no the share of yes."
    return table("Labels of the training split", titles, rows, words=5, note=note)


def _label(label: Label, known: dict[str, Any]) -> tuple[str, ...]:
    n, positives = known.get("n"), known.get("positives")
    mean, spread = number(known.get("mean")), number(known.get("std"))
    if isinstance(positives, int) and n:
        few = f"fewer than {_FEW}" if positives < _FEW else f"{positives:,} ({100 * positives / n:.1f} %)"
        mean, spread = ("0" if positives == 0 else few), "-"
    return (label.name, label.title, label.kind, label.group, label.unit, number(n), mean, spread)
