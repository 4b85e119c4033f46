"""What an experiment measured of a method on its test split, for the entries `metrics` of a model's targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecgcmr.inference.model_entries import MetricEntry
from ecgcmr.json_file import finite_number, read_json
from ecgcmr.metrics.tasks import Task

_SEXES = {"women": "female", "men": "male"}


def test_metrics(out: Path, task: Task, about: Mapping[str, Any], names: Sequence[str]) -> dict[str, list[MetricEntry]]:
    """Return target -> its metrics with 95 % intervals, of all test subjects and of subgroups.

    Args:
        out: Folder of the experiment.
        task: The task; of all test subjects its reported metrics are taken, of subgroups what was computed there.
        about: ``method``, ``protocol`` and ``labels`` of the rows.
        names: Targets.

    Raises:
        UserError: The experiment's assessment is missing or no sound JSON.
    """
    content = read_json(out / "evaluation" / task.name / "results.json", what="assessment of an experiment")
    found: dict[str, list[MetricEntry]] = {name: [] for name in names}
    parts = (content.get(part) or [] for part in ("scores", "subgroups")) if isinstance(content, dict) else ()
    for row in (row for part in parts for row in part if isinstance(row, dict)):
        if row.get("target") in found and all(row.get(name) == value for name, value in about.items()):
            entry = _entry(row)
            if entry is not None and (entry.subgroup != "all" or entry.metric in task.reported):
                found[row["target"]].append(entry)
    return found


def _entry(row: Mapping[str, Any]) -> MetricEntry | None:
    """Return a row as an entry; None where it says nothing, as of a subgroup that is too small."""
    if row.get("n_test") is None or not finite_number(row.get("value")):
        return None
    low, high = (float(row[name]) if finite_number(row.get(name)) else None for name in ("ci_low", "ci_high"))
    subgroup = "all"
    if "subgroup" in row:
        of_sex = row["attribute"] == "sex"
        subgroup = _SEXES.get(row["subgroup"], row["subgroup"]) if of_sex else f"{row['attribute']} {row['subgroup']}"
    return MetricEntry(str(row["metric"]), float(row["value"]), low, high, int(row["n_test"]), subgroup)
