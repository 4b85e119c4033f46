"""Ranks that torchrun and SLURM start, on one node and on two, and a SLURM job that is queued again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import warm_runs
import yaml
from tiny_configs import write_mae

from ecgcmr.errors import UserError
from ecgcmr.training.run_claim import JOB_NOTE, Leave
from ecgcmr.training.slurm_job import go_on, note_job, queue_again

pytestmark = pytest.mark.long

BATCH = 8
JOB = {"SLURM_JOB_ID": "4242", "SLURM_JOB_NAME": "fit", "SLURM_NTASKS": "1"}
SLURM = {
    **JOB,
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "1",
    "SLURM_NODELIST": "localhost",
    "SLURM_PROCID": "{RANK}",
    "SLURM_LOCALID": "{RANK}",
    "SLURM_NODEID": "0",
    "MASTER_PORT": "{PORT}",
}
ALONE = {**JOB, "SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}


@pytest.fixture
def config(tmp_path: Path, cohort_root: Path) -> Path:
    path = write_mae(tmp_path, cohort_root)
    content = yaml.safe_load(path.read_text())
    content["trainer"] |= {
        "max_epochs": 1,
        "logger": False,
        "enable_model_summary": False,
        "callbacks": [{"class_path": "killed_runs.Recorder"}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def plan(config: Path, name: str, ranks: int, environment: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """Describe one run, as its launcher would start it."""
    arguments = warm_runs.fit_arguments(config, name, BATCH, ranks, resume=False)
    given = {} if environment is None else {"environment": environment}
    return warm_runs.plan(arguments, ranks=ranks, record=str(config.with_name(name)), **given, **more)


def record(config: Path, name: str, rank: int = 0) -> list[dict[str, Any]]:
    lines = config.with_name(f"{name}-{rank}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def weights(config: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(config.with_name(name) / "last.ckpt", weights_only=True)["state_dict"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start_torchrun(
    config: Path, name: str, options: list[str], nodes: int = 1, within: Sequence[str] = (), **more: str
) -> subprocess.Popen[str]:
    """Start a node of torchrun as a user does, with as many ranks as ``options`` say over all nodes: two."""
    arguments = warm_runs.fit_arguments(config, name, BATCH, 2, resume=False)
    arguments += [f"--trainer.devices={2 // nodes}", f"--trainer.num_nodes={nodes}"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{warm_runs.REPOSITORY}{os.pathsep}{warm_runs.HERE}",
        "OMP_NUM_THREADS": "1",
        "KILLED_RUNS_RECORD": str(config.with_name(name)),
        "KILLED_RUNS_KILL_AT": "-1",
        **more,
    }
    command = [*within, sys.executable, "-m", "torch.distributed.run", *options, "-m", "ecgcmr", *arguments]
    return subprocess.Popen(
        command,
        cwd=config.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    """Wait for a process that must end well; return what it printed."""
    try:
        output, _ = process.communicate(timeout=150)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output[-4000:]
    return output


@pytest.mark.slow
@pytest.mark.multiprocess
def test_ranks_of_torchrun_and_slurm_do_what_lightnings_do(config: Path) -> None:
    launched = {"lightning": None, "slurm": SLURM}
    output = warm_runs.run([plan(config, name, 2, given) for name, given in launched.items()], config.with_name("log"))
    output += finished(start_torchrun(config, "torchrun", ["--nproc-per-node=2", f"--master-port={free_port()}"]))
    assert "Traceback" not in output
    for rank in range(2):
        steps = record(config, "lightning", rank)
        assert len(steps) == 6
        assert record(config, "torchrun", rank) == steps
        assert record(config, "slurm", rank) == steps
    rows = [set(record(config, "slurm", rank)[0]["rows"]) for rank in range(2)]
    assert rows[0].isdisjoint(rows[1])
    expected = weights(config, "lightning")
    for name in ("torchrun", "slurm"):
        assert all(torch.equal(value, expected[key]) for key, value in weights(config, name).items())
        assert (config.with_name(name) / "encoder.safetensors").is_file()


NODES = """
set -e
ip link set lo up
ip link add ecgcmr0 type veth peer name ecgcmr1
unshare --net sh -c 'touch "$1.apart"; while ! ip link show ecgcmr1 >/dev/null 2>&1; do sleep 0.05; done
  ip addr add 10.77.0.2/24 dev ecgcmr1; ip link set ecgcmr1 up; ip link set lo up; touch "$1"; exec sleep 200' - "$1" &
