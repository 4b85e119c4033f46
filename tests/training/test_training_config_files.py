"""Config files of ``fit``: what would fill the memory, hang or be misread is refused before a parser reads it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.training.config_files import Composition

BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_bomb_of_aliases_ends_in_one_line(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fit.yaml"
    path.write_text(BOMB)
    start = time.perf_counter()
    assert main([command, "-c", str(path), "--data.root", "data"]) == 2
    assert time.perf_counter() - start < 20
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: config: stands for more than 200,000 values")
    assert error.count("\n") == 1


def test_a_bomb_within_a_text_or_on_the_command_line_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "{" + BOMB.replace("\n", ", ") + "}"
    path = tmp_path / "fit.yaml"
    path.write_text(f"trainer:\n  max_epochs: '{text}'\n")
    for arguments in (["-c", str(path)], ["--trainer.max_epochs", text], ["--model", text]):
        assert main(["fit", *arguments]) == 2
        assert "more than 200,000 values" in capsys.readouterr().err


def test_configs_that_a_config_names_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "model.yaml").write_text("init_args: {encoder: encoder.yaml}")
    (tmp_path / "parts" / "encoder.yaml").write_text(BOMB)
    (tmp_path / "fit.yaml").write_text("model: parts/model.yaml")
    for arguments in (["-c", "fit.yaml"], ["--config=fit.yaml"], ["--model", "parts/model.yaml"]):
        named = [argument.replace("fit.yaml", str(tmp_path / "fit.yaml")) for argument in arguments]
        named = [argument.replace("parts/", f"{tmp_path}/parts/") for argument in named]
        with pytest.raises(UserError, match=r"encoder\.yaml: config: stands for more than 200,000 values"):
            Composition("fit", named)


def test_files_that_name_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("x: a.yaml")
    for content in ("x: b.yaml", "base: b.yaml", "x: {base: b.yaml}", "base: a.yaml"):
        (tmp_path / "a.yaml").write_text(content)
        with pytest.raises(UserError, match=r"a\.yaml: is named by what it names itself"):
            Composition("fit", ["-c", str(tmp_path / "a.yaml")])
    for number in range(120):
        (tmp_path / f"{number}.yaml").write_text(f"x: {number + 1}.yaml")
    with pytest.raises(UserError, match="more than 100 config files"):
        Composition("fit", ["-c", str(tmp_path / "0.yaml")])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model: {a: 1, a: 2}", "'a' is given twice"),
        (b"- 1", "must hold 'key: value' entries"),
        (b"", "found nothing"),
        ("x: Gr\u00f6sse".encode("latin-1"), "no UTF-8"),
        (b"x: pipe", "is a pipe or device"),
        (b"[" * 4000, "nested deeper"),
        (b"trainer: {max_epochs: !!int x}", "not what its tag"),
    ],
)
def test_what_is_no_config_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "fit.yaml"
    path.write_bytes(content)
    assert main(["fit", "-c", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_a_pipe_and_a_missing_file_are_no_configs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, message in (("", "a folder"), ("pipe.yaml", "a pipe"), ("none.yaml", "there is no config file")):
        with pytest.raises(UserError, match=message):
            Composition("fit", ["-c", str(tmp_path / name)])
