"""An assessment as results.json: stable order, no dates, no subject; the same predictions twice give the same bytes.

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
from ecgcmr.evaluation.results import ResultRow
from ecgcmr.files import write_atomically

FORMAT = "ecgcmr-results-2"
DECIMALS = 6


def write_assessment(found: Assessment, path: Path | str, *, rows: Sequence[ResultRow] = ()) -> Path:
    """Write results.json atomically.

    Args:
        found: What to write.
        path: The file.
        rows: Rows of further runs for a comparison, of which there are no predictions.
    """
    about = {"format": FORMAT, "settings": asdict(found.settings), "notes": found.notes}
    head = [f"{json.dumps(name)}: {json.dumps(_plain(value), allow_nan=False)}" for name, value in about.items()]
    lists = {
        "targets": _targets(found),
        "scores": [asdict(row) for row in (*found.scores, *rows)],
        "differences": [asdict(row) for row in found.differences],
        "subgroups": [asdict(row) for row in found.subgroups],
        "calibration": [asdict(row) for row in found.calibration],
    }
    parts = [*head, *(f"{json.dumps(name)}: {_list(entries)}" for name, entries in lists.items())]
    return write_atomically(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def _targets(found: Assessment) -> Iterable[dict[str, Any]]:
    data = found.data
    observed = data.observed
    for k, (target, kind) in enumerate(zip(data.targets, data.kinds, strict=True)):
        truth = data.test.event[:, k] if kind == "time_to_event" else data.test.truth[:, k]
        yield {
            "name": target.name,
            "group": target.group,
            "unit": target.unit,
            "kind": kind,
            "n_test": int(observed[:, k].sum()),
            "n_missing": int((~observed[:, k]).sum()),
            "positives": None if kind == "regression" else int(truth[observed[:, k]].sum()),
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
