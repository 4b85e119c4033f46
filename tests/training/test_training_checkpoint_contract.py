"""A checkpoint knows what it was trained for: another target, order, unit, lead, rate or preparation never passes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import labelled_cohort
import numpy as np
import pytest
import torch
import yaml
from labelled_cohort import LABELS, write_cohort, write_stage

from ecgcmr.cli import main
from ecgcmr.encoders import read_encoder_card
from ecgcmr.errors import UserError
from ecgcmr.shards import Label
from ecgcmr.stages.run_contract import Column, RunContract
from ecgcmr.training.checkpoint_record import read_checkpoint_record

HAZARDS = ["--model.objective=ecgcmr.objectives.DiscreteTimeHazards", "--model.objective.intervals=3"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"))


def _fitted(factory: pytest.TempPathFactory, root: Path, stage: str, *more: str, **data: Any) -> Path:
    config = write_stage(factory.mktemp(stage), root, stage, **data)
    assert main(["fit", "-c", str(config), *more]) == 0
    return config


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """Config of a fitted regression of two phenotypes beside age; its run folder lies beside it."""
    data = {"labels": ["lv_edv", "lv_ef"], "covariates": ["age"]}
    return _fitted(tmp_path_factory, root, "PhenotypeRegression", **data)


@pytest.fixture(scope="module")
def classification(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    return _fitted(tmp_path_factory, root, "DiagnosisClassification", labels=["af_ever"])


@pytest.fixture(scope="module")
def survival(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """Discrete hazards, whose buffers have the sizes of the training rows."""
    return _fitted(tmp_path_factory, root, "TimeToEvent", *HAZARDS, diseases=["cad"])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must end with exit code 2 and one line; return the line."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize("command", ["validate", "test", "predict", "fit"])
def test_every_command_refuses_another_order_of_targets(
    regression: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    resume = ["--ckpt_path=last"] if command == "fit" else []
    line = refused(capsys, command, "-c", str(regression), *resume, "--data.labels=[lv_ef, lv_edv]")
    assert "(the same in another order); give data.labels [lv_edv, lv_ef]" in line
    assert str(regression.with_suffix("")) in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--data.labels=[lv_edv]"], "trained for targets [lv_edv (mL), lv_ef (%)], the config asks for [lv_edv (mL)]"),
        (["--data.covariates=null"], "covariates [age (years)], the config asks for []; give data.covariates [age]"),
        (["--data.leads=[II, I, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6]"], "leads [I, II, III"),
    ],
)
def test_what_the_config_asks_for_is_what_the_checkpoint_was_trained_for(
    regression: Path, changes: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "leads" in changes[0]:
        changes = [*changes, "--model.encoder.lead_rows=[1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]"]
    assert words in refused(capsys, "predict", "-c", str(regression), *changes)


def test_no_task_is_judged_on_the_target_of_another(
    classification: Path, survival: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "test", "-c", str(classification), "--data.labels=[dm_ever]")
    assert "targets [af_ever (disease)], the config asks for [dm_ever (disease)]" in line
    line = refused(capsys, "predict", "-c", str(survival), *HAZARDS, "--data.diseases=[af]")
    assert "the config asks for [af_incident (disease)]; give data.diseases [cad]" in line


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (replace(LABELS[0], unit="L"), "lv_edv phenotype in mL], this cohort has [lv_edv phenotype in L]"),
        (replace(LABELS[0], kind="measurement"), "this cohort has [lv_edv measurement in mL]"),
        (replace(LABELS[2], unit="months"), "covariates [age covariate in years], this cohort has [age covariate in m"),
    ],
)
def test_a_label_of_another_unit_or_kind_is_another_label(
    regression: Path, tmp_path: Path, label: Label, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [label if label.name == known.name else known for known in LABELS]
    other = write_cohort(tmp_path / "other", labels=labels)
    assert words in refused(capsys, "test", "-c", str(regression), f"--data.root={other}")


def test_recordings_of_another_preparation_rate_or_order_of_leads(
    regression: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def judged(other: Path, *more: str) -> str:
        return refused(capsys, "predict", "-c", str(regression), f"--data.root={other}", *more)

    slower = write_cohort(tmp_path / "rate", sampling_rate=250.0)
    line = judged(slower, "--model.encoder.sampling_rate=250", "--accept_other_preparation=true")
    assert "sampling rate (Hz) 500, the data give 250" in line
    turned = write_cohort(tmp_path / "leads", leads=tuple(reversed(labelled_cohort.ECGLayout().leads)))
    assert "leads [I, II, III" in judged(turned, "--accept_other_preparation=true")
    uncleaned = write_cohort(tmp_path / "none", cleaning="none")
    line = judged(uncleaned)
    assert "another preparation: unit z-score -> mV; cleaning fill, clip, als, zscore -> fill; prepare" in line
    accepted = [f"--data.root={uncleaned}", "--accept_other_preparation=true"]
    assert main(["predict", "-c", str(regression), *accepted]) == 0
    assert "accepted by --accept_other_preparation" in capsys.readouterr().err


def test_predictions_say_what_their_columns_and_rows_are(regression: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["predict", "-c", str(regression), "--data.predict_split=val"]) == 0
    path = regression.with_suffix("") / "predictions.npz"
    with np.load(path, allow_pickle=False) as stored:
        assert stored["split"].item() == b"val"
    files = f"{path} and {path.with_suffix('.parquet')}"
    assert f"6 rows of the val split predicted, in {files}" in caplog.messages
    assert main(["predict", "-c", str(regression)]) == 0
    with np.load(regression.with_suffix("") / "predictions.npz", allow_pickle=False) as stored:
        assert stored["split"].item() == b"test"
        words = {name: [word.decode() for word in stored[name]] for name in ("label", "kind", "unit")}
        contract = RunContract.from_dict(json.loads(stored["contract"].tobytes()))
    assert words == {"label": ["lv_edv", "lv_ef"], "kind": ["phenotype"] * 2, "unit": ["mL", "%"]}
    assert contract.targets == (Column("lv_edv", "phenotype", "mL"), Column("lv_ef", "phenotype", "%"))
    assert (contract.task, contract.samples, contract.leads[:2]) == ("regression", 100, ("I", "II"))
    training = read_encoder_card(regression.with_suffix("")).training
    assert training is not None
    assert [column["name"] for column in training["targets"]] == ["lv_edv", "lv_ef"]
    assert [column["name"] for column in training["covariates"]] == ["age"]


@pytest.mark.parametrize("stage", ["regression", "survival"])
def test_another_cohort_is_judged_by_the_scale_of_the_training_rows(
    stage: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Also one without a training row, whose values are a hundred times as large."""
    config: Path = request.getfixturevalue(stage)
    more = HAZARDS if stage == "survival" else []
    outside = write_cohort(tmp_path / "outside", splits=["test"] * 6, scale=100.0)
    predictions = []
    for number, data in enumerate([[], [f"--data.root={outside}"]]):
        folder = tmp_path / str(number)
        place = [f"--trainer.default_root_dir={folder}", f"--ckpt_path={config.with_suffix('') / 'best.ckpt'}"]
        # Covariates are values of the cohort, and theirs are others.
        assert main(["predict", "-c", str(config), *more, *place, *data]) == 0
        with np.load(folder / "predictions.npz") as stored:
            predictions.append(stored["prediction"])
    best = torch.load(config.with_suffix("") / "best.ckpt", weights_only=True)["state_dict"]
    assert np.isfinite(predictions[1]).all()
    if stage == "survival":
        assert np.array_equal(predictions[0], predictions[1])
    else:
        near = np.abs(predictions[1] - best["label_mean"].numpy()) / best["label_std"].numpy()
        assert near.max() < 50  # by the cohort's own scale it would be a hundred times the training mean


