"""The page and the config pieces of published encoders say what the registry says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import yaml

from ecgcmr.encoders.published import published_encoders, published_image_encoders

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = published_encoders()
IMAGES = published_image_encoders()


@pytest.mark.slow
def test_the_tables_are_those_of_the_registry() -> None:
    """If this fails, run ``python docs/published_tables.py``."""
    made = runpy.run_path(str(ROOT / "docs" / "published_tables.py"))
    page = (ROOT / "docs" / "published_encoders.md").read_text()
    assert made["filled"](page) == page
    assert "| `ecgfounder` | ECGFounder, 12 leads | 12 | 500 | 10, others too | 5,000 |" in page
    with pytest.raises(SystemExit, match="0 places for the table inputs"):
        made["filled"]("")


def test_each_has_a_piece_of_config_by_its_name() -> None:
    pieces = {path.stem: path for path in (ROOT / "configs" / "encoders").glob("published_*.yaml")}
    assert set(pieces) == {f"published_{name.replace('-', '_')}" for name in [*ENTRIES, *IMAGES]}
    for name, entry in ENTRIES.items():
        text = pieces[f"published_{name.replace('-', '_')}"].read_text()
        assert yaml.safe_load(text)["init_args"] == {"name": name}
        first = text.splitlines()[0]
        assert first.startswith(f"# {entry.title}, ")
        assert re.search(r"data\.samples (\d+)$", first)[1] == str(round(entry.takes.seconds * 500))  # type: ignore[index]
    for name, images in IMAGES.items():
        text = pieces[f"published_{name.replace('-', '_')}"].read_text()
        assert yaml.safe_load(text) == {"class_path": images.class_path, "init_args": images.init_args}
        assert text.splitlines()[0] == f"# {images.title}: for cohorts of {images.prepare}"


@pytest.mark.parametrize("name", [*ENTRIES, *IMAGES])
def test_each_says_where_it_comes_from(name: str) -> None:
    entry = ENTRIES.get(name) or IMAGES[name]
    assert entry.paper
    assert "github.com/" in entry.code
    assert entry.weights
    assert name in IMAGES or ENTRIES[name].listing
    for sentence in entry.unverified:
        assert sentence.endswith(".")
