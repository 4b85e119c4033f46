"""SIGTERM while training: exit code 143, one line, and a checkpoint from which nothing is trained twice."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import warm_runs
import yaml
from tiny_configs import write_mae

from ecgcmr.cli import main
from ecgcmr.stages import ECGMaskedAutoencoder
from ecgcmr.termination import Terminated, Termination

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess, pytest.mark.long]

EPOCHS, BATCHES, BATCH = 2, 6, 8
"""52 training subjects make 6 batches of 8 an epoch."""


@pytest.fixture
def config(tmp_path: Path, cohort_root: Path) -> Path:
    """A masked autoencoder that writes no checkpoint within an epoch unless it is terminated."""
    path = write_mae(tmp_path, cohort_root)
    content = yaml.safe_load(path.read_text())
    content["model"]["init_args"]["encoder"]["init_args"]["drop_path"] = 0.3
    content["trainer"] |= {
        "max_epochs": EPOCHS,
        "logger": False,
        "deterministic": True,
        "enable_model_summary": False,
        "callbacks": [{"class_path": "killed_runs.Recorder"}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def plan(config: Path, name: str, ranks: int = 1, at: int = -1, resume: bool = False, accumulate: int = 1) -> dict:
    """Describe one run, which gets SIGTERM at the end of a step."""
    arguments = warm_runs.fit_arguments(config, name, BATCH, ranks, resume)
    arguments.append(f"--trainer.accumulate_grad_batches={accumulate}")
    ended = {"kill_at": at, "signal": signal.SIGTERM, "code": 143} if at >= 0 else {}
    return warm_runs.plan(arguments, ranks=ranks, record=str(config.with_name(name)), **ended)


def record(config: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in config.with_name(f"{name}-0.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("ranks", "accumulate", "moments"), [(1, 1, (2, 6, 9)), (2, 1, (3,)), (1, 2, (2, 4))])
def test_a_terminated_fit_goes_on_as_if_nothing_had_been(
    config: Path, ranks: int, accumulate: int, moments: tuple[int, ...]
) -> None:
    plans = [plan(config, "whole", ranks, accumulate=accumulate)]
    for number, at in enumerate([*moments, -1]):  # within an epoch, at its last batch, within an accumulated step
        plans.append(plan(config, "ended", ranks, at, resume=number > 0, accumulate=accumulate))
    output = warm_runs.run(plans, config.with_name("log"))
    assert output.count("terminated; ") == ranks * len(moments)
    assert "terminated; add --ckpt_path last to the same command to go on" in output
    assert ("terminated; the same command goes on" in output) == (len(moments) > 1)  # if it went on itself
    assert "Traceback" not in output
    # Step by step the same, and none of them twice.
    assert record(config, "ended") == record(config, "whole")
    states = [torch.load(config.with_name(name) / "last.ckpt", weights_only=True) for name in ("whole", "ended")]
    assert all(torch.equal(value, states[1]["state_dict"][name]) for name, value in states[0]["state_dict"].items())


def test_a_fit_that_ends_just_then_is_whole_and_still_143(config: Path) -> None:
    output = warm_runs.run([plan(config, "run", at=EPOCHS * BATCHES)], config.with_name("log"))
    assert "terminated; training had come to its end" in output
    assert (config.with_name("run") / "encoder.safetensors").is_file()


def test_a_start_that_is_terminated_leaves_nothing(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminated(self: ECGMaskedAutoencoder, *args: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ECGMaskedAutoencoder, "on_validation_start", terminated)  # the check before the first batch
    monkeypatch.setenv("KILLED_RUNS_RECORD", str(config.with_name("record")))
    monkeypatch.setenv("KILLED_RUNS_KILL_AT", "-1")
    monkeypatch.syspath_prepend(Path(__file__).parent)
    assert main(["fit", "-c", str(config)]) == 143
    assert capsys.readouterr().err.splitlines()[-1] == "terminated; the same command begins anew"
    assert not config.with_suffix("").exists()


def test_a_second_sigterm_does_not_wait() -> None:
    with Termination() as termination:
        termination.deferred = True
        signal.raise_signal(signal.SIGTERM)
        assert termination.requests == 1
        with pytest.raises(Terminated) as ended:
            signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
