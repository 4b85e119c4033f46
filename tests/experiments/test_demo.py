"""``ecgcmr demo``: its steps are commands as a user would type them, it stops where one fails, and it goes on."""

from __future__ import annotations

import json
import shlex
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import ecgcmr.arguments
from ecgcmr.cli import COMMANDS, main
from ecgcmr.experiments.demo_command import steps

pytestmark = pytest.mark.long

LITTLE = [
    "evaluation.labels=[20]", "evaluation.resamples=20", "evaluation.finetune=[]", "evaluation.baselines=[oracle]",
    "evaluation.linear_probe=[mae+alignment]", "evaluation.tasks.diseases=null",
    "evaluation.tasks.phenotypes.targets=[LV]", "stages.alignment=null",
    "stages.mae.set.trainer.max_epochs=1", "stages.mae+alignment.set.trainer.max_epochs=1",
]  # fmt: skip


def test_each_step_is_a_command_line_that_its_command_takes() -> None:
    read = []
    for name, module, words in steps(Path("a folder"), 3, ["evaluation.windows=1"]):
        assert COMMANDS[name][0] == module
        command = import_module(module)
        stand_in: Any = SimpleNamespace(
            HELP=command.HELP, add_arguments=command.add_arguments, run=lambda args: read.append(vars(args)) or 0
        )
        ecgcmr.arguments.run_command(name, stand_in, words)
    assert [arguments.get("out") for arguments in read] == [
        Path("a folder"), None, Path("a folder/model"), Path("a folder/new_subject"), Path("a folder/inferred")
    ]  # fmt: skip
    assert read[0]["overrides"] == ["evaluation.windows=1"]
    assert read[0]["workers"] == 3


def test_the_demo_stops_where_a_step_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    done = []

    def run_command(name: str, module: ModuleType, words: list[str]) -> int:
        done.append(name)
        return 3 if name == "report" else 0

    from ecgcmr.experiments import demo_command

    monkeypatch.setattr(ecgcmr.arguments, "run_command", run_command)
    arguments = SimpleNamespace(out=Path("out"), workers=1, overrides=[])
    assert demo_command.run(arguments) == 3  # type: ignore[arg-type]
    assert done == ["experiment", "report"]
    assert "report ended with 3" in capsys.readouterr().err


@pytest.mark.slow
def test_a_little_demo_reads_a_new_ecg_and_goes_on_where_it_was(
    tmp_path: Path, cohort_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["demo", *LITTLE, "cohort.synthesize=null", f"cohort.root={cohort_root}", "--workers", "1"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    commands = [shlex.split(line.partition("] ")[2]) for line in shown.splitlines() if line.startswith("[")]
    assert [command[:2] for command in commands] == [
        ["ecgcmr", name] for name in ("experiment", "report", "export", "synthesize", "infer")
    ]
    demo = tmp_path / "runs" / "demo"
    assert (demo / "report.html").is_file()
    assert (demo / "model" / "model.yaml").is_file()
    assert json.loads((demo / "inferred" / "summary.json").read_text())["files"] == 1
    trained = (demo / "stages" / "mae" / "best.ckpt").stat()
    (demo / "report.html").unlink()
    assert main(words) == 0
    assert "finished earlier, nothing to do" in capsys.readouterr().out
    assert (demo / "stages" / "mae" / "best.ckpt").stat() == trained
    assert (demo / "report.html").is_file()
