"""Keeps keys out of the home folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A fixed key, so that hashes and splits are the same in every test run."""
    path = tmp_path / "subject.key"
    path.write_bytes(bytes(range(32)))
    return path