while [ ! -e "$1.apart" ]; do sleep 0.05; done
ip link set ecgcmr1 netns $!
ip addr add 10.77.0.1/24 dev ecgcmr0
ip link set ecgcmr0 up
echo $!
exec sleep 200
"""
"""Two nodes that share their disk and nothing else: a network namespace each, and a cable between them."""


@contextlib.contextmanager
def two_nodes(folder: Path) -> Iterator[list[list[str]]]:
    """Give the words that a command on either node begins with; skip where the machine allows no namespaces."""
    ready = folder / "ready"
    command = ["unshare", "--map-root-user", "--net", "sh", "-c", NODES, "-", str(ready)]
    if any(shutil.which(program) is None for program in ("unshare", "nsenter", "ip")):
        pytest.skip("no unshare, nsenter or ip")
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        second = first.stdout.readline().strip() if first.stdout is not None else ""
        if not second:
            pytest.skip(f"no network namespaces here: {first.communicate()[1].strip()[-200:]}")
        deadline = time.monotonic() + 10
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield [
            ["nsenter", f"--target={process}", "--user", "--net", "--preserve-credentials"]
            for process in (first.pid, second)
        ]
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


@pytest.mark.slow
@pytest.mark.multiprocess
def test_two_nodes_do_what_one_does(config: Path) -> None:
    warm_runs.run([plan(config, "one", 2)], config.with_name("log"))
    with two_nodes(config.parent) as nodes:
        rendezvous = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=10.77.0.1", "--master-port=29577"]
        started = [
            start_torchrun(
                config,
                "two",
                [*rendezvous, f"--node-rank={rank}"],
                nodes=2,
                within=within,
                GLOO_SOCKET_IFNAME=f"ecgcmr{rank}",
                TP_SOCKET_IFNAME=f"ecgcmr{rank}",
            )
            for rank, within in enumerate(nodes)
        ]
        output = [finished(process) for process in started]
    assert "Traceback" not in "".join(output)
    for rank in range(2):
        assert record(config, "two", rank) == record(config, "one", rank)
    expected = weights(config, "one")
    assert all(torch.equal(value, expected[name]) for name, value in weights(config, "two").items())


def fake_scontrol(folder: Path, code: int = 0) -> str:
    """Write a program that notes how it was called; return the PATH that has it."""
    folder.mkdir(exist_ok=True)
    program = folder / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/called\necho "Job is not requeueable" >&2\nexit {code}\n')
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_job_near_its_end_is_saved_queued_again_and_goes_on(config: Path, ranks: int) -> None:
    path = fake_scontrol(config.parent / "bin")
    started = {**(ALONE if ranks == 1 else SLURM), "PATH": path}
    signalled = {"kill_at": 3, "signal": signal.SIGUSR1, "code": 143}
    plans = [
        plan(config, "whole", ranks),
        plan(config, "ended", ranks, started, **signalled),
        plan(config, "ended", ranks, {**started, "SLURM_RESTART_COUNT": "1"}),  # the same command
    ]
    output = warm_runs.run(plans, config.with_name("log"))
    assert "terminated; job 4242 is queued again and goes on by itself" in output
    assert (config.parent / "bin" / "called").read_text() == "requeue 4242\n"
    assert "Traceback" not in output
    assert record(config, "ended") == record(config, "whole")  # no step twice
    expected = weights(config, "whole")
    assert all(torch.equal(value, expected[name]) for name, value in weights(config, "ended").items())


def test_only_the_job_that_began_a_run_goes_on_with_it(tmp_path: Path) -> None:
    job = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"}
    note_job(tmp_path, job)
    overwrite = Leave(overwrite=True)
    # Training had begun, nothing was saved yet: anew, whatever the command says.
    assert go_on(tmp_path, Leave(), job) == (None, overwrite)
    (tmp_path / "last.ckpt").touch()
    assert go_on(tmp_path, Leave(), job) == ("last", Leave())
    assert go_on(tmp_path, overwrite, job) == ("last", Leave())
    # Its first start, another job, a numbered folder and no job at all are asked what to do, as ever.
    for environment in ({"SLURM_JOB_ID": "7"}, {**job, "SLURM_RESTART_COUNT": "0"}, {**job, "SLURM_JOB_ID": "8"}, {}):
        assert go_on(tmp_path, overwrite, environment) == (None, overwrite)
    assert go_on(tmp_path, Leave(new_folder=True), job) == (None, Leave(new_folder=True))
    note_job(tmp_path, {})  # somebody goes on with it by hand
    assert not (tmp_path / JOB_NOTE).exists()
    assert go_on(tmp_path, Leave(), job) == (None, Leave())


def test_a_job_that_slurm_does_not_queue_again_is_told_so(tmp_path: Path) -> None:
    job = {"SLURM_JOB_ID": "7", "PATH": fake_scontrol(tmp_path / "bin", code=1)}
    with pytest.raises(UserError, match=r"does not queue job 7 again \(Job is not requeueable\).*--requeue"):
        queue_again(job)
    with pytest.raises(UserError, match="no scontrol"):
        queue_again({"SLURM_JOB_ID": "7", "PATH": str(tmp_path)})
