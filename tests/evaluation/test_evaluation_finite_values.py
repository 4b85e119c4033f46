"""Features and predictions that are not finite are refused by name; what is merely missing is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.evaluation import Predictions, Target
from ecgcmr.evaluation.finite_values import require_finite_features, require_predictions
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.probes.baselines import Imputer
from ecgcmr.probes.boosting import boosting_predictions
from ecgcmr.probes.cox_probe import CoxProbe
from ecgcmr.probes.linear_probe import LogisticProbe, RidgeProbe
from ecgcmr.probes.ridge import ridge_path

BROKEN = [np.nan, np.inf, -np.inf]


def features(value: float | None = None) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((40, 3))
    if value is not None:
        x[7, 1] = value
    return x


def targets(task: str) -> np.ndarray:
    generator = np.random.default_rng(1)
    if task == "regression":
        return generator.standard_normal((40, 1))
    yes = (generator.random((40, 1)) < 0.5).astype(np.float64)
    return yes if task == "classification" else np.stack([yes, generator.random((40, 1)) + 0.1], axis=2)


@pytest.mark.parametrize("value", BROKEN)
@pytest.mark.parametrize(
    ("probe", "task"), [(RidgeProbe, "regression"), (LogisticProbe, "classification"), (CoxProbe, "time_to_event")]
)
def test_a_probe_names_itself_where_features_are_not_finite(probe: Any, task: str, value: float) -> None:
    y = targets(task)
    for x, x_val in ((features(value), features()), (features(), features(value))):
        with pytest.raises(ValueError, match=rf"{probe.__name__}: features hold NaN or infinity"):
            probe().fit(x, y, x_val, y)
    assert probe().fit(features(), y, features(), y).unavailable == {}


@pytest.mark.parametrize("value", BROKEN)
def test_the_path_of_ridge_refuses_them_too(value: float) -> None:
    with pytest.raises(ValueError, match="ridge regression: features hold NaN or infinity"):
        ridge_path(features(value), targets("regression"), np.array([1.0]))


def test_a_missing_wave_is_imputed_and_an_infinite_one_is_not() -> None:
    assert np.isfinite(Imputer.of(features(np.nan)).transform(features(np.nan))).all()
    y = targets("regression")
    both = (features(np.nan), y)
    assert np.isfinite(
        boosting_predictions(TASKS["regression"], both, both, features(), seed=0, most_trees=3).prediction
    ).all()
    for value in (np.inf, -np.inf):
        with pytest.raises(ValueError, match="hold infinity"):
            Imputer.of(features(value))
        with pytest.raises(ValueError, match="hold infinity"):
            Imputer.of(features()).transform(features(value))
        both = features(), y
        with pytest.raises(ValueError, match="gradient boosting hold infinity"):
            boosting_predictions(TASKS["regression"], both, both, features(value), seed=0, most_trees=3)


def test_features_are_refused_with_method_and_counts() -> None:
    with pytest.raises(UserError, match=r"^mae: features of 1 of 40 recordings are NaN or infinite \(in 1 of 3 col"):
        require_finite_features(features(np.nan), "mae")
    with pytest.raises(UserError, match="^waves: features of 1 of 40 recordings are infinite"):
        require_finite_features(features(np.inf), "waves", gaps=True)
    assert require_finite_features(features(np.nan), "waves", gaps=True) is None


def predictions(values: np.ndarray) -> Predictions:
    subjects = np.array([f"{i:032x}" for i in range(len(values))])
    targets = (Target("lv_edv", "LV"), Target("lv_ef", "LV"))
    recordings, truth = np.zeros(len(values), dtype=np.int64), np.ones((len(values), 2))
    return Predictions(TASKS["regression"], targets, subjects, recordings, truth, values, "test", "mae", None, None, 0)


def test_a_target_that_was_not_trained_is_nan_throughout_and_nothing_else_is() -> None:
    values = np.ones((6, 2))
    untrained = np.where([False, True], np.nan, values)
    np.testing.assert_array_equal(predictions(untrained).prediction, untrained)
    for value in BROKEN:
        broken = values.copy()
        broken[2, 1] = value
        with pytest.raises(UserError, match="^mae: 1 of 6 predictions of lv_ef are NaN or infinite"):
            predictions(broken)
    with pytest.raises(UserError, match="of a, b, c and 1 more"):
        require_predictions(np.full((2, 4), np.inf), ["a", "b", "c", "d"], "x")


@pytest.mark.parametrize("value", ["inf", "-inf", ""])
def test_evaluate_and_compare_read_no_prediction_that_is_not_finite(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    table = pd.DataFrame({"subject": [f"{i:032x}" for i in range(30)], "target": "lv_ef", "split": "test", "seed": 0})
    table["truth"] = np.linspace(40, 70, 30)
    table["prediction"] = [value, *map(str, np.linspace(41, 69, 29))]
    table.to_csv(run / "predictions.csv", index=False)
    other = tmp_path / "other"
    other.mkdir()
    table.assign(prediction=table["truth"] + 1.0).to_csv(other / "predictions.csv", index=False)
    for arguments in (["evaluate", "--predictions", str(run / "predictions.csv"), "--out", str(tmp_path / "out")],
                      ["compare", str(other), str(run), "--out", str(tmp_path / "out")]):  # fmt: skip
        assert main(arguments) == 2
        assert "prediction is missing or infinite" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
