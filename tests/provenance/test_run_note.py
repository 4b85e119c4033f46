"""The note of a run: its sums over calls, what a killed call leaves, what is refused, and what is never written."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from ecgcmr.errors import UserError
from ecgcmr.provenance.command_words import harmless_command
from ecgcmr.provenance.git_state import folder_state, git_state
from ecgcmr.provenance.run_note import FAILED, FINISHED, NAME, VERSION, RunNote, read_note, totals_of
from ecgcmr.provenance.surroundings import PACKAGES, hardware, versions

ROOT = Path(__file__).parents[2]


def begun(folder: Path, from_step: int = 0, kind: str = "fit") -> RunNote:
    note = RunNote(folder, kind, ["fit", "-c", "mae.yaml"])
    note.begin({"stage": "a.B"}, {"ranks": 1}, from_step)
    return note


def test_what_calls_did_is_summed_and_a_call_that_was_killed_is_called_so(tmp_path: Path) -> None:
    first = begun(tmp_path)
    assert read_note(tmp_path)["state"] == "running"
    first.count(3, 24, 100.0)
    first.write()  # and then it is killed
    second = begun(tmp_path, 2)
    second.count(4, 32, second.per_sample)
    second.write(FAILED)
    third = begun(tmp_path, 6)
    third.count(0, 0, third.per_sample)
    third.write(FINISHED)
    note = read_note(tmp_path)
    assert [call["state"] for call in note["calls"]] == ["killed", "failed", "finished"]
    assert [call["from_step"] for call in note["calls"]] == [0, 2, 6]
    assert note["state"] == "finished"
    totals = {name: note["totals"][name] for name in ("calls", "steps", "samples", "operations")}
    assert totals == {"calls": 3, "steps": 7, "samples": 56, "operations": 5600}
    assert note["totals"]["seconds"] == pytest.approx(sum(call["seconds"] for call in note["calls"]))
    assert third.is_finished()


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    assert totals_of([{"steps": 1, "samples": 2, "operations": None}, {"steps": 1, "samples": "2"}]) == {
        "calls": 2, "seconds": None, "steps": 2, "samples": None, "operations": None,
    }  # fmt: skip


HOSTILE: dict[str, tuple[Any, str]] = {
    "no object": ([1], "no note of a run"),
    "another schema": ({"schema": "x"}, "no note of a run"),
    "a later version": ({"version": VERSION + 1}, "use a later version"),
    "no version": ({"version": True}, "version of its schema"),
    "an unknown state": ({"state": "\x1b[2Jdone"}, "state \\x1b"),
    "calls that are none": ({"calls": "many"}, "calls must be a list"),
    "no calls": ({"calls": []}, "one at least"),
    "no totals": ({"totals": 3}, "totals must be an object"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_note_that_is_none_is_refused_by_name_and_a_run_that_goes_on_begins_it_anew(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = HOSTILE[name]
    whole = {"schema": "ecgcmr-run", "version": 1, "state": "finished", "calls": [{}], "totals": {}}
    (tmp_path / NAME).write_text(json.dumps(whole | content if isinstance(content, dict) else content))
    with pytest.raises(UserError) as refused:
        read_note(tmp_path)
    assert message in str(refused.value)
    assert str(tmp_path / NAME) in str(refused.value)
    begun(tmp_path).write(FINISHED)
    assert "it is begun anew" in capsys.readouterr().err
    assert read_note(tmp_path)["totals"]["calls"] == 1


def test_the_note_of_another_kind_is_not_gone_on_with(tmp_path: Path) -> None:
    begun(tmp_path, kind="experiment").write(FINISHED)
    begun(tmp_path).write(FINISHED)
    assert (read_note(tmp_path)["kind"], read_note(tmp_path)["totals"]["calls"]) == ("fit", 1)


def test_a_command_keeps_neither_folders_nor_secrets() -> None:
    words = [
        *("fit", "-c", "configs/mae/demo.yaml", "--data.root", "/home/anna/ukb 7", "--data.key_file=../anna/k.txt"),
        *("--logger.api_key", "abc", "--logger.password=abc", "--trainer.max_epochs=2", "--x.secret", "--compile=true"),
    ]
    shown = harmless_command(words)
    assert "anna" not in shown
    assert "abc" not in shown
    assert shown.startswith("ecgcmr fit -c configs/mae/demo.yaml --data.root '…/ukb 7' '--data.key_file=…/k.txt' ")
    assert shown.endswith("--trainer.max_epochs=2 --x.secret --compile=true")


def test_the_state_of_a_repository_is_its_commit_and_whether_known_files_differ(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    assert folder_state(tmp_path) is None
    git("init", "-q")
    assert folder_state(tmp_path) is None  # no commit yet
    (tmp_path / "a.py").write_text("a = 1\n")
    git("add", "a.py")
    git("commit", "-qm", "a")
    clean = folder_state(tmp_path)
    assert clean is not None
    assert (len(clean["commit"]), clean["dirty"], "changes" in clean) == (40, False, False)
    (tmp_path / "data.h5").write_text("not known to it\n")
    assert folder_state(tmp_path) == clean
    assert git_state(tmp_path / "a.py") == clean
    assert git_state(tmp_path / "data.h5") is None  # as a package in a virtual environment within a repository
    (tmp_path / "a.py").write_text("a = 2\n")
    changed = folder_state(tmp_path)
    assert changed is not None
    assert (changed["commit"], changed["dirty"], len(changed["changes"])) == (clean["commit"], True, 64)


def test_versions_cover_what_the_package_needs_and_hardware_names_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = {Requirement(line).name for line in declared}
    assert needed <= set(PACKAGES)
    assert {"python", "ecgcmr", "torch"} <= set(versions())
    monkeypatch.setattr("platform.node", lambda: pytest.fail("the host's name was asked for"))
    known = hardware()
    assert known["cores"] >= 1
    assert known["threads"] >= 1
