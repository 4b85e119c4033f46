"""Every stage through the command line, as a user runs it: run folder, resume, hand-over, mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional, Union

import jsonargparse
import numpy as np
import pytest
import torch
from tiny_configs import ENCODER, write_alignment, write_downstream, write_mae

from ecgcmr.cli import main
from ecgcmr.encoders import load_encoder, read_encoder_card
from ecgcmr.shards import ShardIndex
from ecgcmr.stages import ECGMaskedAutoencoder
from ecgcmr.training.stage_arguments import keep_whole_numbers
from ecgcmr.training.stage_cli import StageCLI


@pytest.fixture
def mae_config(tmp_path: Path, cohort_root: Path) -> Path:
    return write_mae(tmp_path, cohort_root)


@pytest.fixture
def alignment_config(tmp_path: Path, cohort_root: Path) -> Path:
    return write_alignment(tmp_path, cohort_root)


@pytest.fixture(scope="module")
def mae(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Path:
    """Run folder of a masked autoencoder that was fitted as its config says; no test may change it."""
    config = write_mae(tmp_path_factory.mktemp("fitted"), cohort_root)
    assert main(["fit", "-c", str(config)]) == 0
    return config.with_suffix("")


def test_masked_autoencoder_leaves_a_whole_run_folder(mae: Path) -> None:
    for name in ("config.yaml", "last.ckpt", "best.ckpt", "encoder.safetensors", "encoder.yaml", "metrics.json"):
        assert (mae / name).is_file(), name
    assert list((mae / "tensorboard").glob("events*"))
    metrics = json.loads((mae / "metrics.json").read_text())["fit"]
    assert metrics["epochs"] == 2
    assert {"train/loss", "val/loss", "val/ncc", "val/mse", "val/probe_r2"} <= set(metrics)
    card = read_encoder_card(mae)
    assert card.class_path == ENCODER["class_path"]
    best = torch.load(mae / "best.ckpt", weights_only=True)["state_dict"]
    exported = load_encoder(mae).state_dict()
    assert all(torch.equal(exported[name], best[f"encoder.{name}"]) for name in exported)


def test_alignment_starts_from_the_exported_encoder_and_reports_retrieval(mae: Path, alignment_config: Path) -> None:
    # With a rate of zero the weights that come out are the ones that went in.
    frozen = ["--model.optimiser.lr=0", "--trainer.max_epochs=1", f"--model.ecg_encoder_weights={mae}"]
    assert main(["fit", "-c", str(alignment_config), *frozen]) == 0
    run = alignment_config.with_suffix("")
    before, after = load_encoder(mae).state_dict(), load_encoder(run).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert read_encoder_card(run).parent == "mae"
    assert load_encoder(run / "cmr_encoder").feature_dim == 16
    metrics = json.loads((run / "metrics.json").read_text())["fit"]
    assert 0 <= metrics["val/ecg_to_cmr_recall@5"] <= 1
    assert {"val/loss", "val/cmr_to_ecg_recall@1", "val/ecg_to_cmr_median_rank", "val/probe_r2"} <= set(metrics)


@pytest.mark.parametrize(
    ("stage", "labels", "score"),
    [("PhenotypeRegression", ["lv_edv", "lv_ef"], "r2"), ("DiagnosisClassification", ["cad_ever", "dm_ever"], "auroc")],
)
@pytest.mark.parametrize("protocol", ["finetune", "linear_probe"])
def test_downstream_trains_what_the_protocol_says_and_predicts_the_test_split(
    tmp_path: Path, cohort_root: Path, mae: Path, stage: str, labels: list[str], score: str, protocol: str
) -> None:
    config = write_downstream(tmp_path, cohort_root, stage, labels, encoder_weights=str(mae), protocol=protocol)
    assert main(["fit", "-c", str(config)]) == 0
    run = config.with_suffix("")
    before, after = load_encoder(mae).state_dict(), load_encoder(run).state_dict()
    unchanged = all(torch.equal(before[name], after[name]) for name in before)
    assert unchanged == (protocol == "linear_probe")
    for command in ("validate", "test", "predict"):
        assert main([command, "-c", str(config)]) == 0  # without --ckpt_path: best.ckpt of the run folder
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"test/{score}" in metrics["test"]
    callbacks = torch.load(run / "best.ckpt", weights_only=True)["callbacks"].values()
    monitored, best = next((state["monitor"], state["best_model_score"]) for state in callbacks if state["monitor"])
    assert metrics["validate"][monitored] == pytest.approx(float(best), abs=1e-5)
    index = ShardIndex.load(cohort_root)
    with np.load(run / "predictions.npz", allow_pickle=False) as stored:
        assert stored["row"].tolist() == index.positions("test", ("ecg",)).tolist()
        assert stored["prediction"].shape == (len(stored["row"]), 2)
        assert [name.decode() for name in stored["label"]] == labels
        assert [name.decode() for name in stored["subject"]] == list(index.subjects(stored["row"]))
        if score == "auroc":
            assert stored["prediction"].min() >= 0
            assert stored["prediction"].max() <= 1


def test_resuming_goes_on_where_the_run_stopped(mae: Path, mae_config: Path) -> None:
    # The schedule must not shrink with the cut, so the first part is cut by steps and not by epochs.
    steps = torch.load(mae / "last.ckpt", weights_only=True)["global_step"]
    part = mae_config.with_name("part")
    flat = ["--model.optimiser.schedule=constant", "--model.optimiser.lr=1e-3"]
    cut = [f"--trainer.default_root_dir={part}", f"--trainer.max_steps={steps // 2}"]
    assert main(["fit", "-c", str(mae_config), *cut, *flat]) == 0
    assert torch.load(part / "last.ckpt", weights_only=True)["global_step"] == steps // 2
    rest = [f"--trainer.default_root_dir={part}", "--ckpt_path=last"]
    assert main(["fit", "-c", str(mae_config), *rest, *flat]) == 0
    assert torch.load(part / "last.ckpt", weights_only=True)["global_step"] == steps


@pytest.mark.usefixtures("interrupt_restored")
def test_an_interrupted_fit_says_how_to_go_on(
    mae_config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: ECGMaskedAutoencoder) -> None:
        if self.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ECGMaskedAutoencoder, "on_train_epoch_start", interrupted)
        assert main(["fit", "-c", str(mae_config)]) == 130
    assert "--ckpt_path last" in capsys.readouterr().err
    run = mae_config.with_suffix("")
    assert not (run / "encoder.safetensors").exists()
    assert main(["fit", "-c", str(mae_config), "--ckpt_path", "last"]) == 0
    assert json.loads((run / "metrics.json").read_text())["fit"]["epochs"] == 2


def test_a_checkpoint_of_another_stage_is_refused(
    mae: Path, alignment_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = mae / "last.ckpt"
    assert main(["fit", "-c", str(alignment_config), f"--ckpt_path={checkpoint}"]) == 2
    error = capsys.readouterr().err
    assert "ECGMaskedAutoencoder" in error
    assert "encoder_weights" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data.root=nowhere"], ["nowhere", "no such folder"]),
        (["--model.mask_ration=0.5"], ["mask_ration"]),
        (["--model.mask_ratio=high"], ["mask_ratio"]),
        (["--model.encoder.width=33"], ["33", "heads"]),
        (["--trainer.max_epoxs=3"], ["max_epoxs", "did you mean --trainer.max_epochs?"]),
        (
            ["--trainer.default_root=else"],
            ["unrecognized", "did you mean --trainer.default_root_dir?"],
        ),  # no short forms
        (["--ckpt=last"], ["unrecognized arguments: --ckpt=last"]),
        (["mae/demo"], ["mae/demo: a config is named by -c mae/demo"]),
        (["--data.labels=[lv_edw]"], ["lv_edw", "lv_edv"]),
        (["--data.samples=9000"], ["9000", "5000"]),
        (["--data.samples=2000"], ["model.encoder", "samples 1000", "samples 2000", "data.samples"]),
        (["--model.encoder_weights=nowhere"], ["encoder_weights", "nowhere"]),
        (["--ckpt_path=nowhere.ckpt"], ["ckpt_path", "nowhere.ckpt"]),
        (["--model.encoder.class_path=ecgcmr.encoders.Nothing"], ["Nothing"]),
    ],
)
def test_mistakes_are_told_in_one_line(
    mae_config: Path, arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "-c", str(mae_config), *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]


def test_a_config_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "-c", "configs/mae/nothing.yaml"]) == 2
    assert "nothing.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["1", "1.0", "0.5", "null", "12"])
def test_counts_and_shares_are_told_apart_whatever_order_a_union_has(given: str) -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--batches", type=Optional[Union[float, int]])  # noqa: UP007, UP045 - the kind that is shared
    parser.add_argument("--every", type=Union[float, str, int])  # noqa: UP007
    parser.add_argument("--name", type=str)
    keep_whole_numbers(parser)
    found = parser.parse_args([f"--batches={given}", f"--every={given}", "--name=1"])
    expected = json.loads(given)
    assert repr(found.batches) == repr(expected)
    assert repr(found.every) == repr("null" if expected is None else expected)
    assert found.name == "1"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("limit_train_batches", 1), ("limit_val_batches", 0.5), ("val_check_interval", 3), ("overfit_batches", 2)],
)
def test_the_trainers_counts_stay_whole_numbers(mae_config: Path, setting: str, value: Any) -> None:
    parser = jsonargparse.capture_parser(StageCLI, ["fit"])
    found = parser.parse_args(["fit", "-c", str(mae_config), f"--trainer.{setting}={value}"]).fit.trainer[setting]
    assert repr(found) == repr(value)


def test_an_error_of_a_class_of_ones_own_ends_with_its_line(
    tmp_path: Path, cohort_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looks_up.py").write_text(
        "from lightning.pytorch import Callback\n\n\nclass LooksUp(Callback):\n"
        "    def on_fit_start(self, trainer, pl_module):\n        {}['val/nothing']\n"
    )
    config = write_mae(tmp_path, cohort_root)
    assert main(["fit", "-c", str(config), "--trainer.callbacks", "looks_up.LooksUp"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "error: looks_up.py, line 6: KeyError: 'val/nothing'"
    assert "Traceback (most recent call last):" in lines  # for who is to mend it
