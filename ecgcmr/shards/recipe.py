"""The recipe of a cohort: how its recordings came to look as a model sees them, and where two recipes differ.

Recipes are compared by what they say, not by a fingerprint, which changes with every label. What does not shape the
values (storage type, beats, the division into splits) is no part of the comparison.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecgcmr.shards.layout import Layout

RECIPE_VERSION = 3
"""Raised whenever the same parameters of a preparation would give other arrays."""

Recipe = dict[str, Any]
"""Plain values: numbers, texts, lists and mappings."""

COMPARED: dict[str, tuple[str, ...]] = {
    "ecg": ("version", "sampling_rate", "leads", "unit", "cleaning"),
    "cmr": (
        "version",
        "content",
        "frames",
        "view",
        "crop",
        "field_of_view_mm",
        "percentiles",
        "slice_distance_mm",
    ),
    "measurements": ("units",),
}
"""Entries of a recipe that shape what a model sees. The size of frames in pixels is a matter of the network's input.

A recipe of ECGs says more, so that a file can be prepared again: ``samples`` and ``dtype`` as stored, and ``short`` and
``window``, by which a recording is cut.
"""

_TITLES = {
    "version": "version of the preparation",
    "sampling_rate": "sampling rate (Hz)",
    "field_of_view_mm": "field of view (mm)",
    "content": "frames taken",
    "percentiles": "intensity percentiles",
    "slice_distance_mm": "distance of slices (mm)",
}
_WITHOUT = {"slice_distance_mm": "spread over the stack"}
"""What it means that a recipe does not say an entry, where that means something."""


@dataclass(frozen=True)
class Comparison:
    """Where two recipes differ.

    Attributes:
        differences: A phrase each, such as ``sampling rate (Hz) 500.0 -> 250.0``.
        unknown: Entries of which one of the two recipes says nothing.
    """

    differences: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def recipe_of(layout: Layout, modality: str, leads: Sequence[str] | None = None) -> Recipe:
    """Return how a cohort's ECGs or frames were prepared, with all steps and numbers.

    Args:
        layout: The cohort's.
        modality: ``ecg`` or ``cmr``.
        leads: Names of the leads in a batch, in its order; None for those of the cohort.

    Returns:
        Plain values; empty if the cohort has no such recordings.
    """
    made = layout.preparation.get(modality)
    recipe: Recipe = dict(made) if isinstance(made, Mapping) else {}
    if "version" in layout.preparation:
        recipe["version"] = layout.preparation["version"]
    if modality == "ecg":
        if layout.ecg is None:
            return {}
        shape = {"sampling_rate": layout.ecg.sampling_rate, "leads": list(leads or layout.ecg.leads)}
        stored = {"samples": layout.ecg.samples, "dtype": layout.ecg.dtype}
        recipe = {**recipe, **shape, "unit": layout.ecg.unit, **stored}
    else:
        if layout.cmr is None:
            return {}
        recipe = {**recipe, "frames": list(layout.cmr.frames), "pixel_mm": layout.cmr.spacing_mm}
        recipe.setdefault("field_of_view_mm", layout.cmr.spacing_mm * layout.cmr.height)
    return json.loads(json.dumps(recipe))


def comes_in_volts(layout: Layout) -> bool:
    """Tell whether a cohort's ECGs were recorded in volts when preparation got them, whatever they are now."""
    made = layout.preparation.get("ecg")
    return not isinstance(made, Mapping) or made.get("source_unit", "mV") == "mV"


def measurement_recipe(layout: Layout, names: Sequence[str]) -> Recipe:
    """Return in which units measurements stand.

    Args:
        layout: The cohort's.
        names: Of labels of the cohort.
    """
    units = {label.name: label.unit for label in layout.labels}
    return {"units": [f"{name} ({units[name]})" if units[name] else name for name in names]}


def compare_recipes(trained: Mapping[str, Any], given: Mapping[str, Any], modality: str) -> Comparison:
    """Compare the recipe that weights were trained with and the one of the data they are to see.

    Args:
        trained: Of the weights.
        given: Of the data.
        modality: ``ecg``, ``cmr`` or ``measurements``.
    """
    differences, unknown = list[str](), list[str]()
    for name in COMPARED[modality]:
        title = _TITLES.get(name, name)
        before, now = (recipe.get(name, _WITHOUT.get(name)) for recipe in (trained, given))
        if before == now:
            continue
        if before is None or now is None:
            unknown += (
                [title] if name != "version" else []
            )  # this program's count, of which published weights know none
        elif name == "leads" and _differ_in_number(before, now):
            continue  # another input of the network, which is checked as such
        elif name == "cleaning":
            differences += _cleanings(before, now)
        else:
            differences.append(f"{title} {_words(before)} -> {_words(now)}")
    return Comparison(tuple(differences), tuple(unknown))


def cleaning_steps(cleaning: Any) -> list[str]:
    """Return the names of a recipe's cleaning steps, in order; empty where it says nothing of any."""
    return [name for name, _ in _steps(cleaning)]


def _differ_in_number(before: Any, now: Any) -> bool:
    return isinstance(before, list) and isinstance(now, list) and len(before) != len(now)


def _cleanings(before: Any, now: Any) -> list[str]:
    """Say where two cleanings differ: in their steps, or in numbers of the same steps."""
    first, second = _steps(before), _steps(now)
    if [name for name, _ in first] != [name for name, _ in second]:
        return [f"cleaning {_chain(first)} -> {_chain(second)}"]
    found = []
    for (name, old), (_, new) in zip(first, second, strict=True):
        keys = sorted(old.keys() | new.keys())
        found += [f"{name} {k} {_words(old.get(k))} -> {_words(new.get(k))}" for k in keys if old.get(k) != new.get(k)]
    return found or [f"cleaning {_words(before)} -> {_words(now)}"]


def _steps(cleaning: Any) -> list[tuple[str, dict[str, Any]]]:
    steps = cleaning.get("steps", []) if isinstance(cleaning, Mapping) else []
    named = [next(iter(step.items())) for step in steps if isinstance(step, Mapping) and len(step) == 1]
    return [(str(name), dict(values) if isinstance(values, Mapping) else {}) for name, values in named]


def _chain(steps: list[tuple[str, dict[str, Any]]]) -> str:
    return ", ".join(name for name, _ in steps) or "nothing"


def _words(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)[:200]