def test_a_checkpoint_that_does_not_say_it_is_named(
    regression: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(regression.with_suffix("") / "last.ckpt", weights_only=True)
    assert set(content["ecgcmr_run"]) == {"contract", "settings", "changes"}
    assert "cohort" not in json.dumps(content["ecgcmr_run"]).replace("the cohort's content", "")  # no path
    del content["ecgcmr_run"]
    torch.save(content, tmp_path / "old.ckpt")
    old = f"--ckpt_path={tmp_path / 'old.ckpt'}"
    assert main(["test", "-c", str(regression), old]) == 0
    warning = capsys.readouterr().err
    assert "old.ckpt does not say what it was trained for" in warning
    assert "taken for lv_edv (mL), lv_ef (%), in this order" in warning
    line = refused(capsys, "test", "-c", str(regression), old, "--data.labels=[lv_edv]")
    assert "does not fit the model of the config: label_mean is (2,) in the checkpoint, (1,) in the model" in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": torch.zeros(2)}, "is no checkpoint of a run: it holds a; name best.ckpt"),
        (torch.zeros(2), "it holds a Tensor"),
        ({"state_dict": {"a": torch.zeros(2)}}, "holds weights, and nothing of the run that made them"),
        (None, "is a folder; name the checkpoint in it"),
        ("safetensors", "holds the weights of an encoder alone"),
        ("text", "not a checkpoint of torch.save, or damaged"),
    ],
)
def test_what_is_no_checkpoint_is_told_apart(regression: Path, tmp_path: Path, content: Any, words: str) -> None:
    file = {"safetensors": regression.with_suffix("") / "encoder.safetensors", "text": regression}.get(
        content if isinstance(content, str) else "", tmp_path / "file.pt"
    )
    if content is None:
        file = tmp_path
    elif not isinstance(content, str):
        torch.save(content, file)
    with pytest.raises(UserError) as caught:
        read_checkpoint_record(file)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_contract_survives_as_plain_values() -> None:
    contract = RunContract(
        "regression",
        targets=(Column("lv_edv", "phenotype", "mL"),),
        inputs=("ecg", "cmr"),
        leads=("I", "II"),
        image=(3, 48, 48),
        preparation={"ecg": {"cleaning": {"steps": [{"fill": {}}]}}},
    )
    again = RunContract.from_dict(yaml.safe_load(yaml.safe_dump(contract.to_dict())))
    assert again == contract
    assert again.differences(contract) == []
    assert contract.compare_preparation(again).differences == ()
    for change, told in (
        ({"task": "classification"}, "task regression, the config asks for classification"),
        ({"inputs": ("ecg",)}, "input [ecg, cmr], the data give [ecg]"),
        ({"leads": ("II", "I")}, "leads [I, II], the data give [II, I]"),
        ({"image": (3, 64, 64)}, "frames, rows and columns [3, 48, 48], the data give [3, 64, 64]"),
        ({"samples": 2500}, "samples 0, the data give 2500"),
    ):
        assert contract.differences(replace(contract, **change)) == [told]  # type: ignore[arg-type]
    assert contract.differences(replace(contract, evaluation_windows=4)) == []  # a choice of each run
    marked = replace(contract, leave_out_leads=("noisy",))
    assert contract.compare_preparation(marked).differences == ("leave_out_leads [] -> [noisy]",)
    assert contract.compare_preparation(replace(contract, preparation={})).unknown == ("ECG cleaning",)
    for damaged in (None, [], {}, {**contract.to_dict(), "targets": [1]}, {**contract.to_dict(), "more": 1}):
        with pytest.raises(ValueError, match="not what a run was trained for"):
            RunContract.from_dict(damaged)


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_no_checkpoint_is_judged_in_a_network_that_computes_something_else(
    regression: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Attention heads leave no trace in the shapes of weights."""
    line = refused(capsys, command, "-c", str(regression), "--model.encoder.heads=4")
    assert "was trained with another network (model.encoder.heads 2 -> 4)" in line


def test_no_encoder_goes_on_in_a_network_that_computes_something_else(
    regression: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = regression.with_suffix("")
    start = ["fit", "-c", str(regression), f"--model.encoder_weights={weights}", "--new_folder"]
    line = refused(capsys, *start, "--model.encoder.heads=4")
    assert f"{weights / 'encoder.yaml'} is of another network (encoder.heads 2 -> 4)" in line
    assert main([*start, "--model.encoder.drop_path=0.1"]) == 0


def test_evaluation_by_other_settings_says_so(tmp_path: Path, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = write_stage(tmp_path, root, "ECGMaskedAutoencoder", data="ECGDataModule")
    assert main(["fit", "-c", str(config)]) == 0
    assert main(["validate", "-c", str(config), "--model.mask_ratio=0.3", "--model.optimiser.lr=1"]) == 0
    [note] = [line for line in caplog.messages if "judged with other settings" in line]
    assert note.endswith("than it was trained with: model.mask_ratio 0.8 -> 0.3")


def test_a_run_that_goes_on_says_which_results_are_older(
    tmp_path: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = write_stage(tmp_path, root, "PhenotypeRegression", labels=["lv_edv"])
    assert [main([command, "-c", str(config)]) for command in ("fit", "test", "predict")] == [0, 0, 0]
    assert not any("holds results of the run" in line for line in caplog.messages)
    resume = ["--ckpt_path=last", "--trainer.max_epochs=2", "--resume-with-changes"]
    assert main(["fit", "-c", str(config), *resume]) == 0
    [note] = [line for line in caplog.messages if "holds results of the run as it was before" in line]
    assert "(predictions.npz, predictions.parquet, test in metrics.json)" in note


def test_time_to_an_event_is_no_number_to_regress(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Most of its values are when somebody was last seen."""
    config = write_stage(tmp_path, root, "PhenotypeRegression", labels=["cad_years", "lv_edv"])
    line = refused(capsys, "fit", "-c", str(config))
    assert "data.labels: cad_years: time to an event or to the end of follow-up" in line
    assert main(["fit", "-c", str(config), "--data.labels=[af_ever]", "--trainer.limit_train_batches=1"]) == 0
    assert any(message.startswith("note: af_ever: 0 or 1, regressed as a number here") for message in caplog.messages)
