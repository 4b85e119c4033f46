"""The example of docs/evaluation.md runs as it is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = np.random.default_rng(0)
    features = world.normal(size=(120, 4))
    labels = 150 + 20 * features[:, :2] + world.normal(size=(120, 2))
    parts = dict(zip(("train", "val", "test"), np.split(np.arange(120), [60, 90]), strict=True))
    names = {f"{part}_features": features[rows] for part, rows in parts.items()}
    names |= {f"{part}_labels": labels[rows] for part, rows in parts.items()}
    example = DOCS.read_text().split("```python\n")[1].split("```")[0]
    exec(example, {**names, "test_subjects": [f"{k:032x}" for k in parts["test"]]})
    assert "Mean R2 over 2 targets (LV+RV)" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "results.json").is_file()
