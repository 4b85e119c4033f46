"""A run's own ``config.yaml`` as a config, a user's class in the current folder, and a bar that keeps to its line."""

from __future__ import annotations

import json
import shutil
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from rich.console import Console
from rich.progress import Progress
from tiny_configs import write_downstream

from ecgcmr.cli import main
from ecgcmr.training.run_bar import RunBar
from ecgcmr.training.run_claim import run_of_config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Path:
    """Folder of a fitted regression; no test may change it."""
    config = write_downstream(tmp_path_factory.mktemp("own"), cohort_root, "PhenotypeRegression", ["lv_edv"])
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1"]) == 0
    return config.with_suffix("")


@pytest.mark.long
def test_a_run_folder_that_was_moved_is_judged_where_it_lies(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    before = (run / "metrics.json").read_bytes()
    monkeypatch.chdir(tmp_path)
    assert main(["test", "-c", "moved/config.yaml"]) == 0
    assert main(["predict", "-c", "moved/config.yaml"]) == 0
    assert "test/r2" in json.loads((moved / "metrics.json").read_text())["test"]
    assert (moved / "predictions.parquet").is_file()
    assert (run / "metrics.json").read_bytes() == before
    assert not (run / "predictions.npz").exists()


@pytest.mark.long
def test_a_fit_by_a_runs_own_config_replaces_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    own = ["fit", "-c", str(copied / "config.yaml")]
    assert main(own) == 2
    assert "holds a run" in capsys.readouterr().err
    assert main([*own, "--new_folder"]) == 0
    assert main([*own, f"--trainer.default_root_dir={tmp_path / 'named'}"]) == 0
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()} == before
    for name in ("run-2", "named"):
        assert (tmp_path / name / "encoder.safetensors").read_bytes() == (run / "encoder.safetensors").read_bytes()


def test_what_a_fit_went_on_from_is_no_setting_of_other_commands(run: Path, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    more = ["--ckpt_path=last", "--trainer.max_epochs=2", "--resume-with-changes"]
    assert main(["fit", "-c", str(copied / "config.yaml"), *more]) == 0
    written = yaml.safe_load((copied / "config.yaml").read_text())
    assert written["ckpt_path"] is None
    assert written["trainer"]["max_epochs"] == 2


def test_a_config_of_that_name_without_a_run_is_a_config_as_any_other(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "config.yaml"
    alone.touch()
    own = str(run / "config.yaml")
    assert run_of_config(["test", "-c", own]) == run
    assert run_of_config(["test", f"--config={own}"]) == run
    assert run_of_config(["test", "-c", str(alone)]) is None
    assert run_of_config(["test", "-c", own, "--trainer.default_root_dir", "other"]) is None
    assert run_of_config(["test", "-c", own, "-c", "other.yaml"]) is None


def test_a_class_in_the_current_folder_is_found(
    cohort_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stage_of_mine.py").write_text(
        "from ecgcmr.stages import PhenotypeRegression\n\n\nclass Mine(PhenotypeRegression):\n    pass\n"
    )
    config = write_downstream(tmp_path, cohort_root, "PhenotypeRegression", ["lv_edv"])
    config.write_text(config.read_text().replace("ecgcmr.stages.PhenotypeRegression", "stage_of_mine.Mine"))
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])  # as the console script has it
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1"]) == 0
    card = yaml.safe_load((config.with_suffix("") / "config.yaml").read_text())
    assert card["model"]["class_path"] == "stage_of_mine.Mine"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_bar_keeps_to_one_line(width: int) -> None:
    bar = RunBar()
    bar.numbers = {"loss": "0.1234", "lr": "1.234e-05", "gradient": "0.5678", "samples/s": "1234", "val/loss": "0.1"}
    bar.train_progress_bar_id = 0
    console = Console(width=width, file=StringIO(), force_terminal=False)
    progress = Progress(*bar.configure_columns(None), console=console)
    progress.add_task("Epoch 1/10", total=100, completed=40)
    console.print(progress.get_renderable())
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 1
    assert "40/100" in lines[0]
    assert ("val/loss 0.1" in lines[0]) == (width == 200)
    assert lines[0].rstrip().endswith("…") == (width < 200)


@pytest.mark.parametrize(("epochs", "shown"), [(10, "Epoch 3/9"), (-1, "Epoch 3"), (None, "Epoch 3")])
def test_the_bar_names_a_last_epoch_where_there_is_one_alone(epochs: int | None, shown: str) -> None:
    bar = RunBar()
    bar._trainer = SimpleNamespace(max_epochs=epochs, sanity_checking=False)
    assert bar._get_train_description(3).strip() == shown
