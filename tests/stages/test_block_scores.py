"""Scores without blocks of rows: which rows stay, the jackknife's error, and every monitor of the downstream stages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from labelled_cohort import write_cohort, write_stage
from sklearn.metrics import roc_auc_score

from ecgcmr.cli import main
from ecgcmr.json_file import read_json
from ecgcmr.stages.block_scores import error_of_difference, left_out_scores, rows_without
from ecgcmr.stages.downstream import Downstream
from ecgcmr.training import share_choice


@pytest.mark.parametrize(("rows", "blocks"), [(60, 20), (61, 20), (7, 20), (1, 20), (0, 20)])
def test_every_row_is_left_out_once_with_its_neighbours(rows: int, blocks: int) -> None:
    kept = [set(part.tolist()) for part in rows_without(rows, blocks)]
    left = [sorted(set(range(rows)) - part) for part in kept]
    assert sorted(sum(left, [])) == list(range(rows))
    assert all(part == list(range(part[0], part[-1] + 1)) for part in left)
    assert len(left) == min(rows, blocks)


def test_the_error_is_that_of_a_mean_over_independent_rows() -> None:
    draw = np.random.default_rng(0)
    one, two = draw.normal(size=(2, 20))
    without = [[float(np.delete(own, block).mean()) for block in range(20)] for own in (one, two)]
    expected = float(np.std(one - two, ddof=1) / math.sqrt(20))
    assert error_of_difference(*without) == pytest.approx(expected, rel=1e-9)
    assert math.isnan(error_of_difference([0.1], [0.2]))
    assert math.isnan(error_of_difference([0.1, float("nan")], [0.2, 0.3]))


def _loss(prediction: Any, truth: Any) -> float:
    return float(np.nanmean((prediction - truth) ** 2))


def _pearson(prediction: Any, truth: Any) -> float:
    return float(np.mean([np.corrcoef(prediction[:, k], truth[:, k])[0, 1] for k in range(truth.shape[1])]))


def _auroc(prediction: Any, truth: Any) -> float:
    return float(roc_auc_score(truth[:, 0], prediction[:, 0]))


@pytest.mark.parametrize(
    ("stage", "labels", "monitor", "twin"),
    [
        ("PhenotypeRegression", ["lv_edv", "lv_ef"], "val/loss", _loss),
        ("PhenotypeRegression", ["lv_edv", "lv_ef"], "val/pearson", _pearson),
        ("DiagnosisClassification", ["af_ever"], "val/auroc", _auroc),
    ],
)
def test_scores_without_blocks_are_those_of_the_other_rows_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, labels: list[str], monitor: str, twin: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_cohort(tmp_path / "cohort", splits=("train",) * 12 + ("val",) * 14 + ("test",) * 6)
    config = write_stage(tmp_path, root, stage, labels=labels)
    content: dict[str, Any] = yaml.safe_load(config.read_text())
    content["final_weights"] = {"shares": [0.0, 1.0]}
    content["model"]["init_args"]["head_start"] = "probe"
    if stage == "PhenotypeRegression":
        content["model"]["init_args"]["monitor"] = monitor
    config.write_text(yaml.safe_dump(content))
    seen: list[tuple[Any, Any]] = []
    logged: list[dict[str, float]] = []

    def finish(module: Any, output: torch.Tensor, targets: torch.Tensor) -> None:
        standard = (targets - module.trained_mean) / module.label_std if monitor == "val/loss" else targets
        seen.append((output.double().numpy(), standard.double().numpy()))
        without_blocks(module, output, targets)

    def validate(trainer: Any) -> dict[str, float]:
        logged.append(quietly(trainer))
        return logged[-1]

    without_blocks, quietly = Downstream._finish_without_blocks, share_choice.validate_quietly
    monkeypatch.setattr(Downstream, "_finish_without_blocks", finish)
    monkeypatch.setattr(share_choice, "validate_quietly", validate)
    assert main(["fit", "-c", str(config)]) == 0
    start, *compared = logged
    assert left_out_scores(start, monitor) == []  # nothing is compared with it
    assert len(seen) == len(compared) == 2
    for (output, truth), scores in zip(seen, compared, strict=True):
        assert twin(output, truth) == pytest.approx(scores[monitor], rel=2e-3)
        expected = [twin(np.delete(output, row, 0), np.delete(truth, row, 0)) for row in range(len(truth))]
        assert left_out_scores(scores, monitor) == pytest.approx(
            expected, rel=2e-3
        )  # of float32 outputs that differ by little
    fitted = read_json(tmp_path / "stage" / "metrics.json")["fit"]
    assert fitted
    assert not [name for name in fitted if "without" in name]


def test_a_fit_from_a_random_head_is_not_asked_for_certainty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = write_stage(tmp_path, write_cohort(tmp_path / "cohort"), "PhenotypeRegression", labels=["lv_edv"])
    asked = ["--final_weights", '{"shares": [0.0, 1.0], "certainty": 1.0e6}']
    assert main(["fit", "-c", str(config), *asked, "--model.head_start=random"]) == 0
    final = read_json(tmp_path / "stage" / "tuning.json")["final_weights"]
    scores = {entry["share"]: entry["score"] for entry in final["scores"]}
    assert final["certainty"] == 0
    assert final["share"] == min(scores, key=lambda share: scores[share])
    probe = [*asked, "--model.head_start=probe", f"--trainer.default_root_dir={tmp_path / 'probe'}"]
    assert main(["fit", "-c", str(config), *probe]) == 0
    final = read_json(tmp_path / "probe" / "tuning.json")["final_weights"]
    assert (final["certainty"], final["share"]) == (1e6, 0.0)
