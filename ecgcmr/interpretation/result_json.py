"""Writing an analysis as JSON: whole or not at all, six digits of each number, null for what is undefined."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ecgcmr.files import write_atomically

_DIGITS = 6


def write_json(path: Path, content: Any) -> Path:
    """Write lists, dicts, arrays and numbers; returns the path."""
    return write_atomically(path, (json.dumps(plain(content), indent=1, allow_nan=False) + "\n").encode())


def plain(value: Any) -> Any:
    """Return what JSON has for a value: NumPy's types as Python's, numbers of six significant digits, NaN as None."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(part) for part in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{float(value):.{_DIGITS}g}") if math.isfinite(value) else None
    return value
