"""Results as JSON: stable order, no dates, no subject; the same predictions twice give the same bytes.

Numbers are rounded to ``DECIMALS`` decimals: more than any interval can resolve, fewer than the rounding of sums that
are added in another order can reach.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ecgcmr.evaluation.assessment import Assessment
from ecgcmr.evaluation.costs import CostRow
from ecgcmr.evaluation.published import PublishedRow
from ecgcmr.evaluation.rows import DifferenceRow, ResultRow
from ecgcmr.files import write_atomically

FORMAT = "ecgcmr-results-2"
DECIMALS = 6


def write_assessment(found: Assessment, path: Path | str, *, rows: Sequence[ResultRow] = ()) -> Path:
    """Write the results.json of an assessment atomically.

    Args:
        found: What to write.
        path: The file.
        rows: Rows of further runs for a comparison, of which there are no predictions.
    """
    about = {"format": FORMAT, "settings": asdict(found.settings), "notes": found.notes}
    head = [f"{json.dumps(name)}: {json.dumps(_plain(value), allow_nan=False)}" for name, value in about.items()]
    lists = {
        "targets": _targets(found),
        "scores": map(asdict, (*found.scores, *rows)),
        "differences": map(asdict, found.differences),
        "subgroups": map(asdict, found.subgroups),
        "calibration": map(asdict, found.calibration),
        **({"published": map(asdict, found.published)} if found.published else {}),
        **({"costs": map(asdict, found.costs)} if found.costs else {}),
    }
    parts = [*head, *(f"{json.dumps(name)}: {_list(entries)}" for name, entries in lists.items())]
    return write_atomically(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def write_rows(
    rows: Iterable[ResultRow | DifferenceRow],
    path: Path | str,
    published: Sequence[PublishedRow] = (),
    costs: Sequence[CostRow] = (),
) -> Path:
    """Write rows alone, atomically, as the results.json of an experiment has them.

    Args:
        rows: Of our own.
        path: The file.
        published: Scores of others; where there are any, the file is an object of ``scores`` and ``published``, else
            the list of rows.
        costs: Of networks, the same under ``costs``.
    """
    text = _list(map(asdict, rows))
    further: dict[str, Sequence[Any]] = {"published": published, "costs": costs}
    sections = [f'"{name}": {_list(map(asdict, entries))}' for name, entries in further.items() if entries]
    if sections:
        text = "{\n" + ",\n".join([f'"scores": {text}', *sections]) + "\n}"
    return write_atomically(path, f"{text}\n".encode())


def _targets(found: Assessment) -> Iterable[dict[str, Any]]:
    data = found.data
    observed, subjects = data.observed, data.test.subjects
    everyone = len(np.unique(subjects))
    for k, (target, task) in enumerate(zip(data.targets, data.task_of_target, strict=True)):
        known = len(np.unique(subjects[observed[:, k]]))
        positive = observed[:, k] & (data.test.truth[:, k] == 1)
        yield {
            "name": target.name,
            "title": target.title,
            "group": target.group,
            "unit": target.unit,
            "kind": task.kind,
            "task_name": task.name,
            "n_test": known,
            "n_missing": everyone - known,
            "positives": len(np.unique(subjects[positive])) if task.binary or task.followed else None,
            "horizon": float(found.horizons[k]),
            "undefined": found.undefined.get(target.name, ""),
        }


def _list(entries: Iterable[dict[str, Any]]) -> str:
    lines = ",\n".join(json.dumps(_plain(entry), allow_nan=False) for entry in entries)
    return f"[\n{lines}\n]" if lines else "[]"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), DECIMALS) + 0.0 if math.isfinite(value) else None  # + 0.0: no negative zero
    return value
