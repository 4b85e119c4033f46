"""One stage of an experiment whose training leaves something amiss: what is said and kept. Nothing is trained."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ecgcmr.errors import UserError
from ecgcmr.experiments.stage_runs import BEST, LAST, StageRun, is_finished, marker_state, run_stage
from ecgcmr.training import command as stages_command


@pytest.fixture
def stage(tmp_path: Path) -> StageRun:
    (tmp_path / "mae.yaml").write_text("trainer: {max_steps: 3}\n")
    return StageRun("mae", tmp_path / "run", tmp_path / "mae.yaml", {"trainer.devices": 1}, {"cohort": "x"})


@pytest.fixture
def ends(stage: StageRun, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Let training and prediction end at once with a code, leaving these files; the words of each call are kept."""

    def set_up(*files: str, code: int = 0) -> list[list[str]]:
        calls: list[list[str]] = []

        def run(name: str, arguments: list[str]) -> int:
            calls.append([name, *arguments])
            for file in files if name == "fit" else ["predictions.npz"]:
                zipfile.ZipFile(stage.folder / file, "w").close()  # whole, or it would not be gone on from
            return code

        monkeypatch.setattr(stages_command, "run", run)
        return calls

    return set_up


def test_a_stage_without_a_best_epoch_is_an_error_and_not_finished(stage: StageRun, ends: Callable) -> None:
    calls = ends(LAST)
    message = r"^stage mae ended before its first validation.*trainer\.max_steps.*trainer\.check_val_every_n_epoch"
    with pytest.raises(UserError, match=message):
        run_stage(stage, predict=("val", "test"))
    assert [call[0] for call in calls] == ["fit"]  # nothing is predicted with weights that nobody chose
    assert marker_state(stage.folder) == {"fingerprint": stage.fingerprint, "finished": False}
    with pytest.raises(UserError, match="before its first validation"):  # nor is it taken for finished the next time
        run_stage(stage)
    assert f"--ckpt_path={stage.folder / LAST}" in calls[-1]


def test_the_same_stage_with_a_best_epoch_is_finished(stage: StageRun, ends: Callable) -> None:
    calls = ends(LAST, BEST)
    assert run_stage(stage, predict=("test", "val"))
    assert [call[0] for call in calls] == ["fit", "predict", "predict"]
    assert "--data.predict_split=val" in calls[1]
    assert all(f"--ckpt_path={stage.folder / BEST}" in call for call in calls[1:])
    assert {path.name for path in stage.folder.glob("*.npz")} == {"predictions.npz", "predictions_val.npz"}
    assert {path.name for path in stage.folder.glob("*.ckpt")} == {BEST}
    assert is_finished(stage.folder, stage.fingerprint)
    (stage.folder / LAST).touch()  # cut off just before it was removed
    assert not run_stage(stage, predict=("test", "val"))
    assert len(calls) == 3
    assert not (stage.folder / LAST).exists()


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [(2, UserError, r"stage mae did not finish \(fit ended with 2\)"), (130, KeyboardInterrupt, None)],
)
def test_a_code_is_told_whatever_lies_in_the_folder(
    stage: StageRun, ends: Callable, code: int, error: type[BaseException], message: str | None
) -> None:
    ends(LAST, BEST, code=code)
    with pytest.raises(error, match=message):
        run_stage(stage)
    assert (stage.folder / LAST).is_file()
    assert not is_finished(stage.folder, stage.fingerprint)
