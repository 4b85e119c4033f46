"""One stage of an experiment that was cut off: what it goes on from, what it does not, and what it keeps."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_configs

from ecgcmr.experiments import stage_runs
from ecgcmr.experiments.stage_runs import BEST, LAST, StageRun, marker_state, run_stage, write_marker


@pytest.fixture
def mae_run(tmp_path: Path, cohort_root: Path) -> StageRun:
    config = tiny_configs.write_mae(tmp_path, cohort_root)
    return StageRun("mae", tmp_path / "run", config, {"trainer.max_epochs": 2}, {"cohort": "x"})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> StageRun:
    """A stage that was cut off when all was written but that it is finished; no test may change its folder."""
    folder = tmp_path_factory.mktemp("stage")
    config = tiny_configs.write_mae(folder, cohort_root)
    stage = StageRun("mae", folder / "run", config, {"trainer.max_epochs": 2}, {"cohort": "x"})

    def cut_off(folder: Path, fingerprint: str, *, finished: bool) -> None:
        if finished:
            raise KeyboardInterrupt
        write_marker(folder, fingerprint, finished=finished)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_runs, "write_marker", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run_stage(stage)
    return stage


@pytest.fixture
def trained_copy(trained: StageRun, tmp_path: Path) -> StageRun:
    return replace(trained, folder=Path(shutil.copytree(trained.folder, tmp_path / "run")))


def _epochs(folder: Path) -> int:
    return json.loads((folder / "metrics.json").read_text())["fit"]["epochs"]


@pytest.mark.usefixtures("interrupt_restored")
def test_an_interrupted_stage_goes_on_from_its_last_checkpoint(
    mae_run: StageRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecgcmr.stages import ECGMaskedAutoencoder

    trained: list[int] = []
    step = ECGMaskedAutoencoder.training_step

    def stopped_in_the_second_epoch(self: Any, batch: Any, batch_idx: int) -> Any:
        trained.append(self.current_epoch)
        if len(trained) == 9:  # six batches an epoch
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    monkeypatch.setattr(ECGMaskedAutoencoder, "training_step", stopped_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        run_stage(mae_run)
    assert marker_state(mae_run.folder)["finished"] is False
    assert not (mae_run.folder / "encoder.safetensors").exists()
    assert run_stage(mae_run)
    assert trained[9:] == [1] * 6  # the finished first epoch is not trained again
    assert _epochs(mae_run.folder) == 2
    assert not run_stage(mae_run)


def test_a_stage_cut_off_after_its_last_epoch_keeps_its_metrics(trained_copy: StageRun) -> None:
    folder = trained_copy.folder
    metrics, encoder = (folder / "metrics.json").read_text(), (folder / "encoder.safetensors").read_bytes()
    assert (folder / LAST).is_file()
    (folder / "encoder.safetensors").unlink()
    assert run_stage(trained_copy)
    assert (folder / "metrics.json").read_text() == metrics
    assert (folder / "encoder.safetensors").read_bytes() == encoder
    assert {path.name for path in folder.glob("*.ckpt")} == {BEST}


def test_a_result_of_other_inputs_is_not_resumed(trained_copy: StageRun) -> None:
    folder = trained_copy.folder
    (folder / "stray").write_text("of the earlier inputs")
    other = replace(trained_copy, overrides={"trainer.max_epochs": 1}, inputs={"cohort": "y"})
    assert run_stage(other)
    assert not (folder / "stray").exists()
    assert _epochs(folder) == 1  # resumed, it would be the two of before


def test_a_place_does_not_change_a_fingerprint_and_a_setting_does(mae_run: StageRun) -> None:
    def with_settings(**settings: Any) -> str:
        overrides = {**mae_run.overrides, **settings}
        return StageRun("other", Path("elsewhere"), mae_run.config, overrides, mae_run.inputs).fingerprint

    assert with_settings(**{"data.root": "elsewhere", "model.encoder_weights": "there"}) == mae_run.fingerprint
    assert with_settings(**{"trainer.max_epochs": 3}) != mae_run.fingerprint
