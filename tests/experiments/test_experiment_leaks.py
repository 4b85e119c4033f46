"""Nothing of the test split's ECGs reaches what is learnt or chosen; shuffled labels teach nothing. From shards on.

The ECGs are noise. In those of some splits a target is planted as the height of a pulse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_configs
import torch

from ecgcmr.encoders import ECGVisionTransformer, export_encoder
from ecgcmr.experiments.features import encoder_features
from ecgcmr.experiments.methods import Outcome, Problem
from ecgcmr.experiments.stage_runs import StageRun, run_stage
from ecgcmr.metrics.bootstrap import Interval, Resamples, resample
from ecgcmr.shards import ECGLayout, Label, Layout, ShardIndex, ShardRows, write_index, write_shard

COUNTS = {"train": 160, "val": 80, "test": 80}
SPLITS = np.repeat(list(COUNTS), list(COUNTS.values()))
SAMPLES, HEIGHT = 100, 3.0
ENCODER: dict[str, Any] = {"samples": SAMPLES, "patch_size": [12, 25], "width": 32, "depth": 1, "heads": 2}
LABELS = (
    Label("lv_edv", "phenotype", "mL", "LV", "LV end-diastolic volume"),
    Label("cad_ever", "disease", "", "disease", "Coronary artery disease, ever"),
)
TASKS = {"regression": ("lv_edv", "r2", 0.0), "classification": ("cad_ever", "auroc", 0.5)}
"""Task -> its target, its metric, and the value of no skill."""

Planted = Callable[..., Path]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Give the root of a cohort with both targets planted in the ECGs of the splits named; all else is the same."""
    made: dict[tuple[str, ...], Path] = {}

    def root(*splits: str) -> Path:
        if splits not in made:
            made[splits] = _write(tmp_path_factory.mktemp("planted"), splits)
        return made[splits]

    return root


def _write(root: Path, splits: tuple[str, ...]) -> Path:
    random, n = np.random.default_rng(0), len(SPLITS)
    ecg = random.standard_normal((n, 12, SAMPLES), dtype=np.float32)
    volume, disease = random.normal(size=n), random.random(n) < 0.4
    chosen = np.isin(SPLITS, splits)
    ecg[chosen, 0, 25:50] += HEIGHT * volume[chosen, None]
    ecg[chosen, 1, 50:75] += HEIGHT * disease[chosen, None]
    layout = Layout(ecg=ECGLayout(samples=SAMPLES), cmr=None, labels=LABELS)
    rows = ShardRows(
        subject=[f"{k:032x}" for k in range(n)],
        split=SPLITS.tolist(),
        ecg=ecg,
        has_ecg=np.ones(n, dtype=bool),
        cmr=None,
        has_cmr=np.zeros(n, dtype=bool),
        labels=np.column_stack([100 + 20 * volume, disease]).astype(np.float32),
    )
    write_index(root, layout, [write_shard(root / "shards" / "shard-00000.h5", layout, rows)])
    return root


def problem_of(root: Path, task: str) -> Problem:
    return Problem.of(task, task, [TASKS[task][0]], ShardIndex.load(root))


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], np.ndarray]:
    """Give the features that one random encoder, as experiments export it, has of a cohort's recordings."""
    folder = tmp_path_factory.mktemp("encoder")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = ECGVisionTransformer(**ENCODER)
    name = "ecgcmr.encoders.ECGVisionTransformer"
    export_encoder(encoder, folder, class_path=name, init_args=ENCODER, fingerprint=None)

    def of(root: Path) -> np.ndarray:
        index = ShardIndex.load(root)
        return encoder_features(folder, index, index.positions(None, ("ecg",)), root / "features").astype(np.float64)

    return of


def probed(problem: Problem, features: np.ndarray) -> Outcome:
    count = len(problem.training(None))
    return problem.probe(features, [count], seed=0)[count]


def score(problem: Problem, prediction: np.ndarray | None, split: str) -> float:
    assert prediction is not None
    metric = TASKS[problem.name][1]
    return float(problem.task.score(problem.values[problem.part(split)], prediction)[metric][0])


@pytest.mark.parametrize("task", list(TASKS))
def test_a_target_in_the_ecgs_of_the_test_split_raises_no_validation_score_of_a_probe(
    task: str, planted: Planted, features: Callable
) -> None:
    honest, told, caught = (planted(*splits) for splits in ((), ("test",), ("train", "val")))
    problem = problem_of(honest, task)
    outcomes = [probed(problem, features(root)) for root in (honest, told, caught)]
    np.testing.assert_array_equal(outcomes[1].validation, outcomes[0].validation)
    assert not np.array_equal(outcomes[1].prediction, outcomes[0].prediction)  # the plant is seen
    no_skill = TASKS[task][2]
    for outcome in outcomes[:2]:
        assert score(problem, outcome.validation, "val") < no_skill + 0.15
        assert score(problem, outcome.prediction, "test") < no_skill + 0.15
    assert score(problem, outcomes[2].validation, "val") > no_skill + 0.4  # that a leak would show
    assert score(problem, outcomes[2].prediction, "test") < no_skill + 0.15


def trained(folder: Path, root: Path) -> np.ndarray:
    """Fine-tune from random weights as an experiment does; return the best epoch's predictions of validation rows."""
    encoder = {"class_path": "ecgcmr.encoders.ECGVisionTransformer", "init_args": ENCODER}
    arguments: dict[str, Any] = {"encoder": encoder, "monitor": "val/r2", "optimiser": {"lr": 3e-3}}
    data: dict[str, Any] = {"labels": ["lv_edv"], "samples": SAMPLES, "batch_size": 32}
    config = tiny_configs.write_config(
        folder / f"{root.name}.yaml", "PhenotypeRegression", arguments, "LabelledDataModule", root, **data
    )
    stage = StageRun(root.name, folder / root.name, config, {"trainer.max_epochs": 6, "seed_everything": 0}, {})
    run_stage(stage, predict=("val",))
    return np.load(stage.folder / "predictions_val.npz", allow_pickle=False)["prediction"]


@pytest.mark.long
def test_a_target_in_the_ecgs_of_the_test_split_raises_no_validation_score_of_fine_tuning(
    planted: Planted, tmp_path: Path
) -> None:
    honest, told, caught = (planted(*splits) for splits in ((), ("test",), ("train", "val")))
    problem = problem_of(honest, "regression")
    predictions = [trained(tmp_path, root) for root in (honest, told, caught)]
    np.testing.assert_array_equal(predictions[1], predictions[0])
    assert score(problem, predictions[1], "val") < 0.15
    assert score(problem, predictions[2], "val") > 0.4


@pytest.mark.parametrize("task", list(TASKS))
def test_shuffled_labels_have_no_skill(task: str, planted: Planted, features: Callable) -> None:
    root = planted(*COUNTS)
    problem = problem_of(root, task)
    shuffled = replace(problem, values=np.random.default_rng(1).permutation(problem.values))
    _, metric, no_skill = TASKS[task]

    def interval(own: Problem) -> Interval:
        test = own.part("test")
        draws = Resamples.draw(np.arange(len(test)), 300, 0)
        return resample(own.task, own.values[test], probed(own, features(root)).prediction, draws).entry(metric, [0])

    found = interval(shuffled)
    assert found.low <= no_skill
    assert found.value < no_skill + 0.1
    assert task == "regression" or found.high >= no_skill
    assert interval(problem).low > no_skill + 0.3  # labels in their places are learnt from the same features
