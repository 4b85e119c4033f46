"""The pages made of files beside ``docs``: how to contribute, and what has changed."""

from __future__ import annotations

import re
from pathlib import Path

_FILES = {"CONTRIBUTING.md": "project/contributing.md", "CHANGELOG.md": "project/changelog.md"}


def project_pages(root: Path) -> dict[str, str]:
    """Return the pages by their place below ``docs``.

    Args:
        root: Folder of the repository.
    """
    return {page: _page(root / name) for name, page in _FILES.items()}


def _page(path: Path) -> str:
    """Return a file's text, its links as they are from the page."""
    text = re.sub(r"\]\(docs/", "](../", path.read_text(encoding="utf-8"))
    for name, page in _FILES.items():
        text = text.replace(f"]({name})", f"]({Path(page).name})")
    return text
