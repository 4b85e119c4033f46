"""What the pages tell users to import and to name in a config exists: a move of modules must not leave them behind."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
NO_MODULES = ("ecgcmr.json", "ecgcmr.lock")  # names of files


def _found(name: str) -> Any:
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_imports_and_names_exists(page: Path) -> None:
    text = page.read_text()
    wrong = []
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        for line in re.findall(r"^(?:from|import) .*$", block, re.MULTILINE):
            try:
                exec(line, {})
            except ImportError as error:
                wrong.append(f"{line}: {error}")
    for name in sorted(set(re.findall(r"\b(?:ecgcmr|data_modules)(?:\.\w+)+", text)) - set(NO_MODULES)):
        try:
            _found(name)
        except (ImportError, AttributeError) as error:
            wrong.append(f"{name}: {error}")
    for path in sorted(set(re.findall(r"\b(?:configs|ecgcmr|tests)/[\w/]+\.(?:py|yaml)\b", text))):
        if not (ROOT / path).is_file():
            wrong.append(path)
    assert wrong == []
