"""Whole runs that fine-tune by updates of low rank: ordinary weights in all that they leave, and exact resumption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm_runs
import yaml
from labelled_cohort import write_cohort, write_stage
from safetensors.torch import load_file

from ecgcmr.cli import main
from ecgcmr.encoders import load_encoder
from ecgcmr.stages.trained_part import LOW_RANK_KEY

WINDOWS = ["--data.train_windows=2", "--data.evaluation_windows=2", "--model.window_pooling=attention"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A regression from windows of 60 samples by low-rank updates, with layer decay and dropped paths; 5 steps."""
    root = write_cohort(tmp_path / "cohort")
    path = write_stage(tmp_path, root, "PhenotypeRegression", labels=["lv_edv", "lv_ef"], covariates=["age"])
    content = yaml.safe_load(path.read_text())
    content["model"]["init_args"] |= {"trained": "low_rank:2"}
    content["model"]["init_args"]["optimiser"] |= {"lr": 0.01, "layer_decay": 0.7}
    content["model"]["init_args"]["encoder"]["init_args"] |= {"samples": 60, "drop_path": 0.2}
    content["data"]["init_args"] |= {"samples": 60, "train_windows": 2, "evaluation_windows": 2}
    path.write_text(yaml.safe_dump(content))
    return path


def checkpoint(folder: Path, name: str = "last") -> dict[str, Any]:
    return torch.load(folder / f"{name}.ckpt", weights_only=True)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.long
def test_what_a_run_leaves_are_ordinary_weights(config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = tmp_path / "stage"
    assert main(["fit", "-c", str(config), *WINDOWS]) == 0
    [line] = [line for line in caplog.messages if line.startswith("model.trained low_rank:2: ")]
    assert line.endswith(" parameters are trained")
    for name in ("best", "last"):
        state = checkpoint(run, name)["state_dict"]
        assert not any("parametrizations" in key for key in state)
        assert "encoder.blocks.0.attn.qkv.weight" in state
        assert torch.count_nonzero(state["window_pooling.query"]) > 0
    exported = load_file(run / "encoder.safetensors")
    best = checkpoint(run, "best")["state_dict"]
    assert same(exported, {key.removeprefix("encoder."): v for key, v in best.items() if key.startswith("encoder.")})
    assert load_encoder(run).state_dict().keys() == exported.keys()
    # Judged without knowing of the updates, by a config that trains all.
    assert main(["predict", "-c", str(config), *WINDOWS]) == 0
    with np.load(run / "predictions.npz") as file:
        by_name = file["prediction"]
    whole = ["--model.trained=all", f"--ckpt_path={run / 'best.ckpt'}", f"--trainer.default_root_dir={tmp_path / 'w'}"]
    assert main(["predict", "-c", str(config), *WINDOWS, *whole]) == 0
    with np.load(tmp_path / "w" / "predictions.npz") as file:
        assert np.array_equal(file["prediction"], by_name)
    # The next stage begins from it; a run resumed after its last epoch exports the same once more.
    following = [
        f"--model.encoder_weights={run}",
        "--model.trained=norms",
        f"--trainer.default_root_dir={tmp_path / 'n'}",
    ]
    assert main(["fit", "-c", str(config), *following]) == 0
    assert main(["fit", "-c", str(config), *WINDOWS, "--ckpt_path=last"]) == 0
    assert same(load_file(run / "encoder.safetensors"), exported)


@pytest.mark.long
def test_a_fit_goes_on_with_the_updates_it_had(config: Path, tmp_path: Path, capsys: Any) -> None:
    folder = f"--trainer.default_root_dir={tmp_path / 'all'}"
    assert main(["fit", "-c", str(config), folder, "--model.trained=all"]) == 0
    more = ["--ckpt_path=last", "--resume-with-changes", "--trainer.max_epochs=2"]
    assert main(["fit", "-c", str(config), folder, *more]) == 2
    refused = capsys.readouterr().err.strip().splitlines()[-1]
    assert "ckpt_path: the checkpoint has no updates of low rank: give the model.trained that it had" in refused
    assert main(["fit", "-c", str(config)]) == 0
    assert main(["fit", "-c", str(config), *more, "--model.trained=low_rank:3"]) == 2
    assert "does not fit the model of the config" in capsys.readouterr().err.strip().splitlines()[-1]
    assert main(["fit", "-c", str(config), *more, "--model.trained=all"]) == 2
    assert "give the protocol, trained and layer_decay" in capsys.readouterr().err.strip().splitlines()[-1]
    one = ["--overwrite", "--model.window_pooling=attention", "--data.train_windows=1"]
    assert main(["fit", "-c", str(config), *one]) == 2
    assert "set data.train_windows to 2 or more" in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.long
def test_a_killed_fit_goes_on_to_the_last_bit(config: Path, ranks: int) -> None:
    content = yaml.safe_load(config.read_text())
    content["trainer"] |= {
        "deterministic": True,
        "callbacks": [
            {"class_path": "killed_runs.Recorder"},
            {"class_path": "ecgcmr.training.StepCheckpoint", "init_args": {"every_n_train_steps": 1}},
        ],
    }
    config.write_text(yaml.safe_dump(content))

    def plan(name: str, kill_at: int = -1, resume: bool = False) -> dict[str, Any]:
        arguments = [*warm_runs.fit_arguments(config, name, 4, ranks, resume), *WINDOWS, "--trainer.max_epochs=2"]
        return warm_runs.plan(arguments, ranks=ranks, kill_at=kill_at, record=str(config.with_name(name)))

    plans = [plan("whole"), plan("killed", 3), plan("killed", 7, resume=True), plan("killed", resume=True)]
    warm_runs.run(plans, config.with_name("log"))
    whole, killed = (checkpoint(config.with_name(name)) for name in ("whole", "killed"))
    assert whole["global_step"] == killed["global_step"] == 10
    assert same(whole["state_dict"], killed["state_dict"])
    assert same(whole[LOW_RANK_KEY], killed[LOW_RANK_KEY])
    assert any(torch.count_nonzero(value) for name, value in whole[LOW_RANK_KEY].items() if name.endswith(".up"))
    exported = [load_file(config.with_name(name) / "encoder.safetensors") for name in ("whole", "killed")]
    assert same(*exported)
