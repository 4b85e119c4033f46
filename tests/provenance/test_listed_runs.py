"""``ecgcmr runs``: what is listed, in which order, under which conditions; what cannot be read stops nothing."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecgcmr.cli import main
from ecgcmr.locks import LOCK_NAME
from ecgcmr.provenance.run_note import RunNote


def write_run(folder: Path, loss: float | None, *, state: str = "finished", lr: float = 0.1, **test: float) -> Path:
    """Write a run folder as a fit leaves it."""
    note = RunNote(folder, "fit", ["fit", "-c", "a.yaml"])
    about = {"stage": "ecgcmr.stages.Some", "monitor": "val/loss", "step": 4}
    note.begin(about, {"versions": {"ecgcmr": "1.0"}, "ranks": 1})
    note.count(4, 32, 10.0)
    note.write(state)
    (folder / "metrics.json").write_text(json.dumps({"fit": {"val/loss": loss, "r2": 0.1}, "test": test}))
    config = {"model": {"class_path": "ecgcmr.stages.Some", "init_args": {"optimiser": {"lr": lr}}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs, two of them of one name; one has no loss."""
    write_run(tmp_path / "mae" / "demo", 0.5, lr=0.01, r2=0.4)
    write_run(tmp_path / "alignment" / "demo", 0.25, lr=0.001, r2=0.6)
    write_run(tmp_path / "mae" / "broken", None, state="failed")
    return tmp_path


def listed(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> list[dict[str, Any]]:
    assert main(["runs", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def names(found: list[dict[str, Any]]) -> list[str]:
    return [entry["run"] for entry in found]


def test_a_table_shows_each_run_by_its_path_with_what_it_monitors(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", str(runs), "--sort", "run", "--columns", "model.optimiser.lr"]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["run", "state", "stage"]
    assert [row.split()[0] for row in rows] == ["alignment/demo", "mae/broken", "mae/demo"]
    assert "val/loss 0.25" in rows[0]
    assert "0.001" in rows[0]
    assert rows[1].split()[1] == "failed"
    assert rows[1].endswith("-")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--sort", "val/loss"], ["alignment/demo", "mae/demo", "mae/broken"]),
        (["--sort", "val/loss", "--descending"], ["mae/demo", "alignment/demo", "mae/broken"]),
        (["--sort", "test:r2"], ["mae/demo", "alignment/demo", "mae/broken"]),
        (["--sort", "r2"], ["mae/broken", "mae/demo", "alignment/demo"]),  # of the test, else of the fit
        (["--sort", "run", "--where", "fit:r2=0.1"], ["alignment/demo", "mae/broken", "mae/demo"]),
        (["--where", "val/loss<0.4"], ["alignment/demo"]),
        (["--where", "val/loss=null"], ["mae/broken"]),
        (["--where", "val/loss != 0.25"], ["mae/demo"]),  # what is not known is neither equal nor other
        (["--where", "model.optimiser.lr>=0.01", "--where", "state=finished"], ["mae/demo"]),
        (["--where", "run~ALIGN"], ["alignment/demo"]),
        (["--where", "started>2020", "--where", "run=mae/demo"], ["mae/demo"]),
        (["--where", "samples>1000"], []),
    ],
)
def test_runs_are_sorted_and_chosen_by_any_value(
    words: list[str], expected: list[str], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert names(listed(capsys, runs, *words)) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sort", "val/los"], "no run knows val/los: did you mean val/loss"),
        (["--where", "val/loss"], "is no condition"),
        (["--where", "nothing<1"], "no run knows nothing"),
        (["--columns", "\x1b[2J"], "no run knows \\x1b"),
    ],
)
def test_a_name_that_no_run_knows_is_refused(
    words: list[str], message: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", str(runs), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_is_missing_is_refused_and_an_empty_one_has_no_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["runs", str(tmp_path), "--sort", "val/loss"]) == 0
    assert capsys.readouterr().out == "no runs\n"


HOSTILE = {
    "none": "no JSON",
    "nested": "[" * 100_000,
    "later": json.dumps({"schema": "ecgcmr-run", "version": 99, "state": "finished", "calls": [{}], "totals": {}}),
    "not a number": '{"schema": "ecgcmr-run", "version": NaN}',
}


def test_what_cannot_be_read_is_named_and_stops_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in HOSTILE.items():
        (runs / name).mkdir()
        (runs / name / "run.json").write_text(content)
    (runs / "mae" / "damaged").mkdir()
    write_run(runs / "mae" / "damaged", 0.3)
    (runs / "mae" / "damaged" / "metrics.json").write_text('{"fit": []}')
    (runs / "loop").symlink_to(runs)
    assert main(["runs", str(runs), "--json"]) == 3
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == 3
    assert shown.err.count("note: not listed: ") == len(HOSTILE) + 1
    assert all(f"{runs / name / 'run.json'}" in shown.err for name in HOSTILE)
    assert "use a later version" in shown.err


def test_values_that_a_note_should_not_hold_are_shown_as_text_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", 0.5)
    note = json.loads((folder / "run.json").read_text())
    note |= {"stage": "\x1b[31mred", "monitor": ["x"], "step": {"a": 1}, "cohort": "none"}
    note["totals"] |= {"seconds": -5, "samples": "many", "operations": 1e300}
    note["calls"][0] |= {"started": 17, "versions": "all", "code": {"package": 3}}
    (folder / "run.json").write_text(json.dumps(note))
    assert main(["runs", str(tmp_path), "--columns", "step", "operations"]) == 0
    row = capsys.readouterr().out.splitlines()[2]
    assert "\x1b" not in row
    assert "\\x1b[31mred" in row
    assert "many" in row


def test_a_run_that_was_killed_is_unfinished_and_one_at_work_is_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", 0.5, state="running")
    assert listed(capsys, tmp_path)[0]["state"] == "unfinished"
    with (folder / LOCK_NAME).open("w") as lock:
        assert listed(capsys, tmp_path)[0]["state"] == "unfinished"  # a lock file that was left behind
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert listed(capsys, tmp_path)[0]["state"] == "running"


def test_a_run_of_before_there_were_notes_and_runs_below_a_run_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (write_run(tmp_path, 0.5) / "run.json").unlink()
    write_run(tmp_path / "below", 0.25)
    write_run(tmp_path / "search" / "wide", 0.1)  # of a search, gone when it ends
    found = listed(capsys, tmp_path, "--sort", "val/loss")
    assert [(entry["run"], entry["state"]) for entry in found] == [("below", "finished"), (".", "no run.json")]
    assert found[1]["metrics"]["fit"]["val/loss"] == 0.5
