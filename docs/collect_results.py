"""Keep the means of a finished experiment for the site: ``python docs/collect_results.py runs/demo [NAME]``.

Writes docs/results/NAME.json, NAME being the folder's unless it is given, of which a page is made. No subject is in it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from ecgcmr import __version__

RESULTS = Path(__file__).resolve().parent / "results"
METRICS = {"r2": "R2", "auroc": "AUROC", "c_index": "C index"}
"""The metric of each kind of task that a page shows."""
_SCORE = ("method", "protocol", "labels", "value", "ci_low", "ci_high")
_PUBLISHED = ("method", "source", "task_name", "metric", "asked", "value")
_DIFFERENCE = (*_SCORE, "reference", "reference_protocol", "p_holm")


def main(run: Path, name: str | None = None) -> int:
    """Write the file; returns 0."""
    plan = yaml.safe_load((run / "experiment.yaml").read_text(encoding="utf-8"))
    cohort = plan["cohort"].get("synthesize")
    content = {
        "title": plan.get("description", run.name),
        "code_version": __version__,
        "cohort": f"synthetic, {cohort['subjects']} subjects, seed {cohort.get('seed', 0)}" if cohort else "recordings",
        "synthetic": bool(cohort),
        "labels": [str(asked) for asked in plan["evaluation"].get("labels", ["all"])],
        "tables": _tables(_rows(run / "results.json"), _rows(run / "differences.json")),
        "published": [{name: row[name] for name in _PUBLISHED} for row in _read(run / "results.json")[1]],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name or run.name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(path)
    return 0


def _rows(path: Path) -> list[dict[str, Any]]:
    return [row for row in _read(path)[0] if row["target"] == "mean" and row["metric"] in METRICS]


def _read(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of a file and, where it has them, the scores of others."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return (content["scores"], content["published"]) if isinstance(content, dict) else (content, [])


def _tables(scores: list[dict[str, Any]], differences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a table for each task, set of targets and metric, in the order of the results."""
    keys = dict.fromkeys((row["task_name"], row["group"], row["metric"]) for row in scores)
    return [
        {
            "task": key[0],
            "targets": key[1],
            "metric": key[2],
            "test_subjects": max(row["n_test"] for row in _of(key, scores)),
            "scores": [{name: row[name] for name in _SCORE} for row in _of(key, scores)],
            "differences": [{name: row[name] for name in _DIFFERENCE} for row in _of(key, differences)],
        }
        for key in keys
    ]


def _of(key: tuple[str, str, str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if (row["task_name"], row["group"], row["metric"]) == key]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:3]))
