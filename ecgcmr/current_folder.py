"""A user's own modules, found in the folder that a command runs in, as ``python -m`` finds them."""

from __future__ import annotations

import sys
from pathlib import Path


def find_own_modules() -> None:
    """Let imports look in the current folder too, after all that is installed: nothing there takes its place."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
