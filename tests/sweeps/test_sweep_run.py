"""A sweep: cut off anywhere it ends as if it had not been; trials that fail or are given up; whose folder it is."""

from __future__ import annotations

import json
import sqlite3
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import warm_runs
import yaml
from tiny_configs import write_mae

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.experiments.stage_runs import StageRun
from ecgcmr.provenance.run_note import read_note
from ecgcmr.sweeps import run as sweep_run
from ecgcmr.sweeps.plan import read_plan
from ecgcmr.sweeps.run import Sweep
from ecgcmr.sweeps.study import Study, report

optuna = pytest.importorskip("optuna")
OperationalError = pytest.importorskip("sqlalchemy.exc").OperationalError
pytestmark = pytest.mark.slow
SPACE = {"model.optimiser.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "model.mask_ratio": {"low": 0.4, "high": 0.8}}


def write_sweep(folder: Path, root: Path, **changes: Any) -> Path:
    """Write ``sweep.yaml`` with its config."""
    write_mae(folder, root)
    content = {"config": "mae.yaml", "trials": 6, "space": SPACE, "startup": 3, **changes}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content))
    return folder / "sweep.yaml"


@dataclass
class Fits:
    """Takes the place of training: three validations whose values follow from the settings.

    Attributes:
        mode: Which way the monitored number is best.
        fails: Trial -> message of the error that it ends with.
        cut_off: (trial, validations done) at which the command is cut off, once each.
        fitted: Trials in the order in which they were begun, or gone on with.
    """

    mode: str = "min"
    fails: dict[int, str] = field(default_factory=dict)
    cut_off: list[tuple[int, int]] = field(default_factory=list)
    fitted: list[int] = field(default_factory=list)

    def __call__(self, stage: StageRun) -> bool:
        number = int(stage.folder.name)
        self.fitted.append(number)
        settings = stage.overrides
        self._cut(number, 0)
        if number in self.fails and "before" in self.fails[number]:
            raise UserError(self.fails[number])
        stage.folder.mkdir(parents=True, exist_ok=True)
        note = {"monitor": "val/x", "mode": self.mode, "step": 3}
        (stage.folder / "run.json").write_text(json.dumps(note))
        if number in self.fails:
            raise UserError(self.fails[number])
        (stage.folder / "best.ckpt").write_bytes(b"weights")
        loss = abs(settings["model.mask_ratio"] - 0.6) + settings["model.optimiser.lr"]
        pruner = settings["trainer.callbacks+"]["init_args"]
        rule = {"name": pruner["pruner"], "startup": pruner["startup"], "warmup": pruner["warmup"]}
        for validation in (1, 2, 3):
            if report(stage.folder.parent.parent, number, validation, loss + 1 / validation, rule):
                reason = {"ended": "pruned", "reason": f"after {validation} validations"}
                (stage.folder / "trial.json").write_text(json.dumps(reason))
                return True
            self._cut(number, validation)
        return True

    def _cut(self, number: int, validation: int) -> None:
        if (number, validation) in self.cut_off:
            self.cut_off.remove((number, validation))
            raise KeyboardInterrupt


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Fits:
    made = Fits()
    monkeypatch.setattr(sweep_run, "run_stage", made)
    return made


def found(out: Path) -> dict[str, Any]:
    return json.loads((out / "sweep.json").read_text())


@pytest.mark.long
def test_cut_off_anywhere_a_sweep_ends_as_if_it_had_not_been(tmp_path: Path, cohort_root: Path, fits: Fits) -> None:
    file = write_sweep(tmp_path, cohort_root)
    assert main(["sweep", str(file), "--out", str(tmp_path / "whole")]) == 0
    whole = found(tmp_path / "whole")
    states = [row["state"] for row in whole["tried"]]
    assert (len(states), set(states)) == (6, {"complete", "pruned"})
    assert all(row["validations"] < 3 for row in whole["tried"] if row["state"] == "pruned")
    complete = [row for row in whole["tried"] if row["state"] == "complete"]
    assert whole["best"] == min(complete, key=lambda row: row["value"])

    fits.cut_off = [(0, 0), (0, 1), (2, 3), (4, 1), (5, 0)]
    codes = []
    while not codes or codes[-1] != 0:
        codes.append(main(["sweep", str(file), "--out", str(tmp_path / "cut")]))
    assert codes.count(130) >= 4
    assert (tmp_path / "cut" / "sweep.json").read_bytes() == (tmp_path / "whole" / "sweep.json").read_bytes()
    assert (tmp_path / "cut" / "best.yaml").read_bytes() == (tmp_path / "whole" / "best.yaml").read_bytes()
    kept = [path.parent.name for path in (tmp_path / "cut").glob("trials/*/best.ckpt")]
    assert kept == [f"{whole['best']['number']:04d}"]


