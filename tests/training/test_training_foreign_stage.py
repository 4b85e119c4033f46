"""A stage and a DataModule of a user's own: by their contracts alone they go through a run; what lacks is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from in_memory import RecordingsInMemory
from labelled_cohort import write_cohort
from one_label import OneLabel
from small_encoder import SmallConvEncoder
from tiny_configs import TRAINER
from torch.utils.data import DataLoader

from data_modules import ECGDataModule, LabelledDataModule, PairedDataModule
from ecgcmr.cli import main
from ecgcmr.contracts import lacking, members
from ecgcmr.encoders import Encoder, load_encoder, read_encoder_card
from ecgcmr.stages import (
    DiagnosisClassification,
    ECGCMRAlignment,
    ECGMaskedAutoencoder,
    PhenotypeRegression,
    TimeToEvent,
    UnimodalContrast,
)
from ecgcmr.stages.protocol import CovariateData, CroppedData, FollowUpData, LabelledData, Stage, StageData


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("foreign") / "cohort")


def _config(folder: Path, root: Path, stage: str = "OneLabel", data: str = "RecordingsInMemory") -> Path:
    trainer = {**TRAINER, "max_epochs": 1, "logger": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    network = {"class_path": "small_encoder.SmallConvEncoder", "init_args": {"samples": 100, "width": 3}}
    content = {
        "model": {"class_path": f"one_label.{stage}", "init_args": {"network": network}},
        "data": {"class_path": f"in_memory.{data}", "init_args": {"root": str(root), "label": "lv_edv"}},
        "trainer": trainer | {"default_root_dir": str(folder / "run")},
    }
    path = folder / "foreign.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_foreign_stage_is_fitted_resumed_judged_and_predicts(root: Path, tmp_path: Path) -> None:
    config, run = ["-c", str(_config(tmp_path, root))], tmp_path / "run"
    assert main(["fit", *config]) == 0
    further = ["--ckpt_path=last", "--trainer.max_epochs=2", "--resume-with-changes"]
    assert main(["fit", *config, *further]) == 0
    assert main(["test", *config]) == 0
    assert main(["predict", *config]) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["fit"]["epochs"] == 2
    assert metrics["test"]["test/error"] > 0
    card = read_encoder_card(run)
    assert card.class_path == "small_encoder.SmallConvEncoder"
    assert card.training is not None
    assert card.training["targets"] == [{"name": "lv_edv", "kind": "phenotype", "unit": "mL"}]
    assert isinstance(load_encoder(run, trusted=["small_encoder"]), SmallConvEncoder)
    with np.load(run / "predictions.npz") as predictions:
        assert predictions["row"].tolist() == list(range(26, 32))
        assert predictions["label"].tolist() == [b"lv_edv"]
        assert np.isfinite(predictions["prediction"]).all()


def _refused(root: Path, folder: Path, capsys: pytest.CaptureFixture[str], command: str = "fit", *more: str) -> str:
    """Run a command that must be refused in one line, and return the line."""
    capsys.readouterr()
    assert main([command, "-c", str(_config(folder, root)), *more]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert "Traceback" not in "".join(lines)
    return lines[-1].removeprefix("error: ")


@pytest.mark.parametrize(
    ("kind", "changes", "line"),
    [
        (
            OneLabel,
            {"monitor": None},
            "OneLabel is not a stage: it lacks monitor (name of",
        ),
        (OneLabel, {"mode": None, "exports": None}, "lacks mode (min or max, whichever of the monitored"),
        (OneLabel, {"mode": "best"}, "OneLabel: mode is 'best'; it must be min or max"),
        (
            OneLabel,
            {"exports": {"encoder": "body"}},
            "exports names body, which is no module of the stage",
        ),
        (OneLabel, {"exports": {"encoder": "head"}}, "Linear is not an encoder: it lacks input_spec"),
        (OneLabel, {"validation_step": None}, "OneLabel has no validation_step, which fit calls"),
        (
            RecordingsInMemory,
            {"global_batch": None},
            "RecordingsInMemory is not a DataModule for a stage",
        ),
        (RecordingsInMemory, {"rows": None}, "it lacks rows (return the positions in the index (k,)"),
        (RecordingsInMemory, {"leave_out_leads": ["flat"]}, "leave_out_leads: OneLabel does not leave"),
        (RecordingsInMemory, {"evaluation_windows": 2}, "evaluation_windows 2: OneLabel takes one window"),
    ],
)
def test_what_lacks_a_member_is_refused_before_anything_is_read(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: type,
    changes: dict[str, Any],
    line: str,
) -> None:
    def read(self: object) -> None:
        raise AssertionError("the cohort was read")

    monkeypatch.setattr(RecordingsInMemory, "index", property(read))
    for name, value in changes.items():
        if value is None:
            monkeypatch.delattr(kind, name)
        else:
            monkeypatch.setattr(kind, name, value)
    assert line in _refused(root, tmp_path, capsys)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_an_encoder_that_the_config_does_not_describe_is_no_export(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = OneLabel.__init__

    def with_another(self: OneLabel, network: torch.nn.Module, rate: float = 0.01) -> None:
        made(self, network, rate)
        self.another = SmallConvEncoder()

    monkeypatch.setattr(OneLabel, "__init__", with_another)
    monkeypatch.setattr(OneLabel, "exports", {"encoder": "another"})
    assert "model.another gives no class_path" in _refused(root, tmp_path, capsys)


def test_what_only_a_batch_or_a_validation_shows_is_refused_there(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(OneLabel, "monitor", "val/eror")
        assert "monitor 'val/eror' is not logged; there are val/error" in _refused(root, tmp_path, capsys)
    with monkeypatch.context() as patch:
        made = RecordingsInMemory._loader

        def without_rows(self: RecordingsInMemory, split: str, shuffle: bool = False) -> DataLoader:
            return DataLoader([{"ecg": batch["ecg"]} for batch in made(self, split, shuffle)], batch_size=None)

        patch.setattr(RecordingsInMemory, "_loader", without_rows)
        line = _refused(root, tmp_path, capsys, "fit", "--overwrite")
        assert line.startswith("the batches of RecordingsInMemory lack row, labels")
    with monkeypatch.context() as patch:
        patch.setattr(OneLabel, "predict_step", lambda self, batch, batch_idx: self(batch))
        assert main(["fit", "-c", str(_config(tmp_path, root)), "--overwrite"]) == 0
        line = _refused(root, tmp_path, capsys, "predict")
        assert line.startswith("predict_step of OneLabel returns a Tensor without row, valid, prediction, finite")
    monkeypatch.delattr(OneLabel, "predict_step")
    assert "OneLabel has no predict_step, which predict calls" in _refused(root, tmp_path, capsys, "predict")


def test_what_a_contract_asks_for_is_read_off_it() -> None:
    assert list(members(Stage)) == ["task", "monitor", "mode", "exports", "takes_lead_mask", "takes_windows"]
    assert all(members(Stage).values())
    assert all(members(StageData).values())
    shipped = (ECGMaskedAutoencoder, ECGCMRAlignment, UnimodalContrast, PhenotypeRegression, DiagnosisClassification)
    assert [lacking(kind, Stage) for kind in (*shipped, TimeToEvent, OneLabel)] == [[]] * 7
    for kind in (ECGDataModule, PairedDataModule):
        assert lacking(kind("nowhere"), StageData) == []
    assert lacking(LabelledDataModule("nowhere", ["lv_edv"]), LabelledData) == []
    assert lacking(object(), Encoder)[0] == "input_spec"


def test_the_page_names_every_member() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "extending.md").read_text()
    contracts = (Stage, StageData, LabelledData, CovariateData, FollowUpData, CroppedData)
    assert [name for contract in contracts for name in members(contract) if f"`{name}" not in page] == []
