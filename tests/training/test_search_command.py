"""Budget and search on the command line: refused beside what excludes them, killed, on two ranks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import warm_runs
import yaml
from labelled_cohort import write_cohort, write_stage

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.stages import PhenotypeRegression
from ecgcmr.training import search_command
from ecgcmr.training.halving import FIRST, second_share
from ecgcmr.training.stage_cli import StageCLI

STOP = "lightning.pytorch.callbacks.EarlyStopping"
RATES = {"slow": 1e-5, "middle": 1e-2, "broken": 1e30}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A fit of 12 steps at most whose search has three candidates, one of which diverges."""
    path = write_stage(tmp_path, write_cohort(tmp_path / "cohort"), "PhenotypeRegression", labels=["lv_edv"])
    (tmp_path / "rates.yaml").write_text(
        yaml.safe_dump([{"name": name, "set": {"model.optimiser.lr": rate}} for name, rate in RATES.items()])
    )
    content = yaml.safe_load(path.read_text())
    del content["trainer"]["max_epochs"]
    content |= {"budget": {"most": 12, "interval": 2}, "search": "rates.yaml"}
    content["trainer"] |= {"precision": "32-true", "callbacks": [{"class_path": "killed_runs.Recorder"}]}
    path.write_text(yaml.safe_dump(content))
    return path


TWO_RANKS = [f"--trainer.{word}" for word in ("devices=2", "accelerator=cpu", "strategy=ddp", "callbacks=[]")]


