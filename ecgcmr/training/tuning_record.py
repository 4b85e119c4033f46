"""``tuning.json`` of a run folder: what a fit found out about itself, a section for each part of its tuning."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.json_file import read_json

NAME = "tuning.json"


def read(folder: Path) -> dict[str, Any]:
    """Return the sections of ``tuning.json``, name -> values; none where the run found nothing out.

    Args:
        folder: Run folder.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    sections = read_json(path, what="tuning")
    if not isinstance(sections, dict) or not all(isinstance(values, dict) for values in sections.values()):
        raise UserError(f"{path}: tuning must hold an object for each section; remove the file")
    return sections


@rank_zero_only
def record(folder: Path, section: str, values: Mapping[str, Any]) -> None:
    """Merge a section into ``tuning.json``: its values are replaced by name, other sections stay. Rank 0 alone writes.

    Args:
        folder: Run folder; made if need be.
        section: ``start``, ``budget``, ``search`` or ``final_weights``.
        values: Plain values, numbers of NumPy and torch among them; NaN and infinity become null.

    Raises:
        UserError: The file that is there is damaged.
    """
    sections = read(folder)
    sections[section] = {**sections.get(section, {}), **_plain(values)}
    write_atomically(folder / NAME, (json.dumps(sections, indent=2, allow_nan=False) + "\n").encode())


def _plain(value: Any) -> Any:
    """Return a value as JSON takes it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic, torch.Tensor)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
