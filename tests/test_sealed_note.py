"""A note that the program left counts only as it was written, whatever has become of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgcmr.json_file import recall_json
from ecgcmr.sealed_note import recall_sealed, write_sealed

CONTENT = {"content": "abc", "rows": [1, 2.5, None], "entry": {"sha256": "00"}}
DAMAGE = {
    "empty": lambda text: "",
    "cut": lambda text: text[:-2],
    "deep": lambda text: "[" * 100_000,
    "a list": lambda text: f"[{text}]",
    "edited": lambda text: text.replace("2.5", "2.4"),
    "longer": lambda text: text.replace("[1,", "[1, 1,"),
    "no number": lambda text: text.replace("2.5", "NaN"),
    "without a seal": lambda text: text.replace("seal", "sael"),
}


def test_a_note_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", CONTENT)
    assert recall_sealed(tmp_path / "a.json") == CONTENT


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_edited_note_counts_as_none(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, CONTENT)
    path.write_text(DAMAGE[damage](path.read_text()))
    assert recall_sealed(path) is None


def test_no_file_is_no_note(tmp_path: Path) -> None:
    assert recall_sealed(tmp_path / "none.json") is None
    assert recall_json(tmp_path) is None
    (tmp_path / "b.json").write_bytes(b"\xff")
    assert recall_json(tmp_path / "b.json") is None
