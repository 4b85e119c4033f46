"""``ecgcmr configs``: every shipped config by name with its first comment, its text, and a copy that works as it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ecgcmr.cli import main
from ecgcmr.config_pieces import read_config
from ecgcmr.installation import configs_command
from ecgcmr.shipped_configs import shipped_configs


def test_every_config_is_listed_with_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert [line.split()[0] for line in lines] == list(shipped_configs())
    assert all(len(line.split()) > 2 and "#" not in line.split()[1] for line in lines)


def test_a_room_is_listed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "encoders"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [name for name in shipped_configs() if name.startswith("encoders/")]


@pytest.mark.parametrize("name", ["mae/demo", "mae/demo.yaml"])
def test_a_config_is_shown_as_it_stands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", name]) == 0
    assert capsys.readouterr().out == shipped_configs()["mae/demo"].read_text()


def test_an_unknown_name_is_refused_with_close_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "mae/dmo"]) == 2
    assert "there is no shipped config mae/dmo; close to it: mae/demo" in capsys.readouterr().err


def test_a_copy_reads_as_the_shipped_ones_and_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["configs", "--copy", str(tmp_path / "mine")]) == 0
    for name in ("alignment/demo", "downstream/ptbxl", "mae/turgut2025_tiny"):
        assert read_config(tmp_path / "mine" / f"{name}.yaml") == read_config(shipped_configs()[name])
    assert len(list((tmp_path / "mine").rglob("*.yaml"))) == len(shipped_configs())
    assert main(["configs", "--copy", str(tmp_path / "mine")]) == 2
    assert "not empty; name a new folder" in capsys.readouterr().err


def test_a_single_config_is_not_copied_without_what_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "mae/demo", "--copy", "mine"]) == 2
    assert "leave out mae/demo" in capsys.readouterr().err


def test_a_copy_that_the_disk_has_no_room_for_leaves_nothing_and_names_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = list[Path]()

    def copy(source: Path, target: Path) -> None:
        copied.append(target)
        target.write_text("")
        if len(copied) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source), None, str(target))

    monkeypatch.setattr(configs_command.shutil, "copyfile", copy)
    assert main(["configs", "--copy", str(tmp_path / "mine")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {copied[-1]}: No space left on device; free some space there")
    assert not any((tmp_path / "mine").iterdir())