def tuning(config: Path, name: str) -> dict[str, Any]:
    return json.loads((config.with_name(name) / "tuning.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trainer.max_steps=9"], "take it out (null), give budget.most 9, or set budget: null"),
        (["--trainer.max_epochs=9"], "trainer.max_epochs 9 is given beside budget"),
        (["--trainer.check_val_every_n_epoch=2"], "trainer.check_val_every_n_epoch 2 is given beside budget"),
        (["--trainer.val_check_interval=2"], "trainer.val_check_interval 2 is given beside budget"),
        ([f"--trainer.callbacks=[{{class_path: {STOP}, init_args: {{monitor: val/loss}}}}]"], "EarlyStopping is given"),
        (["--model.optimiser.warmup_epochs=1"], "model.optimiser.warmup_epochs 1.0 is given beside budget"),
        (["--model.optimiser.schedule=constant"], "model.optimiser.schedule constant is given beside budget"),
        (["--budget.most=0"], "budget.most 0: must be at least 1"),
        (["--budget=null", "--trainer.max_epochs=1"], "search: a search shares out a budget of steps"),
        (["--search=[{name: a, set: {model.optimiser.rate: 1}}]"], "search: candidate a: "),
        (["--search=[{name: a, set: {model.optimiser.lr: -1}}]"], "search: candidate a: "),
    ],
)
def test_what_excludes_a_budget_or_is_no_search_is_refused_in_one_line(
    config: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(config.read_text())
    content["trainer"]["callbacks"] = []
    config.write_text(yaml.safe_dump(content))
    assert main(["fit", "-c", str(config), *arguments]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert words in line
    assert not (config.with_suffix("") / "tuning.json").exists()


@pytest.mark.parametrize(
    "content", ["", "{a: {model.optimiser.lr: 1}}", "[1, 2]", "true", "[{name: a}]", "[{name: a, set: {}, rate: 1}]"]
)
def test_a_file_that_holds_no_candidates_is_said_to(
    config: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "odd.yaml").write_text(content)
    assert main(["fit", "-c", str(config), "--trainer.callbacks=[]", f"--search={config.parent / 'odd.yaml'}"]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "odd.yaml holds no candidates: they are a list, each a name and a set of dotted settings alone" in line


def test_an_encoder_that_a_search_chose_is_fitted_and_trials_that_cost_too_much_are_noted(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(config.read_text())
    encoder = content["model"]["init_args"]["encoder"]
    wider = {**encoder, "init_args": {**encoder["init_args"], "width": 32}}
    sets = {"still": {"model.optimiser.lr": 1e-12}, "wider": {"model.optimiser.lr": 1e-2, "model.encoder": wider}}
    content["search"] = [{"name": name, "set": found} for name, found in sets.items()]
    content["trainer"]["callbacks"], content["budget"] = [], {"most": 12, "interval": 12}
    config.write_text(yaml.safe_dump(content))
    assert main(["fit", "-c", str(config)]) == 0
    assert tuning(config, config.stem)["search"]["chosen"] == "wider"
    stored = yaml.safe_load((config.with_suffix("") / "config.yaml").read_text())
    assert stored["model"]["init_args"]["encoder"]["init_args"]["width"] == 32
    assert "note: the trials of the search took 24 steps, more than the 12 of a whole budget" in capsys.readouterr().err


def test_a_checkpoint_that_no_trial_can_go_on_from_comes_with_what_to_remove(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = config.with_suffix("") / "search" / "slow"
    place.mkdir(parents=True)
    monkeypatch.setattr(search_command, "_fingerprint", lambda *_: "a")
    (place / "trial.json").write_text(json.dumps({"share": FIRST, "fingerprint": "a"}))
    torch.save({}, place / "last.ckpt")
    assert main(["fit", "-c", str(config), "--trainer.callbacks=[]"]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: search: candidate slow: ")
    assert line.endswith(f"; to begin this trial anew remove {place}")


def test_settings_with_a_search_are_not_fitted_without_it(config: Path) -> None:
    with pytest.raises(ValueError, match="needs a way to fit its trials"):
        StageCLI(["fit", "-c", str(config)])
    assert not config.with_suffix("").exists()


@pytest.mark.parametrize(
    ("code", "why"), [(-9, "killed"), (137, "killed"), (1, "the lines above"), (2, "the lines above")]
)
def test_a_trial_on_several_ranks_that_something_else_ended_is_no_candidate_that_lost(
    config: Path, code: int, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search_command, "run_apart", lambda words, variables: code)
    assert main(["fit", "-c", str(config), *TWO_RANKS]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"search: candidate slow: its fit ended with {code} ({why}" in line
    assert not (config.with_suffix("") / "search" / "search.json").exists()


def test_a_trial_in_one_process_that_something_else_stops_is_no_candidate_that_lost(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise UserError("a file is damaged")

    monkeypatch.setattr(PhenotypeRegression, "training_step", stopped)
    assert main(["fit", "-c", str(config), "--trainer.callbacks=[]"]) == 2
    assert "error: search: candidate slow: a file is damaged" in capsys.readouterr().err
    assert not (config.with_suffix("") / "search" / "search.json").exists()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_candidate_that_diverges_in_processes_of_its_own_loses_with_its_reason(config: Path) -> None:
    rates = [{"name": name, "set": {"model.optimiser.lr": RATES[name]}} for name in ("broken", "middle")]
    (config.parent / "rates.yaml").write_text(yaml.safe_dump(rates))
    content = yaml.safe_load(config.read_text())
    del content["trainer"]["callbacks"]
    config.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "ecgcmr", "fit", "-c", str(config), *TWO_RANKS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = tuning(config, config.stem)["search"]
    assert found["chosen"] == "middle"
    [reason] = [entry["failed"] for entry in found["tried"] if entry["failed"]]
    assert reason.startswith("the fit stopped at step")
    assert "row" not in reason
    assert not list((config.with_suffix("") / "search").glob(".*"))


@pytest.mark.parametrize(("share", "steps"), [(1 / 6, [2, 2, 4]), (4.0, [8, 36, 96])])
def test_a_share_of_the_budget_is_one_of_its_search_too(config: Path, share: float, steps: list[int]) -> None:
    content = yaml.safe_load(config.read_text())
    content["trainer"]["callbacks"] = []
    content["budget"]["most"] = 24
    content["search"] = [{"name": name, "set": {"model.optimiser.lr": 10.0**-k}} for k, name in enumerate("abc", 3)]
    config.write_text(yaml.safe_dump(content))
    assert main(["fit", "-c", str(config), f"--budget.share={share}", "--budget.patience=99"]) == 0
    found = tuning(config, config.stem)
    rounds = {entry["share"]: entry["steps"] for entry in found["search"]["tried"]}
    assert [rounds[FIRST], rounds[second_share("abc")]] == steps[:2]
    assert found["budget"]["steps"] == steps[2]
    assert found["search"]["steps"] == 3 * steps[0] + 2 * steps[1]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_search_that_is_killed_goes_on_and_later_commands_take_what_it_chose(config: Path, ranks: int) -> None:
    fit = warm_runs.fit_arguments(config, "stage", 4, ranks, resume=False)
    predict = ["predict", *fit[1:]]
    record: dict[str, Any] = {"ranks": ranks, "record": str(config.with_name("steps")), "timeout_s": 300}
    log = config.with_name("log")
    # Killed within a trial, then within the fit itself, which goes on like any other.
    plans = [warm_runs.plan(fit, **record, kill_at=2), warm_runs.plan(fit, **record, kill_at=5)]
    output = warm_runs.run(plans, log)
    assert "search: slow (model.optimiser.lr 1e-05)" in output
    assert "search: broken (model.optimiser.lr 1e+30), 0 steps: failed: " in output
    assert output.count("is chosen; its trials took") == 1
    on = warm_runs.fit_arguments(config, "stage", 4, ranks, resume=True)
    warm_runs.run([warm_runs.plan(on, predict, **record)], log)
    found = tuning(config, "stage")
    chosen = found["search"]["chosen"]
    assert chosen in ("slow", "middle")
    assert found["search"]["set"] == {"model.optimiser.lr": RATES[chosen]}
    assert found["budget"]["steps"] == 12
    stored = yaml.safe_load((config.with_name("stage") / "config.yaml").read_text())
    assert (stored["model"]["init_args"]["optimiser"]["lr"], stored["search"]) == (RATES[chosen], None)
    assert (config.with_name("stage") / "predictions.npz").is_file()
    assert not list((config.with_name("stage") / "search").rglob("*.ckpt"))
    if ranks == 1:
        (config.with_name("stage") / "tuning.json").unlink()
        output = warm_runs.run([warm_runs.plan(predict, **record, code=2)], log)
        assert "does not say what the search of this run chose" in output
