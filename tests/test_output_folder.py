"""A folder of results: written together, and nothing of another origin is replaced unasked."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ecgcmr.errors import UserError
from ecgcmr.output_folder import MARKER, output_folder


def write(
    folder: Path, source: dict[str, Any], files: dict[str, str], command: str = "evaluate", **options: Any
) -> None:
    with output_folder(folder, command, source, names=("results.json",), **options) as staged:
        for name, text in files.items():
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


FIRST = {"results.json": "first", "figures/a.png": "a", "figures/b.png": "b"}
SECOND = {"results.json": "second", "figures/a.png": "c"}


def test_the_same_command_on_the_same_input_may_write_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, {"table": "x"}, FIRST)
    write(out, {"table": "x"}, FIRST)
    assert content(out) == FIRST


@pytest.mark.parametrize(("source", "command"), [({"table": "y"}, "evaluate"), ({"table": "x"}, "compare")])
def test_results_of_another_origin_are_replaced_by_request_alone(
    tmp_path: Path, source: dict[str, Any], command: str
) -> None:
    write(tmp_path, {"table": "x"}, FIRST)
    with pytest.raises(UserError, match=r"holds results.json .*--overwrite"):
        write(tmp_path, source, SECOND, command)
    assert content(tmp_path) == FIRST
    write(tmp_path, source, SECOND, command, overwrite=True)
    assert content(tmp_path)["results.json"] == "second"
    if command == "evaluate":  # none of the first table's figures stands beside the second one's
        assert content(tmp_path) == SECOND


def test_a_file_that_nobody_knows_of_stays(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_text("mine")
    with pytest.raises(UserError, match=r"figures/a.png of another origin"):
        write(tmp_path, {}, FIRST)
    assert content(tmp_path) == {"figures/a.png": "mine"}
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        write(tmp_path / "file", {}, FIRST)


def test_pictures_of_an_earlier_call_may_be_kept(tmp_path: Path) -> None:
    write(tmp_path, {}, {"ecg.png": "1"}, "inspect", keep_others=True)
    write(tmp_path, {}, {"slices.png": "2"}, "inspect", keep_others=True)
    write(tmp_path, {}, {"ecg.png": "3"}, "inspect", keep_others=True)
    assert content(tmp_path) == {"ecg.png": "3", "slices.png": "2"}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_call_that_fails_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    write(tmp_path, {"table": "x"}, FIRST)

    def cut_off() -> None:
        with output_folder(tmp_path, "evaluate", {"table": "x"}) as staged:
            (staged / "results.json").write_text("half")
            raise error

    with pytest.raises(type(error)):
        cut_off()
    assert content(tmp_path) == FIRST
    assert sorted(os.listdir(tmp_path)) == [MARKER, "figures", "results.json"]


def test_an_error_names_the_place_and_not_the_way_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as caught, output_folder(tmp_path, "evaluate", {}) as staged:
        raise OSError(errno.ENOSPC, "No space left on device", str(staged / "figures" / "a.png"))
    assert caught.value.filename == str(tmp_path / "figures" / "a.png")
