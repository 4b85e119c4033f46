"""Downstream tasks in this process: what is trained, what goes in, what is missing, what comes out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from tiny_configs import CMR_ENCODER, ENCODER, write_config
from torch import Tensor

from data_modules import LabelledDataModule, labelled
from ecgcmr.cli import main
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer
from ecgcmr.encoders.readout import CovariateInputs
from ecgcmr.errors import UserError
from ecgcmr.objectives import CoxPartialLikelihood, DiscreteTimeHazards
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.stages import DiagnosisClassification, OptimiserSettings, PhenotypeRegression, TimeToEvent, downstream
from ecgcmr.training import ToleranceEarlyStopping

FAST = OptimiserSettings(lr=0.01, weight_decay=0.0)


def ecg_encoder(**options: Any) -> ECGVisionTransformer:
    return ECGVisionTransformer(**{**ENCODER["init_args"], **options})


def labelled_data(root: Path, labels: list[str] | None = None, **options: Any) -> LabelledDataModule:
    return LabelledDataModule(root, labels, batch_size=16, samples=1000, **options)


def fit(stage: Any, data: LabelledDataModule, **options: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        **{"accelerator": "cpu", "max_epochs": 1, "num_sanity_val_steps": 0, "use_distributed_sampler": False}
        | quiet
        | {"enable_model_summary": False}
        | options
    )
    trainer.fit(stage, datamodule=data)
    return trainer


def predicted(trainer: Trainer, stage: Any, data: LabelledDataModule) -> Tensor:
    parts: Any = trainer.predict(stage, datamodule=data)
    return torch.cat([part["prediction"][part["valid"]] for part in parts])


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(labelled, "rank_zero_info", said.append)
    monkeypatch.setattr(downstream, "rank_zero_info", said.append)
    return said


def test_attention_probe_trains_pooling_and_head_alone(cohort_root: Path) -> None:
    encoder = ecg_encoder(patch_size=(1, 100))
    stage = PhenotypeRegression(encoder, protocol="attention_probe", attention_heads=2, optimiser=FAST)
    before = {name: value.clone() for name, value in stage.state_dict().items()}
    assert stage.readout is not None
    fit(stage, labelled_data(cohort_root, ["lv_edv", "lv_mass"]))
    after = stage.state_dict()
    frozen = [name for name in before if name.startswith("encoder.")]
    trained = [name for name, _ in stage.readout.named_parameters()]
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert all(not torch.equal(before[f"readout.{name}"], after[f"readout.{name}"]) for name in trained)
    assert not stage.encoder.training
    # A lead that is left out has no influence.
    ecg = torch.randn(3, 12, 1000)
    batch = {"ecg": ecg, "lead_mask": torch.ones(3, 12, dtype=torch.bool)}
    batch["lead_mask"][:, 5] = False
    other = ecg.clone()
    other[:, 5] = 7.0
    stage.eval()
    torch.testing.assert_close(stage._output(batch), stage._output({**batch, "ecg": other}))
    assert not torch.allclose(stage(ecg), stage(other))


@pytest.mark.parametrize("protocol", ["linear_probe", "attention_probe"])
def test_a_frozen_encoder_keeps_the_statistics_of_its_batch_norms(cohort_root: Path, protocol: str) -> None:
    encoder = CMRResNet(**CMR_ENCODER["init_args"])
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    fit(PhenotypeRegression(encoder, protocol=protocol), labelled_data(cohort_root, ["lv_edv"], input="cmr"))
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_attention_heads_must_divide_the_width() -> None:
    with pytest.raises(UserError, match="attention_heads is 5; it must divide the encoder's token width 32"):
        PhenotypeRegression(ecg_encoder(), protocol="attention_probe", attention_heads=5)


def test_cmr_alone_sees_the_subjects_of_the_ecg(cohort_root: Path) -> None:
    data = labelled_data(cohort_root, ["lv_edv"], input="cmr", paired=True)
    trainer = fit(PhenotypeRegression(CMRResNet(**CMR_ENCODER["init_args"]), optimiser=FAST), data)
    assert math.isfinite(trainer.callback_metrics["val/loss"])
    both = ShardIndex.load(cohort_root).positions("test", ("ecg", "cmr")).tolist()
    assert data.rows("test").tolist() == both
    ecg = labelled_data(cohort_root, ["lv_edv"], paired=True)
    assert ecg.rows("train").tolist() == data.rows("train").tolist()
    with pytest.raises(UserError, match="model.encoder takes CMR: set data.input to cmr"):
        fit(PhenotypeRegression(CMRResNet(**CMR_ENCODER["init_args"])), ecg)


def test_covariates_are_standardised_and_missing_ones_marked() -> None:
    inputs = CovariateInputs(torch.tensor([60.0, 0.5]), torch.tensor([8.0, 0.5]))
    got = inputs(torch.tensor([[68.0, 1.0], [math.nan, 0.0]]))
    assert got.tolist() == [[1.0, 1.0, 0.0, 0.0], [0.0, -1.0, 1.0, 0.0]]
    assert inputs.width == 4


def test_covariates_reach_the_head(cohort_root: Path) -> None:
    """Of LV mass body weight and sex say much, the features of a random encoder next to nothing."""
    data = labelled_data(cohort_root, ["lv_mass"], covariates=["age", "weight", "sex"])
    stage = PhenotypeRegression(ecg_encoder(), protocol="linear_probe", optimiser=OptimiserSettings(lr=0.05))
    trainer = fit(stage, data, max_epochs=30)
    assert trainer.callback_metrics["val/pearson"] > 0.4
    assert stage.covariates is not None
    values = read_labels(data.index, ["age", "weight", "sex"], data.rows("train")).astype(np.float64)
    np.testing.assert_allclose(stage.covariates.mean, values.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(stage.covariates.deviation, values.std(axis=0), rtol=1e-5)
    ecg = torch.randn(2, 12, 1000)
    stage.eval()
    light, heavy = (stage(ecg, torch.tensor([[60.0, kg, 0.0]]).expand(2, 3)) for kg in (50.0, 100.0))
    assert (heavy > light).all()
    assert torch.isfinite(stage(ecg, torch.full((2, 3), math.nan))).all()
    with pytest.raises(ValueError, match="trained with covariates"):
        stage(ecg)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["age", "lv_edv"], {"covariates": ["sex", "age"]}, "covariates: age is a target too"),
        (["bmi"], {"covariates": ["height", "weight"]}, "height and weight give the target bmi"),
        (["lv_edv"], {"covariates": ["lv_esv"]}, "lv_esv is a phenotype; the cohort's covariates are age, sex"),
        (["lv_edv"], {"covariates": ["aeg"]}, "label 'aeg' is not in the index"),
        (["lv_edv"], {"covariates": ["age", "age"]}, "name each once"),
        (["lv"], {}, "no 'lv'; the group is written LV"),
        (["XY"], {}, "'XY' is neither a label nor a group; groups are LV, RV, LA"),
        (["lv_edw"], {}, "did you mean lv_edv"),
        (None, {"diseases": ["caad"]}, "caad is not in the cohort, which has cad, af, dm"),
        (None, {"diseases": ["cad", "cad"]}, "name each once"),
        (["lv_edv"], {"diseases": ["cad"]}, "labels, diseases: name"),
        (["lv_edv"], {"input": "mri"}, "'mri': choose one of ecg, cmr"),
        (["lv_edv"], {"input": "cmr", "leads": ["I"]}, "belong to input ecg"),
    ],
)
def test_mistakes_in_targets_and_inputs(
    cohort_root: Path, labels: list[str] | None, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        labelled_data(cohort_root, labels, **options).setup("fit")
    assert "\n" not in str(error.value)


def test_groups_stand_for_their_labels(cohort_root: Path) -> None:
    data = labelled_data(cohort_root, ["lv_ef", "RV", "LV"])
    data.setup("fit")
    rv = ["rv_edv", "rv_esv", "rv_sv", "rv_ef"]
    assert data.label_names == ["lv_ef", *rv, "lv_edv", "lv_esv", "lv_sv", "lv_co", "lv_mass"]
    values = data.label_values()
    assert values is not None
    assert values.shape[1] == 10


def test_statistics_are_those_of_the_rows_trained_on(cohort_root: Path) -> None:
    data = labelled_data(cohort_root, ["lv_edv", "cad_ever"], train_labels=9)
    mean, deviation = data.label_statistics(["lv_edv", "cad_ever"])
    values = read_labels(data.index, ["lv_edv", "cad_ever"], data.rows("train")).astype(np.float64)
    assert len(values) == 9
    np.testing.assert_allclose(mean, np.nanmean(values, axis=0), rtol=1e-5)
    assert deviation[0] == pytest.approx(np.nanstd(values[:, 0]), rel=1e-5)


@pytest.mark.parametrize(
    ("stage", "labels", "score"),
    [(PhenotypeRegression, ["lv_edv", "lv_ef"], "r2"), (DiagnosisClassification, ["cad_ever", "af_ever"], "auroc")],
)
def test_a_target_nobody_knows_is_told_and_not_zero(
    cohort_root: Path, stage: Any, labels: list[str], score: str, notes: list[str]
) -> None:
    options: dict[str, Any] = {"balance": True} if stage is DiagnosisClassification else {}

    def fitted(data: LabelledDataModule) -> tuple[Any, Trainer]:
        torch.manual_seed(0)
        model = stage(ecg_encoder(), protocol="linear_probe", optimiser=FAST, **options)
        return model, fit(model, data)

    _, alone = fitted(labelled_data(cohort_root, labels[:1]))
    notes.clear()
    data = labelled_data(cohort_root, labels)
    values = data.label_values()
    assert values is not None
    values[:, 1] = np.nan
    model, trainer = fitted(data)
    assert notes == [
        f"note: no training row has a value of {labels[1]}; it is neither trained nor predicted",
        f"note: val scores leave out {labels[1]} (no value)",
    ]
    assert math.isfinite(trainer.callback_metrics[f"val/{score}"])
    for name, value in alone.callback_metrics.items():  # as if it had not been asked for
        assert trainer.callback_metrics[name] == pytest.approx(float(value), rel=1e-5, nan_ok=True), name
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    out = predicted(trainer, model, data)
    assert out[:, 0].isfinite().all()
    assert out[:, 1].isnan().all()
    values[data.rows("val")] = np.nan
    trainer.validate(model, datamodule=data, verbose=False)
    assert trainer.callback_metrics["val/loss"].isnan()
    assert trainer.callback_metrics[f"val/{score}"].isnan()


def test_classes_are_not_balanced_twice(cohort_root: Path) -> None:
    data = labelled_data(cohort_root, ["cad_ever"], balance="cad_ever")
    with pytest.raises(UserError, match="model.balance, data.balance: both balance cad_ever"):
        fit(DiagnosisClassification(ecg_encoder(), balance=True), data)


def test_class_weights_follow_the_prevalence() -> None:
    stage = DiagnosisClassification(ecg_encoder(), balance=True)
    stage.register_buffer("label_mean", torch.tensor([0.2]))
    stage.register_buffer("label_std", torch.tensor([0.4]))
    output = torch.tensor([[0.3], [0.3]])
    positive, negative = (stage._loss(output[:1], torch.tensor([[label]])) for label in (1.0, 0.0))
    both = stage._loss(output, torch.tensor([[1.0], [0.0]]))
    assert both == pytest.approx((positive + negative) / 2)
    assert positive == pytest.approx(4 * torch.nn.functional.softplus(torch.tensor(-0.3)))
    assert negative == pytest.approx(torch.nn.functional.softplus(torch.tensor(0.3)))


@pytest.mark.parametrize("objective", [CoxPartialLikelihood(), DiscreteTimeHazards(2)], ids=["cox", "hazards"])
def test_time_to_event(cohort_root: Path, objective: torch.nn.Module, notes: list[str]) -> None:
    data = labelled_data(cohort_root, diseases=["cad", "af"])
    data.setup("fit")
    values = data.label_values()
    assert values is not None
    assert data.label_names == ["cad_incident", "af_incident"]
    stored = read_labels(data.index, ["cad_incident", "cad_years"], np.arange(len(data.index)))
    np.testing.assert_array_equal(np.isnan(values[:, 0]), np.isnan(stored).any(axis=1))
    stage = TimeToEvent(ecg_encoder(), objective, optimiser=FAST)
    trainer = fit(stage, data)
    assert stage.head is not None
    assert stage.head.out_features == 2 * stage.objective.outputs
    assert bool(stage.head.bias.any()) == isinstance(objective, DiscreteTimeHazards)
    logged = trainer.callback_metrics
    assert math.isfinite(logged["train/loss"])
    assert 0 <= logged["val/concordance"] <= 1  # of af, of which there is an event in this split
    assert notes == ["note: val scores leave out cad_incident (no event)"]
    out = predicted(trainer, stage, data)
    assert out.shape == (len(data.rows("test")), 2)
    assert out.isfinite().all()
    assert out.std(dim=0).min() > 0
    if isinstance(objective, DiscreteTimeHazards):
        assert 0 <= out.min() <= out.max() <= 1


def test_time_to_event_without_events(cohort_root: Path) -> None:
    with pytest.raises(UserError, match="TimeToEvent needs data.diseases"):
        fit(TimeToEvent(ecg_encoder()), labelled_data(cohort_root, ["cad_incident"]))
    with pytest.raises(UserError, match="data.diseases is the target of ecgcmr.stages.TimeToEvent"):
        fit(PhenotypeRegression(ecg_encoder()), labelled_data(cohort_root, diseases=["cad"]))
    data = labelled_data(cohort_root, diseases=["cad"])
    values = data.label_values()
    assert values is not None
    values[values == 1] = 0
    with pytest.raises(UserError, match="no training row has an event of cad"):
        fit(TimeToEvent(ecg_encoder()), data)


def test_hazards_come_back_from_a_checkpoint(cohort_root: Path, tmp_path: Path) -> None:
    """Through the command line: intervals and life table are kept with the weights."""
    objective = {"class_path": "ecgcmr.objectives.DiscreteTimeHazards", "init_args": {"intervals": 2}}
    arguments = {"encoder": ENCODER, "objective": objective}
    config = write_config(tmp_path / "tte.yaml", "TimeToEvent", arguments, "LabelledDataModule", cohort_root)
    content = yaml.safe_load(config.read_text())
    content["data"]["init_args"] |= {"diseases": ["cad", "af", "dm"], "covariates": ["age", "sex"]}
    content["trainer"]["max_epochs"] = 1
    config.write_text(yaml.safe_dump(content))
    for command in ("fit", "validate", "predict"):
        assert main([command, "-c", str(config)]) == 0
    run = config.with_suffix("")
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["validate"]["val/concordance"] == pytest.approx(metrics["fit"]["val/concordance"])
    state = torch.load(run / "best.ckpt", weights_only=True)["state_dict"]
    assert state["objective.base"].shape == (3, 2)
    assert {"covariates.mean", "covariates.deviation", "objective.edges"} <= set(state)
    with np.load(run / "predictions.npz", allow_pickle=False) as stored:
        assert stored["prediction"].shape[1] == 3
        assert [name.decode() for name in stored["label"]] == ["cad_incident", "af_incident", "dm_incident"]


def test_published_stopping_counts_what_is_clearly_worse() -> None:
    def stops_after(values: list[float], **options: Any) -> int | None:
        callback = ToleranceEarlyStopping("val/auroc", **options)
        return next((i for i, value in enumerate(values) if callback.should_stop(value)), None)

    assert stops_after([0.8, 0.7, 0.7, 0.7], patience=2) == 3  # once more than the patience
    assert stops_after([0.8, 0.7, 0.8, 0.7, 0.7, 0.7], patience=2) == 5  # a draw begins anew
    assert stops_after([0.8, 0.75, 0.75, 0.69, 0.69, 0.69], patience=2, tolerance=0.1) == 5
    assert stops_after([0.8, 0.7, math.nan, 0.7, 0.7], patience=2) == 4
    assert stops_after([0.2, 0.3, 0.2, 0.3, 0.1], mode="min", patience=1) is None
    assert stops_after([0.2, 0.3, 0.3], mode="min", patience=1) == 2
    first, second = ToleranceEarlyStopping("val/r2", patience=1), ToleranceEarlyStopping("val/r2", patience=1)
    first.should_stop(0.5)
    first.should_stop(0.4)
    second.load_state_dict(first.state_dict())
    assert second.should_stop(0.4)


def test_stopping_ends_a_fit_and_names_an_unknown_monitor(cohort_root: Path) -> None:
    class Downhill(PhenotypeRegression):
        def _finish(self, split: str) -> None:
            self._losses[split].collect(self)
            self.log(f"{split}/pearson", 1.0 - self.current_epoch / 10)

    data = labelled_data(cohort_root, ["lv_edv"], train_labels=4)
    stage = Downhill(ecg_encoder(), protocol="linear_probe", monitor="val/pearson")
    assert (stage.monitor, stage.mode) == ("val/pearson", "max")
    trainer = fit(stage, data, max_epochs=20, callbacks=[ToleranceEarlyStopping("val/pearson", patience=1)])
    assert trainer.current_epoch == 3
    with pytest.raises(UserError, match="monitor 'val/auc' is not logged; there are val/loss, val/mae"):
        fit(PhenotypeRegression(ecg_encoder()), data, callbacks=[ToleranceEarlyStopping("val/auc")])
    with pytest.raises(UserError, match="model.monitor is 'val/auc'"):
        PhenotypeRegression(ecg_encoder(), monitor="val/auc")


def test_predictions_under_bfloat16_are_not_rounded_to_it(cohort_root: Path) -> None:
    stage = DiagnosisClassification(ecg_encoder(), optimiser=FAST)
    data = labelled_data(cohort_root, ["cad_ever"])
    trainer = fit(stage, data, precision="bf16-mixed")
    values = predicted(trainer, stage, data)
    assert values.dtype == torch.float32
    assert not torch.equal(values, values.bfloat16().float())
