"""A downstream head starts at the probe of experiments: what it predicts at step 0 are the probe's predictions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm_runs
from labelled_cohort import SPLITS, write_cohort, write_stage

from data_modules import LabelledDataModule, cut_windows
from ecgcmr.cli import main
from ecgcmr.encoders import View, load_encoder
from ecgcmr.encoders.readout import read_out
from ecgcmr.metrics.tasks import task_for
from ecgcmr.probes.linear_probe import fit_probe
from ecgcmr.shards import ShardIndex, read_ecgs
from ecgcmr.shards.index import read_labels

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow]

AT_START = ["--final_weights", '{"average": null, "shares": [0.0]}', "--model.head_start=probe"]
MISSING = {
    "lv_edv": [0, 3, 6, 21],
    "lv_ef": range(1, 20),  # a single training label: nothing to learn from
    "age": [2, 5, 23, 27],
    "dm_ever": [1, 2, 22],
    "cad_years": [4, 7],
}
CASES: dict[str, tuple[str, str, dict[str, Any], list[str]]] = {
    "regression": ("PhenotypeRegression", "regression", {"labels": ["lv_edv", "lv_ef"]}, []),
    "classification": ("DiagnosisClassification", "classification", {"labels": ["af_ever", "dm_ever"]}, []),
    "events": ("TimeToEvent", "time_to_event", {"diseases": ["cad", "af"]}, []),
    "windows": (
        "PhenotypeRegression",
        "regression",
        {"labels": ["lv_edv"], "evaluation_windows": 3},
        ["--data.samples=40", "--model.encoder.samples=40"],
    ),
    "covariates": ("PhenotypeRegression", "regression", {"labels": ["lv_edv"], "covariates": ["age"]}, []),
}
TWICE = ("regression", "classification", "events")
"""On two ranks as well."""
BOTH = [pytest.param(name, marks=() if name == "regression" else pytest.mark.long) for name in TWICE]
LATER = ("windows", "covariates")
ALONE = [pytest.param(name, 1, marks=pytest.mark.long if name in LATER else ()) for name in CASES]
RUNS = [*ALONE, *(pytest.param(*case.values, 2, marks=case.marks) for case in BOTH)]


Run = Callable[[str, int], tuple[Path, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("head") / "cohort", missing=MISSING)


@pytest.fixture(scope="module")
def run(root: Path) -> Run:
    """Give the folder of a run whose final weights are those of step 0, and what it printed."""

    @functools.cache
    def of(name: str, ranks: int) -> tuple[Path, str]:
        stage, _, data, flags = CASES[name]
        config = write_stage(root.parent, root, stage, f"{name}{ranks}", **data)
        common = ["-c", str(config), *flags, *AT_START]
        if ranks > 1:
            common += [f"--trainer.devices={ranks}", "--trainer.strategy=ddp", "--data.batch_size=2"]
        plan = warm_runs.plan(["fit", *common], ["predict", *common], ranks=ranks)
        folder = root.parent / f"{name}{ranks}"
        return folder, warm_runs.run([plan], root.parent / f"{name}{ranks}.log")

    return of


def features(folder: Path, root: Path, rows: np.ndarray, data: dict[str, Any]) -> np.ndarray:
    """Return what a probe sees of the encoder that a run exported, beside standardised covariates."""
    index = ShardIndex.load(root)
    encoder: Any = load_encoder(folder).eval()
    windows = cut_windows(
        torch.from_numpy(read_ecgs(index, rows)), encoder.input_spec.samples, data.get("evaluation_windows", 1)
    )
    with torch.no_grad():
        pooled = read_out(encoder, None, View(windows)).double().numpy()
    if "covariates" not in data:
        return pooled
    train = index.positions("train", ("ecg",))
    labelled = train[np.isfinite(read_labels(index, data["labels"], train)[:, 0])]
    known = read_labels(index, data["covariates"], labelled).astype(float)
    values = read_labels(index, data["covariates"], rows).astype(float)
    gaps = np.isnan(values)
    standardised = np.where(gaps, 0.0, (values - np.nanmean(known, axis=0)) / np.nanstd(known, axis=0))
    return np.concatenate([pooled, standardised, gaps], axis=1)


def probe_of(folder: Path, root: Path, kind: str, data: dict[str, Any]) -> tuple[Any, np.ndarray]:
    """Fit the probe of experiments on what a run exported; return it and its predictions of the test rows."""
    module = LabelledDataModule(root, samples=40, **data)
    module.setup("fit")
    values = module.label_values()
    assert values is not None
    targets = np.stack([values, module._years], axis=2) if "diseases" in data else values
    rows = {split: module.rows(split) for split in ("train", "val", "test")}
    parts = [
        part for split in ("train", "val") for part in (features(folder, root, rows[split], data), targets[rows[split]])
    ]
    probe = fit_probe(task_for(kind), *parts)
    return probe, probe.predict(features(folder, root, rows["test"], data))


@pytest.mark.parametrize(("name", "ranks"), RUNS)
def test_step_0_equals_the_probe(run: Run, root: Path, name: str, ranks: int) -> None:
    (folder, _), (_, kind, data, _) = run(name, ranks), CASES[name]
    probe, expected = probe_of(folder, root, kind, data)
    predicted = np.load(folder / "predictions.npz")["prediction"]
    learnt = np.isfinite(probe.chosen)
    assert learnt.any()
    assert np.ptp(expected[:, learnt], axis=0).min() > 0
    scale = np.abs(expected[:, learnt]).max()
    assert predicted[:, learnt] == pytest.approx(expected[:, learnt], rel=1e-5, abs=1e-5 * scale)


@pytest.mark.parametrize("name", BOTH)
def test_the_head_is_the_same_on_all_numbers_of_ranks(run: Run, name: str) -> None:
    one, two = (torch.load(run(name, ranks)[0] / "best.ckpt", weights_only=True)["state_dict"] for ranks in (1, 2))
    torch.testing.assert_close(one["head.weight"], two["head.weight"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one["head.bias"], two["head.bias"], rtol=1e-4, atol=1e-5)


def test_a_target_that_cannot_be_learnt_keeps_its_column_and_is_named(run: Run) -> None:
    folder, output = run("regression", 1)
    # Two of the 20 training rows have neither label.
    assert "the head starts at the ridge probe of 1 target on 18 training rows" in output
    assert "note: without a probe to start from: lv_ef (1 training labels)" in output
    head = torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]["head.weight"]
    assert head[1].abs().max() < 0.021  # truncated at two deviations of 0.01
    assert head[0].abs().max() > 0.021


def test_auto_starts_at_the_probe_where_weights_are_given(run: Run, root: Path, tmp_path: Path) -> None:
    source, _ = run("regression", 1)
    config = write_stage(tmp_path, root, "PhenotypeRegression", labels=["lv_edv"])
    flags = ["--final_weights", '{"average": null, "shares": [0.0]}', f"--model.encoder_weights={source}"]
    assert main(["fit", "-c", str(config), *flags]) == 0
    assert main(["predict", "-c", str(config), *flags]) == 0
    _, expected = probe_of(source, root, "regression", {"labels": ["lv_edv"]})
    predicted = np.load(tmp_path / "stage" / "predictions.npz")["prediction"]
    assert predicted == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("stage", "flags", "reason"),
    [
        ("PhenotypeRegression", ["--model.protocol=attention_probe"], "attention that pools tokens"),
        ("TimeToEvent", ["--model.objective=ecgcmr.objectives.DiscreteTimeHazards"], "no closed-form solution"),
        ("PhenotypeRegression", ["--model.head_start=ridge"], "choose one of auto, probe, random"),
    ],
)
def test_a_probe_that_there_is_not_is_refused_in_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str, flags: list[str], reason: str
) -> None:
    data = {"diseases": ["cad"]} if stage == "TimeToEvent" else {"labels": ["lv_edv"]}
    config = write_stage(tmp_path, root, stage, **data)
    assert main(["fit", "-c", str(config), "--model.head_start=probe", *flags]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "stage" / "last.ckpt").exists()


def test_validation_rows_without_a_label_leave_the_head_random_and_say_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    validation = [row for row, split in enumerate(SPLITS) if split == "val"]
    root = write_cohort(tmp_path / "cohort", missing={"lv_edv": validation})
    config = write_stage(tmp_path, root, "PhenotypeRegression", labels=["lv_edv"])
    assert main(["fit", "-c", str(config), "--model.head_start=probe"]) == 2
    assert "validation rows" in capfd.readouterr().err
