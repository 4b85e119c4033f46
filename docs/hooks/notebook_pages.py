"""The pages of the notebooks: their text and code; what they show, whoever runs them sees."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = "notebooks"


def notebook_pages(docs: Path) -> dict[str, str]:
    """Return the pages by their place below ``docs``.

    Args:
        docs: Holds ``notebooks/*.ipynb``, which are handed out beside their pages.
    """
    return {f"{FOLDER}/{path.stem}.md": _page(path) for path in sorted((docs / FOLDER).glob("*.ipynb"))}


def _page(path: Path) -> str:
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"]).strip()
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    note = f"This page is a notebook: [{path.name}]({path.name}). It runs from its first cell to its last in a minute."
    return "\n\n".join([parts[0], note, *parts[1:]]) + "\n"
