"""Every stage on two ranks: it ends, leaves a whole run folder, and is judged as one rank would judge it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_configs
import torch
import warm_runs

from ecgcmr.cli import main
from ecgcmr.encoders import load_encoder
from ecgcmr.shards import ShardIndex

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow, pytest.mark.long]

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = ("mae", "alignment", "PhenotypeRegression", "DiagnosisClassification")
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
WINDOWS = {"DiagnosisClassification": ["--data.evaluation_windows=4"]}
FILES = ("config.yaml", "last.ckpt", "best.ckpt", "encoder.safetensors", "encoder.yaml", "metrics.json")
FAST = ["--model.optimiser.lr=0.01", "--model.optimiser.warmup_epochs=0"]
"""A rate at which a few steps change a network enough for ranks to differ, if they can."""
TIMEOUT_S = 240


def run(command: list[str]) -> None:
    """Run a Python command on one thread a rank, with a port of its own; kill all its ranks if it hangs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "MASTER_PORT": port}
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            output = f"no end within {TIMEOUT_S} s:\n{process.communicate()[0]}"
    assert process.returncode == 0, output


@pytest.fixture(scope="module")
def odd_root(cohort_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort with 15 subjects to validate and 11 to test, which two ranks cannot share evenly."""
    root = Path(shutil.copytree(cohort_root, tmp_path_factory.mktemp("odd") / "cohort"))
    content = json.loads((root / "index.json").read_text())
    splits = content["subjects"]["split"]
    for name in ("val", "test"):
        splits[splits.index(name)] = "train"
    (root / "index.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def folder(odd_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of configs and of what two ranks made of them: fitted, validated, tested, predicted."""
    folder = tmp_path_factory.mktemp("ranks")
    tiny_configs.write_mae(folder, odd_root)
    tiny_configs.write_alignment(folder, odd_root)
    tiny_configs.write_downstream(folder, odd_root, "PhenotypeRegression", ["lv_edv", "lv_ef"])
    tiny_configs.write_downstream(folder, odd_root, "DiagnosisClassification", ["cad_ever", "af_ever"])
    commands = []
    for stage in STAGES:
        config = ["-c", str(folder / f"{stage}.yaml"), *TWO, "--trainer.enable_model_summary=false"]
        config += WINDOWS.get(stage, [])
        commands.append(["fit", *config, *FAST])
        checkpoint = ["--ckpt_path", str(folder / stage / "last.ckpt")]
        commands += [[command, *config, *checkpoint] for command in ("validate", "test", "predict")]
    warm_runs.run([warm_runs.plan(*commands, ranks=2, timeout_s=TIMEOUT_S)], folder / "log")
    return folder


@pytest.mark.parametrize("stage", STAGES)
def test_two_ranks_leave_a_whole_run_folder(folder: Path, stage: str) -> None:
    run_folder = folder / stage
    assert [name for name in FILES if not (run_folder / name).is_file()] == []
    assert len(list((run_folder / "tensorboard").glob("events*"))) == 1
    assert not list(run_folder.rglob("*.tmp"))
    assert torch.load(run_folder / "last.ckpt", weights_only=True)["epoch"] == 1
    load_encoder(run_folder)


@pytest.mark.parametrize("stage", STAGES)
def test_one_rank_measures_and_predicts_the_same(folder: Path, stage: str, tmp_path: Path, odd_root: Path) -> None:
    # Retrieval and loss of the alignment are over global batches, so there the global batch must be the same.
    batch = 16 if stage == "alignment" else 5
    config = ["-c", str(folder / f"{stage}.yaml"), f"--data.batch_size={batch}"]
    config += ["--ckpt_path", str(folder / stage / "last.ckpt"), f"--trainer.default_root_dir={tmp_path}"]
    config += WINDOWS.get(stage, [])
    for command in ("validate", "test", "predict"):
        assert main([command, *config]) == 0
    one = json.loads((tmp_path / "metrics.json").read_text())
    two = json.loads((folder / stage / "metrics.json").read_text())
    for section in ("validate", "test"):
        assert one[section].keys() == two[section].keys()
        assert np.isfinite(one[section][f"{'val' if section == 'validate' else 'test'}/loss"])
        assert two[section] == pytest.approx(one[section], rel=1e-5, abs=1e-5)
    # What the two ranks logged at the end of the fit is the validation of the checkpoint they left.
    during_fit = {name: value for name, value in two["fit"].items() if name.startswith("val/")}
    assert during_fit == pytest.approx(one["validate"], rel=1e-5, abs=1e-5)
    first, second = (_arrays(root / "predictions.npz") for root in (folder / stage, tmp_path))
    index = ShardIndex.load(odd_root)
    assert first["row"].tolist() == index.positions("test", ("ecg",)).tolist()
    assert len(first["row"]) == 11
    assert first["subject"].tolist() == second["subject"].tolist()
    assert first["row"].tolist() == second["row"].tolist()
    np.testing.assert_allclose(first["prediction"], second["prediction"], rtol=1e-5, atol=1e-5)


def _arrays(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def test_two_ranks_learn_what_one_does_on_the_same_global_batch(odd_root: Path, tmp_path: Path) -> None:
    """Through ``python -m ecgcmr``, as a user starts it. Age is known of everyone, so ranks weigh alike."""
    config = tiny_configs.write_downstream(tmp_path, odd_root, "PhenotypeRegression", ["age"])
    shared = ["-c", str(config), *FAST, "--trainer.max_epochs=1"]
    assert main(["fit", *shared, "--data.batch_size=12", f"--trainer.default_root_dir={tmp_path / 'one'}"]) == 0
    two = ["--data.batch_size=6", f"--trainer.default_root_dir={tmp_path / 'two'}", *TWO]
    run(["-m", "ecgcmr", "fit", *shared, *two])
    one, both = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("one", "two"))
    assert one["global_step"] == both["global_step"] == 4
    for name, weight in one["state_dict"].items():
        # The bias of a key has no effect and so no gradient; Adam makes steps of its rounding errors.
        if not name.endswith("qkv.bias"):
            torch.testing.assert_close(both["state_dict"][name], weight, rtol=1e-4, atol=1e-5, msg=name)
    first, second = (json.loads((tmp_path / name / "metrics.json").read_text())["fit"] for name in ("one", "two"))
    assert first == pytest.approx(second, rel=1e-4, abs=1e-4)
