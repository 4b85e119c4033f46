"""Notes that the program leaves for its next run, with a checksum: a damaged or edited one counts as none."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ecgcmr.files import replace_atomically
from ecgcmr.json_file import recall_json

_SEAL = "seal"


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Write a note atomically.

    Args:
        path: The file.
        content: JSON-able, without NaN and without the key ``seal``.
    """
    text = json.dumps({**content, _SEAL: _checksum(content)}, sort_keys=True, allow_nan=False)
    with replace_atomically(path) as temporary:
        temporary.write_text(text, encoding="ascii")


def recall_sealed(path: Path) -> dict[str, Any] | None:
    """Return the content of a note; None where there is none, or not as it was written."""
    content = recall_json(path)
    if not isinstance(content, dict) or content.pop(_SEAL, None) != _checksum(content):
        return None
    return content


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
