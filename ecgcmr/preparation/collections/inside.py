"""Whether a path that a table of a data set names stays within the data set's folder."""

from __future__ import annotations

from pathlib import PurePosixPath


def is_inside(name: str) -> bool:
    """Tell whether a relative path leads to something below the folder that it is relative to."""
    path = PurePosixPath(name)
    return bool(name) and "\0" not in name and "\\" not in name and not path.is_absolute() and ".." not in path.parts
