"""A folder that holds a run: refused, gone on with, begun anew or left for a numbered one; never replaced unasked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_configs import write_mae

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.locks import FolderLock
from ecgcmr.training.run_claim import LAUNCHED_FOR, Leave, choose_folder, default_run_folder, run_files, take_leave
from ecgcmr.training.whole_checkpoints import WholeCheckpoints, is_whole, newest_whole

QUICK = ("--trainer.max_epochs=1", "--trainer.enable_model_summary=false")


def states(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Path:
    """A config whose run folder holds a fit; no test may change it."""
    config = write_mae(tmp_path_factory.mktemp("claimed"), cohort_root)
    assert main(["fit", "-c", str(config), *QUICK]) == 0
    return config


@pytest.fixture
def config(fitted: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(fitted.with_suffix(""), tmp_path / "mae")
    content = yaml.safe_load(fitted.read_text())
    content["trainer"]["default_root_dir"] = str(tmp_path / "mae")
    (tmp_path / "mae.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "mae.yaml"


def test_a_second_fit_is_refused_with_the_three_ways_on(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = states(fitted.with_suffix(""))
    assert main(["fit", "-c", str(fitted), *QUICK]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert all(word in error for word in ("holds a run", "--ckpt_path last", "--overwrite", "--new_folder", "mae-2"))
    assert states(fitted.with_suffix("")) == before


@pytest.mark.parametrize(
    "more", [["--data.root=nowhere"], ["--data.labels=[lv_edw]"], ["--model.encoder_weights=nowhere"]]
)
def test_leave_to_overwrite_is_not_used_by_a_start_that_fails(fitted: Path, more: list[str]) -> None:
    before = states(fitted.with_suffix(""))
    assert main(["fit", "-c", str(fitted), *QUICK, "--overwrite", *more]) == 2
    assert states(fitted.with_suffix("")) == before


def test_a_start_that_fails_at_the_first_look_at_the_data_changes_nothing(
    fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, *args: Any) -> None:
        raise UserError("no")

    before = states(fitted.with_suffix(""))
    monkeypatch.setattr("ecgcmr.stages.ECGMaskedAutoencoder.validation_step", fail)
    assert main(["fit", "-c", str(fitted), *QUICK, "--overwrite"]) == 2
    assert states(fitted.with_suffix("")) == before
    assert main(["fit", "-c", str(fitted), *QUICK, f"--trainer.default_root_dir={fitted.with_name('new')}"]) == 2
    assert not fitted.with_name("new").exists()  # no config.yaml and no log of a run that never began


def test_overwriting_leaves_nothing_of_the_earlier_run(config: Path) -> None:
    run = config.with_suffix("")
    (run / "predictions_val.npz").touch()
    log = next((run / "tensorboard").glob("events*")).name
    (run / "notes.txt").write_text("mine")
    assert main(["fit", "-c", str(config), *QUICK, "--overwrite"]) == 0
    assert not (run / "predictions_val.npz").exists()
    assert [path.name for path in (run / "tensorboard").glob("events*")] != [log]
    assert len(list((run / "tensorboard").glob("events*"))) == 1
    assert (run / "notes.txt").read_text() == "mine"
    assert "overwrite" not in (run / "config.yaml").read_text()  # the config gives no leave


def test_a_numbered_folder_is_named_and_used(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = config.with_suffix("")
    before = states(run)
    (run.with_name("mae-2")).mkdir()
    (run.with_name("mae-2") / "last.ckpt").touch()
    assert main(["fit", "-c", str(config), *QUICK, "--new_folder"]) == 0
    assert f"the run goes to {run}-3" in capsys.readouterr().err
    assert is_whole(run.with_name("mae-3") / "last.ckpt")
    assert yaml.safe_load((run.with_name("mae-3") / "config.yaml").read_text())["trainer"]["default_root_dir"] == (
        f"{run}-3"
    )
    assert states(run) == before
    assert LAUNCHED_FOR not in os.environ


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
def test_a_folder_that_is_being_written_to_is_left_alone(
    fitted: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with FolderLock(fitted.with_suffix(""), "fit"):
        assert main([command, "-c", str(fitted)]) == 2
    assert f"'ecgcmr fit' is writing there (process {os.getpid()}" in capsys.readouterr().err


def test_what_contradicts_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "last.ckpt").touch()
    checkpoint = tmp_path / "last.ckpt"
    for leave in (Leave(overwrite=True), Leave(new_folder=True)):
        with pytest.raises(UserError, match="--ckpt_path goes on in"):
            choose_folder(tmp_path, leave, checkpoint)
    assert choose_folder(tmp_path, Leave(), checkpoint) == tmp_path
    with pytest.raises(UserError, match="holds a run"):  # a checkpoint of elsewhere does not go on here
        choose_folder(tmp_path, Leave(), tmp_path / "other" / "last.ckpt")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is a file, where the run folder is to be"):
        choose_folder(tmp_path / "file", Leave(), None)
    for words in (["--overwrite", "--new_folder"], ["--overwrite=true"]):
        with pytest.raises(UserError):
            take_leave(words)
    assert take_leave(["-c", "x", "--overwrite"]) == (["-c", "x"], Leave(overwrite=True))
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UserError, match="cannot agree"):
        choose_folder(tmp_path, Leave(new_folder=True), None)


def test_a_job_that_slurm_queued_again_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hpc_ckpt_1.ckpt").touch()
    with pytest.raises(UserError, match="holds a run"):
        choose_folder(tmp_path, Leave(), None)
    monkeypatch.setattr("ecgcmr.training.run_claim.SLURMEnvironment.detect", lambda: True)
    assert choose_folder(tmp_path, Leave(), None) == tmp_path
    with pytest.raises(UserError, match=r"hpc_ckpt_1\.ckpt; remove"):
        choose_folder(tmp_path, Leave(overwrite=True), None)


def test_several_configs_name_the_folder_together() -> None:
    assert default_run_folder(["fit", "-c", "configs/mae/demo.yaml"]) == Path("runs/mae/demo")
    both = ["fit", "-c", "configs/mae/demo.yaml", "--config=configs/unimodal/byol.yaml"]
    assert default_run_folder(both) == Path("runs/mae/demo+byol")


@pytest.mark.parametrize("name", ["config.yaml", "best.ckpt", "encoder.yaml", "metrics.json", "predictions_val.npz"])
def test_any_file_of_a_run_makes_a_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").touch()
    assert run_files(tmp_path) == []
    (tmp_path / name).touch()
    assert run_files(tmp_path) == [tmp_path / name]


def test_a_checkpoint_is_written_beside_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))  # nothing goes through the system's folder
    writer, path = WholeCheckpoints(), tmp_path / "last.ckpt"
    writer.save_checkpoint({"step": torch.tensor(1)}, path)
    seen: list[list[str]] = []

    def look(source: Path, target: Path) -> None:
        seen.append(sorted(os.listdir(tmp_path)))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", look)
    with pytest.raises(OSError, match="No space"):
        writer.save_checkpoint({"step": torch.tensor(2)}, path)
    assert len(seen[0]) == 2  # the old one stands beside the new one
    assert torch.load(path, weights_only=True)["step"] == 1
    assert os.listdir(tmp_path) == ["last.ckpt"]


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-100], lambda data: data[:900] + b"?" + data[901:]]
)
def test_a_damaged_last_checkpoint_is_told_and_replaced_by_the_best(
    config: Path, damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = config.with_suffix("")
    last = run / "last.ckpt"
    last.write_bytes(damage(last.read_bytes()))
    assert not is_whole(last)
    assert newest_whole(run) == run / "best.ckpt"
    assert main(["fit", "-c", str(config), "--ckpt_path=last", "--trainer.max_epochs=1"]) == 0
    assert "last.ckpt is damaged; going on from the older best.ckpt" in capsys.readouterr().err
    (run / "best.ckpt").unlink()
    last.write_bytes(b"")
    assert main(["fit", "-c", str(config), "--ckpt_path=last"]) == 2
    assert "no other checkpoint is whole; begin anew with --overwrite" in capsys.readouterr().err


def test_a_mark_left_behind_by_another_process_sends_no_run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, other = tmp_path / "asked", tmp_path / "other"
    for left in (str(other), f"1 {other}", f"{os.getpid()} {other}"):
        monkeypatch.setenv(LAUNCHED_FOR, left)
        assert choose_folder(asked, Leave(), None) == asked
    monkeypatch.setenv(LAUNCHED_FOR, f"{os.getppid()} {other}")
    assert choose_folder(asked, Leave(), None) == other
