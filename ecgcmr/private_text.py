"""Folders and secrets of the machine that something ran on, taken out before configs, commands and notes are shown.

A path can name a person, an institution or a project. Of every path the last name stays, which says which file or
folder it was; an entry that is called a password or the like keeps its name alone.
"""

from __future__ import annotations

import re
from typing import Any

GONE = "…/"
"""Stands for the folders of a path."""
NOT_SHOWN = "(not shown)"
"""Stands for a secret."""

_NAME = r"[^\s/\\'\"`,;()<>|]+"
_PATH = re.compile(rf"(?<![\w./\\:~-])(?:~\w*|\.{{1,2}}|[A-Za-z]:|file:/*)?(?:[/\\]+{_NAME})+[/\\]*")
_WHOLE = re.compile(r"\s*(?:~|\.{1,2}[/\\]|[/\\]|[A-Za-z]:[/\\]|\w{2,}://)")
_SECRET = re.compile(r"passw(?:or)?d|passphrase|secret|api_?key|credential|access_?token|auth_?token", re.IGNORECASE)


def without_folders(content: str) -> str:
    """Return text in which each absolute path, or one that climbs, is its last name: ``…/mae.yaml``."""
    return _PATH.sub(lambda found: _last_name(found.group()), content)


def _last_name(path: str) -> str:
    return GONE + re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def is_secret(name: str) -> bool:
    """Tell whether an entry's name says that its value is a password or the like."""
    return _SECRET.search(name) is not None


def harmless(content: Any) -> Any:
    """Return a config as it may be shown: mappings, lists and values, each path its last name, no secret.

    Args:
        content: What a YAML or JSON file holds.
    """
    if isinstance(content, dict):
        return {
            harmless(name) if isinstance(name, str) else name: NOT_SHOWN
            if value is not None and isinstance(name, str) and is_secret(name)
            else harmless(value)
            for name, value in content.items()
        }
    if isinstance(content, list):
        return [harmless(value) for value in content]
    if not isinstance(content, str):
        return content
    if _WHOLE.match(content) and "\n" not in content:  # a path as a whole may hold spaces
        return _last_name(content)
    return without_folders(content)
