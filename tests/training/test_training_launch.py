"""torchrun and SLURM start processes; a trainer that counts other ones would train copies, or wait forever."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_configs

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.training.launch import check_environment, check_launch, runs_on_cpu

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
SLURM = {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2"}


@pytest.mark.parametrize(
    ("environment", "devices", "nodes"),
    [
        ({}, 1, 1),
        ({}, 4, 2),  # Lightning starts them itself
        ({"WORLD_SIZE": "1"}, 2, 1),  # as containers set it for everything
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "1"}, 2, 1),  # a rank that Lightning started
        (TORCHRUN, 2, 1),
        ({**TORCHRUN, "WORLD_SIZE": "4"}, 2, 2),
        (SLURM, 2, 2),
        ({"SLURM_NTASKS": "1"}, 1, 1),
        ({**SLURM, "SLURM_JOB_NAME": "interactive"}, 1, 1),
        ({**SLURM, **TORCHRUN}, 2, 1),  # torchrun within a job counts
    ],
)
def test_what_fits_is_let_through(environment: dict[str, str], devices: int, nodes: int) -> None:
    assert check_environment(environment) is None
    assert check_launch(devices, nodes, environment) is None


@pytest.mark.parametrize(
    ("environment", "devices", "nodes", "words"),
    [
        (TORCHRUN, 1, 1, "torchrun started 2 processes .* trainer.devices 1 x trainer.num_nodes 1 asks for 1"),
        (TORCHRUN, 2, 2, "torchrun started 2 .* asks for 4"),
        ({**TORCHRUN, "WORLD_SIZE": "1"}, 2, 1, "torchrun started 1 .* asks for 2"),
        ({"WORLD_SIZE": "2"}, 1, 1, "the launcher started 2"),
        (SLURM, 1, 1, r"SLURM has 4 tasks \(2 a node on 2 nodes\), trainer.devices 1 x trainer.num_nodes 1"),
        (SLURM, 4, 1, "SLURM has 4 tasks .* trainer.devices 4"),
        ({"SLURM_NTASKS": "1"}, 2, 1, "SLURM has 1 tasks .* asks for 2"),
    ],
)
def test_what_does_not_is_refused(environment: dict[str, str], devices: int, nodes: int, words: str) -> None:
    check_environment(environment)
    with pytest.raises(UserError, match=words):
        check_launch(devices, nodes, environment)


@pytest.mark.parametrize("name", ["WORLD_SIZE", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_PROCID"])
def test_a_variable_that_is_no_number_is_named(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} in the environment is 'two', no whole number"):
        check_environment({"SLURM_NTASKS": "1", name: "two"})


@pytest.mark.parametrize(
    ("environment", "arguments", "words"),
    [
        (TORCHRUN, [], "torchrun started 2 processes"),
        (TORCHRUN, ["--trainer.devices=auto"], "torchrun started 2 processes"),
        ({"SLURM_NTASKS": "2"}, [], "SLURM_NTASKS is 2, without tasks by node"),
        ({"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}, [], "SLURM has 2 tasks"),
        (
            {"SLURM_NTASKS": "1"},
            ["--trainer.devices=2", "--trainer.strategy=ddp"],
            "the environment lacks SLURM_NODEID",
        ),
    ],
)
def test_on_the_command_line_it_is_one_line(
    environment: dict[str, str],
    arguments: list[str],
    words: str,
    tmp_path: Path,
    cohort_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = tiny_configs.write_mae(tmp_path, cohort_root)
    assert main(["fit", "-c", str(config), *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert not config.with_suffix("").exists()


def test_what_the_accelerator_comes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert [runs_on_cpu(name) for name in ("cpu", "auto", None, "gpu")] == [True, False, False, False]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert [runs_on_cpu(name) for name in ("cpu", "auto", None)] == [True, True, True]
