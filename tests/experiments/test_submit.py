"""An experiment as jobs of a cluster: what sbatch is given, what waits for what, and what a job does near its end."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.experiments import submit_command
from ecgcmr.experiments.cluster_file import Cluster, Resources, read_cluster
from ecgcmr.experiments.cluster_jobs import Job, Ranks, jobs_of, ranks_of
from ecgcmr.experiments.job_script import script
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.sbatch import submit

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "configs" / "experiments" / "demo.yaml"


@dataclass(frozen=True)
class Node:
    """A part of an experiment."""

    name: str
    needs: tuple[str, ...] = ()


RUNS = tuple(f"phenotypes-{method}-{count}" for method in ("mae", "mae+alignment") for count in (50, "10%"))
NODES = [
    Node("cohort"),
    Node("mae", ("cohort",)),
    Node("mae+alignment", ("cohort", "mae")),
    *(Node(name, (name.split("-")[1],)) for name in RUNS),
    Node("table", ("cohort", "mae", "mae+alignment", *RUNS)),
]


def program(folder: Path, name: str, text: str) -> None:
    """Write a program of a cluster."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod((folder / name).stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A cluster whose sbatch notes its words and gives numbers from 100 on; returns what calls ``ecgcmr submit``."""
    folder = tmp_path / "bin"
    program(folder, "sbatch", f'echo "$@" >> {folder}/words\necho $((99 + $(wc -l < {folder}/words)))\n')
    program(folder, "squeue", f'cat {folder}/queue 2>/dev/null || {{ echo "Invalid job id specified" >&2; exit 1; }}')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(submit_command, "run_graph", lambda plan: NODES)
    monkeypatch.setattr(submit_command, "_check_plan", lambda *_: None)  # seconds; a test below does without
    monkeypatch.setattr(submit_command, "_check_cells", lambda *_: None)
    monkeypatch.chdir(tmp_path)

    def call(entries: dict, *words: str) -> int:
        path = tmp_path / "cluster.yaml"
        path.write_text(yaml.safe_dump(entries))
        return main(["submit", str(DEMO), "--cluster", str(path), "--out", str(tmp_path / "out"), *words])

    return call