@pytest.mark.long
def test_more_trials_go_on_and_another_sweep_is_refused(
    tmp_path: Path, cohort_root: Path, fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = write_sweep(tmp_path, cohort_root, trials=3, keep="all"), tmp_path / "out"
    command = ["sweep", str(file), "--out", str(out)]
    assert main(command) == 0
    assert main(command) == 0
    assert fits.fitted == [0, 1, 2]
    assert main([*command, "--trials", "4"]) == 0
    assert fits.fitted == [0, 1, 2, 3]
    assert len(list(out.glob("trials/*/best.ckpt"))) == 4
    assert main([*command, "trainer.max_epochs=7"]) == 2
    assert "holds a sweep of another file" in capsys.readouterr().err
    assert main([*command, "trainer.max_epochs=7", "--overwrite"]) == 0
    assert (len(found(out)["tried"]), fits.fitted[4:]) == (3, [0, 1, 2])
    (out / "study.db").write_bytes(b"no study at all" * 100)
    assert main([*command, "trainer.max_epochs=7"]) == 2
    assert "study.db: is no study of a sweep, or damaged" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    assert main(["sweep", str(file), "--out", str(tmp_path / "mine"), "--overwrite"]) == 2
    assert "holds thesis.tex and no sweep" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.long
def test_a_trial_that_fails_is_noted_and_one_that_all_would_share_stops_the_sweep(
    tmp_path: Path, cohort_root: Path, fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep(tmp_path, cohort_root, trials=3, pruner="none")
    fits.fails = {0: "model.x: unknown, before it began"}
    assert main(["sweep", str(file), "--out", str(tmp_path / "mistake")]) == 2
    assert "model.x: unknown" in capsys.readouterr().err
    assert fits.fitted == [0]
    fits.fails = {1: "the loss is NaN at step 3; rows 5, 7", 2: "width 7 before it began"}
    assert main(["sweep", str(file), "--out", str(tmp_path / "some")]) == 0
    rows = found(tmp_path / "some")["tried"]
    assert [row["state"] for row in rows] == ["complete", "fail", "fail"]
    assert rows[1]["reason"] == "the loss is NaN at step 3"
    assert "failed: the loss is NaN at step 3" in capsys.readouterr().out
    fits.fails = dict.fromkeys(range(3), "the loss is NaN")
    assert main(["sweep", str(file), "--out", str(tmp_path / "none")]) == 2
    assert "none of its trials gave a number" in capsys.readouterr().err
    assert not (tmp_path / "none" / "best.yaml").exists()


@pytest.mark.parametrize("method", ["ask", "tell"])
def test_a_full_disk_is_no_fault_of_a_trial(
    method: str, tmp_path: Path, cohort_root: Path, fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = write_sweep(tmp_path, cohort_root, trials=2, pruner="none"), tmp_path / "out"

    def full(*_: Any, **__: Any) -> None:
        cause = sqlite3.OperationalError("database or disk is full")
        raise OperationalError("INSERT", None, cause) from cause

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna.study.Study, method, full)
        assert main(["sweep", str(file), "--out", str(out)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert (
        line == f"error: {out / 'study.db'}: database or disk is full; free some space there or choose another folder"
    )
    assert main(["sweep", str(file), "--out", str(out)]) == 0  # goes on
    assert [row["state"] for row in found(out)["tried"]] == ["complete", "complete"]


def test_a_number_that_is_to_grow_is_shown_as_it_is(tmp_path: Path, cohort_root: Path, fits: Fits) -> None:
    # The stand-in reports losses; of a score the callback gives the negative, so that these are scores below zero.
    fits.mode = "max"
    file = write_sweep(tmp_path, cohort_root, trials=4, pruner="none", sampler="random")
    assert main(["sweep", str(file), "--out", str(tmp_path / "out")]) == 0
    content = found(tmp_path / "out")
    assert content["mode"] == "max"
    assert content["best"]["value"] == max(row["value"] for row in content["tried"]) < 0


@pytest.mark.long
def test_a_grid_ends_when_all_has_been_tried(tmp_path: Path, cohort_root: Path, fits: Fits) -> None:
    space = {"model.optimiser.lr": {"choices": [0.1, 0.01]}, "model.mask_ratio": {"low": 0.5, "high": 0.7, "step": 0.1}}
    file = write_sweep(tmp_path, cohort_root, trials=50, sampler="grid", space=space, pruner="none")
    assert main(["sweep", str(file), "--out", str(tmp_path / "out")]) == 0
    settings = [row["set"] for row in found(tmp_path / "out")["tried"]]
    tried = {(point["model.optimiser.lr"], round(point["model.mask_ratio"], 6)) for point in settings}
    assert tried == {(rate, ratio) for rate in (0.1, 0.01) for ratio in (0.5, 0.6, 0.7)}
    assert len(fits.fitted) == 6


def test_what_is_missing_is_named(
    tmp_path: Path, cohort_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep(tmp_path, cohort_root)
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", str(file), "--root", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["sweep", str(file)]) == 2
    assert "pip install 'ecgcmr[sweep]'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_trials_are_fits_that_never_read_the_test_split_and_the_best_one_fits_by_itself(
    tmp_path: Path, cohort_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = {"trainer.logger": False, "trainer.enable_model_summary": False}
    space = {"model.optimiser.lr": {"choices": [1e-9, 3e-2]}, "model.encoder.drop_path": {"choices": [0.0]}}
    file = write_sweep(tmp_path, cohort_root, trials=2, space=space, sampler="grid", startup=1, set=quiet)
    from ecgcmr.shards.index import ShardIndex

    asked: set[str | None] = set()
    positions = ShardIndex.positions

    def watched(self: ShardIndex, split: str | None, *args: Any, **options: Any) -> Any:
        if sys._getframe(1).f_code.co_name != "<dictcomp>":  # rows of each split are counted for run.json
            asked.add(split)
        return positions(self, split, *args, **options)

    monkeypatch.setattr(ShardIndex, "positions", watched)
    assert main(["sweep", str(file), "--out", str(tmp_path / "out")]) == 0
    assert asked == {"train", "val"}
    content = found(tmp_path / "out")
    assert content["monitor"] == "val/loss"
    assert content["best"]["set"]["model.optimiser.lr"] == 3e-2
    folder = tmp_path / "out" / "trials" / f"{content['best']['number']:04d}"
    best = min(json.loads((folder / "metrics.json").read_text())["fit"]["val/loss"], content["best"]["value"])
    assert best == content["best"]["value"]
    over = ["-c", str(tmp_path / "mae.yaml"), "-c", str(tmp_path / "out" / "best.yaml")]
    fits = ["fit", *over, "--trainer.logger=false", f"--trainer.default_root_dir={tmp_path / 'again'}"]
    assert main(fits) == 0
    first, second = (torch.load(place / "best.ckpt", weights_only=True) for place in (folder, tmp_path / "again"))
    assert all(torch.equal(first["state_dict"][name], second["state_dict"][name]) for name in first["state_dict"])


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.multiprocess
def test_all_ranks_of_a_trial_that_is_given_up_end_together(tmp_path: Path, cohort_root: Path) -> None:
    file = write_sweep(tmp_path, cohort_root, startup=1)
    plan, out = read_plan(file), tmp_path / "out"
    out.mkdir()
    study = Study(out, plan)
    rule = {"name": "median", "startup": 1, "warmup": 1}
    for number in range(2):
        study.next_trial()
        if number == 0:
            report(out, 0, 1, -1e9, rule)  # what nobody can reach
            study.end(0, "COMPLETE", -1e9)
    report_to = {"class_path": "ecgcmr.sweeps.TrialReport", "init_args": {"number": 1, "startup": 1}}
    words = ["fit", "-c", str(tmp_path / "mae.yaml"), f"--trainer.callbacks+={json.dumps(report_to)}"]
    words += [f"--trainer.default_root_dir={out / 'trials' / '0001'}", "--trainer.logger=false"]
    words += ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=4", "--trainer.max_epochs=5"]
    warm_runs.run([warm_runs.plan(words, ranks=2)], tmp_path / "log")
    assert json.loads((out / "trials" / "0001" / "trial.json").read_text())["ended"] == "pruned"
    note = read_note(out / "trials" / "0001")
    assert (note["state"], note["epoch"], note["calls"][0]["ranks"]) == ("finished", 1, 2)
    trial = Study(out, plan).trials[1]
    assert list(trial.intermediate_values) == [1]
    assert Sweep(plan, out, print).cohort
