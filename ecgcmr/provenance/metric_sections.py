"""The last numbers of a run, as its ``metrics.json`` holds them: a section for each command."""

from __future__ import annotations

from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.json_file import finite_number, read_json


def metric_sections(path: Path) -> dict[str, dict[str, float | None]]:
    """Return section -> name -> number, None for what is no finite number.

    Raises:
        UserError: There is no such file, or it is something else.
    """
    content = read_json(path, what="metrics")
    if not isinstance(content, dict) or not all(isinstance(values, dict) for values in content.values()):
        raise UserError(f"{path}: metrics must hold a section for each command")
    return {
        section: {name: float(value) if finite_number(value) else None for name, value in values.items()}
        for section, values in content.items()
    }