def test_each_job_waits_for_what_it_needs(
    cluster: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cluster({"partition": "gpu", "running": 2, "parts": {"cohort": {"gpus": 0}, "table": {"gpus": 0}}}) == 0
    folder = tmp_path / "out" / "submit"
    submitted = [line.split() for line in (tmp_path / "bin" / "words").read_text().splitlines()]
    names = [Path(words[-1]).name for words in submitted]
    assert names == [
        "01-cohort.sbatch",
        "02-mae.sbatch",
        "03-mae+alignment.sbatch",
        "04-phenotypes-mae-50-and-1-more.sbatch",
        "05-phenotypes-mae+alignment-50-and-1-more.sbatch",
        "06-table.sbatch",
    ]
    waits = [next((word for word in words if word.startswith("--dependency")), "") for words in submitted]
    after = ["", "100", "100:101", "101", "102", "100:101:102:103:104"]
    assert waits == [numbers and f"--dependency=afterok:{numbers}" for numbers in after]
    assert all("--kill-on-invalid-dep=yes" in words for words in submitted[1:])
    numbers = json.loads((folder / "jobs.json").read_text())
    assert numbers["mae"] == "101"
    assert numbers["phenotypes-mae-10%"] == "103_1"
    text = (folder / names[3]).read_text()
    assert "#SBATCH --array=0-1%2\n" in text
    assert "#SBATCH --signal=B:USR1@300\n" in text
    assert "#SBATCH --partition=gpu\n" in text
    assert "#SBATCH --gpus-per-node=1\n" in text
    assert "parts=(phenotypes-mae-50 phenotypes-mae-10%)" in text
    assert '--only "$part" &' in text
    assert "--gpus" not in (folder / names[0]).read_text()
    assert "--only" not in (folder / names[-1]).read_text()
    for name in names:
        assert subprocess.run(["bash", "-n", str(folder / name)], check=False).returncode == 0
    assert "job 103" in capsys.readouterr().out


def test_cells_of_a_matrix_are_one_array_between_cohort_and_tables(cluster: Callable[..., int], tmp_path: Path) -> None:
    wide = {"stages.mae.set.trainer.devices": 4}
    matrix = yaml.safe_dump({"seed": [0, 1], "width": {"four": wide, "one": {}}}, default_flow_style=True, width=1000)
    assert cluster({"gpus": 1, "parts": {"cohort": {"gpus": 0}, "table": {"gpus": 0}}}, f"matrix={matrix.strip()}") == 0
    folder = tmp_path / "out" / "submit"
    scripts = {path.name: path.read_text() for path in sorted(folder.glob("*.sbatch"))}
    assert list(scripts) == [
        "01-cohort.sbatch", "02-seed0-four-and-1-more.sbatch", "03-seed0-one-and-1-more.sbatch", "04-table.sbatch",
    ]  # fmt: skip
    assert "parts=(seed0-one seed1-one)" in scripts["03-seed0-one-and-1-more.sbatch"]
    assert (
        "#SBATCH --ntasks-per-node=4\n" in scripts["02-seed0-four-and-1-more.sbatch"]
    )  # what its widest stage asks for
    waits = [line.split() for line in (tmp_path / "bin" / "words").read_text().splitlines()]
    assert "--dependency=afterok:100" in waits[2]
    assert "--dependency=afterok:100:101:102" in waits[3]


def test_a_dry_run_writes_the_files_and_submits_nothing(cluster: Callable[..., int], tmp_path: Path) -> None:
    assert cluster({}, "--dry-run", "evaluation.windows=1") == 0
    assert len(list((tmp_path / "out" / "submit").glob("*.sbatch"))) == 6
    assert not (tmp_path / "bin" / "words").exists()
    assert " evaluation.windows=1 " in (tmp_path / "out" / "submit" / "02-mae.sbatch").read_text()


@pytest.mark.parametrize("matrix", [False, True])
def test_what_a_fit_would_refuse_is_refused_before_it_is_queued(
    matrix: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path / "bin", "sbatch", f"touch {tmp_path}/submitted")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "cluster.yaml").write_text("gpus: 0\n")
    wrong = "stages.mae.set.model.mask_ratio"
    words = [f"matrix={{mask: {{whole: {{{wrong}: 2}}}}}}"] if matrix else [f"{wrong}=2"]
    call = ["submit", str(DEMO), "--cluster", str(tmp_path / "cluster.yaml"), "--out", str(tmp_path / "out")]
    assert main([*call, *words]) == 2
    assert "mask_ratio" in capsys.readouterr().err
    assert not (tmp_path / "submitted").exists()
    assert not (tmp_path / "out").exists()


def test_what_is_still_queued_is_not_submitted_twice(
    cluster: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cluster({}) == 0
    assert cluster({}) == 0  # nothing of it is in the queue any more
    (tmp_path / "bin" / "queue").write_text("103_1\n")
    assert cluster({}) == 2
    assert "job 106 of this experiment is still queued or running" in capsys.readouterr().err


def test_a_job_that_sbatch_refuses_is_named_and_the_others_stay_noted(
    cluster: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bin"
    program(folder, "sbatch", '[[ "$*" == *02-mae.sbatch ]] && { echo "Invalid partition" >&2; exit 1; }\necho 7')
    assert cluster({}) == 2
    assert "sbatch refuses 02-mae.sbatch: Invalid partition" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "submit" / "jobs.json").read_text()) == {"cohort": "7"}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"tiem": "1:00:00"}, r"unknown entry 'tiem'|tiem"),
        ({"time": 86400}, 'time is 86400; write it in quotes, such as "24:00:00"'),
        ({"cpus": 0}, "cpus"),
        ({"options": ["qos=long"]}, "no word for sbatch"),
        ({"partition": "gpu; rm -r x"}, "no word for sbatch"),
        ({"running": 0}, "running"),
        ({"parts": {"mea": {"gpus": 4}}}, "parts.mea: the experiment has no such part; it has cohort"),
        ({"parts": {"mae": {"setup": ["x"]}}}, "setup"),
        ({"parts": {"mae": {"time": 3600}}}, "parts.mae: time is 3600"),
        ({"gpus": 2}, "gpus is 2; a device is one GPU"),
        (
            {"parts": {"mae": {"time": "5:00"}}},
            "part mae: signal, 300 s before the end of a job, is not below",
        ),
        ({"time": "0-1", "signal": 3600}, "part cohort: signal, 3600 s before"),
    ],
)
def test_mistakes_of_a_cluster_file_are_named(entries: dict, words: str, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(entries))
    with pytest.raises(UserError, match=words):
        read_cluster(path, [node.name for node in NODES])


