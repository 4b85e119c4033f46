"""What a bare signal file does not say of itself: a small YAML file ``ecg.yaml`` beside it does.

It serves all CSV, TSV, NumPy, MATLAB and Parquet files of its folder::

    leads: [I, II, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6]
    unit: mV
    sampling_rate: 500

``leads`` may be left out where the file's columns carry lead names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.formats.lead_names import standard_lead
from ecgcmr.formats.limits import MAX_LEADS, check_rate, naming, read_content
from ecgcmr.formats.memory_file import MemoryFile
from ecgcmr.formats.units import millivolts_per
from ecgcmr.yaml_file import parse_yaml, read_yaml

DECLARATION_FILE = "ecg.yaml"
_MAX_DECLARATION_BYTES = 16 * 1024
_FIELDS = ("leads", "unit", "sampling_rate")


@dataclass(frozen=True)
class SignalDeclaration:
    """What a bare signal file does not say of itself.

    Attributes:
        leads: Lead names in the order of the file; may be empty where the file's columns carry lead names.
        unit: V, mV, uV or nV, after a factor if need be: ``4.88 uV``.
        sampling_rate: In Hz, 1 to 100,000.

    Raises:
        UserError: A unit that is no voltage, a rate out of bounds, a lead twice or too many leads.
    """

    leads: tuple[str, ...]
    unit: str
    sampling_rate: float

    def __post_init__(self) -> None:
        millivolts_per(self.unit)
        check_rate(self.sampling_rate)
        leads = tuple(standard_lead(name) for name in self.leads)
        if len(set(leads)) < len(leads) or "" in leads or len(leads) > MAX_LEADS:
            raise UserError(f"declared leads must be at most {MAX_LEADS} different names")
        object.__setattr__(self, "leads", leads)


def load_declaration(path: str | Path) -> SignalDeclaration:
    """Read a declaration from a YAML file with the fields ``leads``, ``unit`` and ``sampling_rate``.

    Raises:
        UserError: The file is missing or malformed, or a field is missing, unknown or out of bounds.
    """
    if isinstance(path, MemoryFile):
        with naming(path):
            content = read_content(path, _MAX_DECLARATION_BYTES).decode("utf-8", "replace")
        fields = parse_yaml(content, f"{path.name}: declaration")
    else:
        path = Path(path)
        fields = read_yaml(path, what="declaration", most=_MAX_DECLARATION_BYTES, shown=path.name)
    with naming(path):
        return _declaration(fields)


def find_declaration(path: Path) -> Path | None:
    """Return the declaration that lies beside a file, if there is one."""
    beside = path.with_name(DECLARATION_FILE)
    return beside if beside.is_file() else None


def _declaration(fields: Any) -> SignalDeclaration:
    if not isinstance(fields, dict):
        raise UserError(f"must hold the fields {', '.join(_FIELDS)}")
    unknown = [str(name)[:20] for name in fields if name not in _FIELDS]
    if unknown:
        raise UserError(f"unknown field {unknown[0]!r}; the fields are {', '.join(_FIELDS)}")
    leads, unit, rate = (fields.get(name) for name in _FIELDS)
    if not isinstance(leads or [], list) or not all(isinstance(name, str) for name in leads or []):
        raise UserError("`leads` must be a list of lead names")
    if isinstance(unit, int | float) and not isinstance(unit, bool):
        raise UserError(f"`unit` is a number without a unit; write it as in: unit: {unit:g} uV")
    if not isinstance(unit, str):
        raise UserError("`unit` is missing; state V, mV, uV or nV")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not math.isfinite(rate):
        raise UserError("`sampling_rate` is missing or not a number of Hz")
    return SignalDeclaration(tuple(leads or ()), unit, float(rate))
