"""The bounded reader of JSON."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecgcmr.errors import UserError
from ecgcmr.json_file import finite_number, read_json


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"value": NaN}', "NaN, which JSON does not have"),
        (b'{"value": -Infinity}', "-Infinity"),
        (b'{"value": 1e999}', "1e999 is too large"),
        (b'{"a": 1, "a": 2}', "'a' is given twice"),
        ('{"a": "Gr\u00f6sse"}'.encode("latin-1"), "no UTF-8"),
        (b"", "cannot be read as JSON"),
        (b"9" * 5000, "cannot be read as JSON"),
        (b'{"a": 1', "cannot be read as JSON"),
    ],
)
def test_what_is_no_sound_json_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_json(path, what="results")
    assert str(caught.value).startswith(f"{path}: results ")
    assert "\n" not in str(caught.value)


def test_a_pipe_a_folder_and_what_is_too_large_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b" " * 101)
    for name, message in (("pipe", "a pipe"), ("", "a folder"), ("large", "larger than 100 bytes")):
        with pytest.raises(UserError, match=message):
            read_json(tmp_path / name, most=100)


def test_numbers_are_no_booleans_and_no_texts() -> None:
    assert finite_number(0)
    assert finite_number(-1.5)
    assert not any(map(finite_number, (True, "1", None, [], float("nan"), float("inf"))))
