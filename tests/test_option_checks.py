"""A command that writes a folder does not make one that is called like a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.option_checks import folder_to_write

WRITE_FOLDERS = [
    "demo",
    "synthesize",
    "prepare",
    "inspect",
    "import-weights",
    "experiment",
    "submit",
    "sweep",
    "evaluate",
    "compare",
    "export",
    "infer",
    "explain",
    "reproduce",
    "bench",
]


@pytest.mark.parametrize("command", WRITE_FOLDERS)
def test_a_folder_is_not_called_like_a_file(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, "--out", "results/all.JSON"]) == 2
    line = "error: --out results/all.JSON: is to be a folder, and .JSON is the ending of a file; give results/all\n"
    assert capsys.readouterr().err == line
    assert not any(tmp_path.iterdir())


def test_a_name_with_a_point_is_a_folder(tmp_path: Path) -> None:
    for name in ("v1.2", "trial.final", "..", "mae+alignment"):
        assert folder_to_write(name) == Path(name)
    (tmp_path / "kept.h5").mkdir()
    assert folder_to_write(str(tmp_path / "kept.h5")) == tmp_path / "kept.h5"
    with pytest.raises(UserError, match="give a, or a table"):
        folder_to_write("a.txt", ", or a table")
