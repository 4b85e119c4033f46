"""A fit on several cohorts as one: named on the command line, resumed exactly, and without folders in its logs."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import warm_runs
import yaml
from labelled_cohort import write_stage
from numbered_cohort import AF, ECG, EDV, NORM, write

from ecgcmr.cli import main
from ecgcmr.provenance.run_note import read_note
from ecgcmr.training.run_settings import flat_settings, settings_that_count

BATCH = 4
SPLITS = ("train",) * 20 + ("val",) * 4 + ("test",) * 4


@pytest.fixture
def config(tmp_path: Path) -> Path:
    short = replace(ECG, samples=120)
    write(tmp_path / "a", range(28), SPLITS, (EDV, AF), ecg=short)
    write(tmp_path / "b", [100, 27, *range(102, 128)], SPLITS, (NORM,), ecg=short)
    return write_stage(tmp_path, tmp_path / "a", "ECGMaskedAutoencoder", "mae", data="ECGDataModule")


def roots(config: Path) -> list[str]:
    return [str(config.parent / "a"), str(config.parent / "b")]


def test_a_fit_takes_a_list_of_cohorts(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = config.parent / "whole"
    words = ["fit", "-c", str(config), "--data.root", f"[{', '.join(roots(config))}]", "--data.weights", "[2, 1]"]
    with caplog.at_level(logging.INFO, logger="lightning.pytorch"):
        assert main([*words, f"--trainer.default_root_dir={folder}"]) == 0
    assert "1 subjects stand in several of the cohorts; 1 rows of theirs are left out" in caplog.text
    settings = yaml.safe_load((folder / "config.yaml").read_text())["data"]["init_args"]
    assert [Path(root).name for root in settings["root"]] == ["a", "b"]
    # Recording 27 is tested in a and would have been trained on in b; of the rest two of a come for each of b.
    note = read_note(folder)
    assert note["cohort"]["rows"] == {"train": 39, "val": 8, "test": 8}
    assert note["totals"]["steps"] == (20 + 10) // 4


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.long
def test_killed_on_one_rank_and_on_two_it_goes_on_as_if_nothing_had_happened(config: Path) -> None:
    content = yaml.safe_load(config.read_text())
    content["data"]["init_args"] |= {"root": roots(config), "weights": [2, 1]}
    saves = {"class_path": "ecgcmr.training.StepCheckpoint", "init_args": {"every_n_train_steps": 2}}
    content["trainer"] |= {
        "max_epochs": 3, "deterministic": True, "callbacks": [{"class_path": "killed_runs.Recorder"}, saves],
    }  # fmt: skip
    config.write_text(yaml.safe_dump(content))

    def plan(name: str, ranks: int = 1, kill_at: int = -1, resume: bool = False) -> dict[str, Any]:
        arguments = warm_runs.fit_arguments(config, name, BATCH, ranks, resume)
        return warm_runs.plan(arguments, ranks=ranks, kill_at=kill_at, record=str(config.with_name(name)))

    def seen(name: str, rank: int = 0) -> dict[int, list[int]]:
        lines = config.with_name(f"{name}-{rank}.jsonl").read_text().splitlines()
        return {entry["step"]: entry["rows"] for entry in map(json.loads, lines)}

    stopped = [plan("killed", 1, 4), plan("killed", 2, 11, resume=True), plan("killed", 1, resume=True)]
    warm_runs.run([plan("whole"), *stopped], config.with_name("log"))
    whole, first, second = seen("whole"), seen("killed"), seen("killed", 1)
    assert list(whole) == list(range(1, 3 * 7 + 1))
    joined = {step: rows if len(rows) == BATCH else rows + second[step] for step, rows in first.items()}
    assert joined == whole
    assert second  # there were two ranks for a while


def test_settings_of_several_cohorts_name_no_folder_of_this_machine() -> None:
    data = {"class_path": "D", "init_args": {"root": ["/home/anna/a", "/data/b"], "apart_from": ["/data/c"]}}
    config = {"data": data, "model": {}, "trainer": {}}
    assert {name: value for name, value in flat_settings(config).items() if "/" in str(value)} == {}
    assert flat_settings(config)["data.root"] == "a + b"
    assert not [name for name in settings_that_count(config, None) if name.startswith(("data.root", "data.apart"))]
