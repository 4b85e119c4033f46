"""The notebooks of the documentation run from their first cell to their last without a screen; they hold no output."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_output_and_no_count(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed; make long installs it")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed; make long installs it")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed; make long installs it")
    monkeypatch.setenv("PYTHONPATH", str(path.parents[2]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    book = nbformat.read(path, as_version=4)
    few, changed = re.subn(r"SUBJECTS, STEPS = \d+, \d+", "SUBJECTS, STEPS = 20, 2", book.cells[2].source)
    assert changed == 1
    book.cells[2].source = few
    nbclient.NotebookClient(
        book, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = [_shown(cell) for cell in book.cells if cell.cell_type == "code"]
    assert any("<Figure size" in text for text in shown)
    (metrics,) = [text for text in shown if "'train/loss'" in text]
    numbers = re.findall(r"'\w+/\w+': (\S+?)[,}]", metrics)
    assert numbers
    assert all(math.isfinite(float(number)) for number in numbers)


def _shown(cell: Any) -> str:
    return "\n".join(str(output.get("data", {}).get("text/plain", "")) for output in cell.outputs)
