"""A run computes as it was measured, says so once, on all ranks alike, and goes on as it began."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import tiny_configs
import torch
from torch import nn

from ecgcmr.cli import main
from ecgcmr.encoders.kernels import Kernels
from ecgcmr.errors import UserError
from ecgcmr.speed_choices.choose import Choices
from ecgcmr.training import machine_choices as module
from ecgcmr.training.machine_choices import RECORD, agreed, choose_for_run
from ecgcmr.training.run_session import RunSession
from ecgcmr.training.stage_cli import StageCLI

QUICK = ("--trainer.enable_model_summary=false", "--trainer.max_epochs=1", "--trainer.logger=false")
WAYS = Kernels(convolution=True, attention="written")
FASTEST = Choices("bf16-mixed", WAYS, "Fastest on this machine: as measured")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Stands for the measurement; lists the precisions with which it was asked."""
    asked: list[str | None] = []

    def choose(stage: nn.Module, precision: str | None, training: bool, first_rank: bool = True) -> Choices:
        asked.append(precision)
        return Choices(precision or FASTEST.precision, WAYS, FASTEST.line)

    monkeypatch.setattr(module, "choose_on_cpu", choose)
    monkeypatch.setenv("ECGCMR_MACHINE_CHOICES", "kept")
    return asked


def test_a_fit_computes_as_chosen_says_so_once_and_goes_on_as_it_began(
    cohort_root: Path,
    tmp_path: Path,
    measured: list,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_configs.write_mae(tmp_path, cohort_root)
    command = ["fit", "-c", str(config), *QUICK, "--trainer.precision=null"]
    with RunSession("fit") as session:
        cli = StageCLI(command, session)
    assert cli.trainer.precision == "bf16-mixed"
    assert cli.model.encoder.blocks[0].attn.kernels == cli.model.decoder.pred.kernels == WAYS
    assert caplog.text.count(FASTEST.line) == 1
    record = torch.load(tmp_path / "mae" / "last.ckpt", weights_only=True)[RECORD]
    assert (record["precision"], record["kernels"]["attention"], record["device"]) == ("bf16-mixed", "written", "cpu")

    def other(*_: object) -> Choices:
        raise AssertionError("measured although the checkpoint says how to go on")

    monkeypatch.setattr(module, "choose_on_cpu", other)
    with RunSession("fit") as session:
        cli = StageCLI([*command, "--ckpt_path=last", "--trainer.max_epochs=2", "--resume-with-changes"], session)
    assert cli.trainer.precision == "bf16-mixed"
    assert cli.model.encoder.blocks[0].attn.kernels == WAYS
    assert len(measured) == 1


def test_a_precision_that_is_given_is_taken(cohort_root: Path, tmp_path: Path, measured: list) -> None:
    config = tiny_configs.write_mae(tmp_path, cohort_root)  # says 32-true
    cli = StageCLI(["fit", "-c", str(config), *QUICK, "--trainer.fast_dev_run=1"])
    assert (cli.trainer.precision, measured) == ("32-true", ["32-true"])


def test_a_checkpoint_does_not_go_against_what_is_given(measured: list) -> None:
    record = {"precision": "bf16-mixed", "kernels": {"convolution": False}, "device": "cpu"}
    stage, trainer = nn.Linear(2, 2), {"accelerator": "cpu"}
    assert choose_for_run(stage, trainer, True, record).precision == "bf16-mixed"
    assert choose_for_run(stage, {**trainer, "precision": "32-true"}, True, record).precision == "32-true"
    assert measured == ["32-true"]
    choose_for_run(stage, trainer, True, {**record, "device": "cuda"})
    assert measured == ["32-true", None]


def test_an_accelerator_is_not_judged_by_the_processor(measured: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for supported, precision in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=supported: has)
        assert choose_for_run(nn.Linear(2, 2), {"accelerator": "auto"}, True) == Choices(precision, Kernels(), "")
    assert (
        choose_for_run(nn.Linear(2, 2), {"accelerator": "gpu", "precision": "16-mixed"}, True).precision == "16-mixed"
    )
    assert measured == []


def test_a_rank_takes_what_its_parent_chose_and_no_one_elses(measured: list, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = {"accelerator": "cpu"}
    choose_for_run(nn.Linear(2, 2), trainer, True)
    handed = json.loads(os.environ[module._HANDED])
    assert handed["process"] == os.getpid()
    monkeypatch.setattr(module.rank_zero_only, "rank", 1)
    monkeypatch.setenv(module._HANDED, json.dumps({**handed, "precision": "32-true", "process": os.getppid()}))
    assert choose_for_run(nn.Linear(2, 2), trainer, True).precision == "32-true"
    assert len(measured) == 1
    monkeypatch.setenv(module._HANDED, json.dumps({**handed, "process": -1}))
    assert choose_for_run(nn.Linear(2, 2), trainer, True).precision == "bf16-mixed"
    assert len(measured) == 2


def test_ranks_agree_on_the_first_ones_ways_and_refuse_to_differ_in_precision() -> None:
    other = Choices("bf16-mixed", Kernels(), "another machine")
    assert agreed([FASTEST, other]) == FASTEST
    with pytest.raises(UserError, match="rank 0 bf16-mixed, rank 1 32-true.*--trainer.precision"):
        agreed([FASTEST, Choices("32-true", WAYS, "")])


def test_an_unknown_wish_is_one_line(
    cohort_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ECGCMR_MACHINE_CHOICES", "quick")
    config = tiny_configs.write_mae(tmp_path, cohort_root)
    assert main(["fit", "-c", str(config), *QUICK]) == 2
    error = capsys.readouterr().err.strip()
    assert "ECGCMR_MACHINE_CHOICES" in error
    assert "\n" not in error