def test_without_sbatch_the_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no sbatch here"):
        submit([], tmp_path)


def test_ranks_are_those_of_the_configs(tmp_path: Path) -> None:
    overrides = ["stages.mae.set={trainer.devices: 4, trainer.num_nodes: 2}"]
    plan = load_plan(DEMO, overrides=overrides)
    given = Cluster(gpu_type="a100", parts={"mae": {"cpus": 6}})
    jobs = {job.parts[0]: job for job in jobs_of(NODES, partial(ranks_of, plan), given)}
    assert jobs["mae"].ranks == Ranks(nodes=2, devices=4)
    assert jobs["cohort"].ranks == Ranks()
    text = script(jobs["mae"], given, ["ecgcmr"], tmp_path, tmp_path, "demo")
    for option in ("nodes=2", "ntasks-per-node=4", "cpus-per-task=6", "gpus-per-node=a100:4"):
        assert f"#SBATCH --{option}\n" in text
    assert "export ECGCMR_LAUNCHER='env SLURM_JOB_NAME=ecgcmr srun'\n" in text


def running(tmp_path: Path, words: Sequence[str]) -> subprocess.Popen[str]:
    """Start the script of the second part of an array."""
    program(tmp_path / "bin", "scontrol", f'echo "$@" > {tmp_path}/requeued')
    job = Job("02-runs", ("first", "the second"), (), Ranks(), Resources())
    (tmp_path / "job.sbatch").write_text(
        script(job, Cluster(setup=["export GREETING=hello"]), words, tmp_path, tmp_path, "demo")
    )
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLURM_JOB_ID": "4243", "SLURM_ARRAY_TASK_ID": "1"}
    return subprocess.Popen(["bash", str(tmp_path / "job.sbatch")], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_job_runs_its_part_and_ends_as_it_does(tmp_path: Path) -> None:
    job = running(tmp_path, ["bash", "-c", 'echo "$GREETING $SLURM_JOB_NAME: $@"; exit 3', "-"])
    assert job.communicate(timeout=20)[0].splitlines()[-1] == "hello interactive: --only the second"
    assert job.returncode == 3


@pytest.mark.parametrize(("number", "again"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_job_that_is_signalled_lets_its_part_save_first(tmp_path: Path, number: signal.Signals, again: bool) -> None:
    saving = (
        f"trap 'sleep 0.2; touch {tmp_path}/saved; exit 143' TERM; touch {tmp_path}/began; while :; do sleep 0.05; done"
    )
    job = running(tmp_path, ["bash", "-c", saving, "-"])
    deadline = time.monotonic() + 20
    while not (tmp_path / "began").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.send_signal(number)
    job.communicate(timeout=20)
    assert job.returncode == 143
    assert (tmp_path / "saved").exists()
    assert (tmp_path / "requeued").exists() == again
    if again:
        assert (tmp_path / "requeued").read_text() == "requeue 4243\n"
