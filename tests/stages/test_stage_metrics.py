"""Scores with missing labels against scikit-learn and SciPy; means weighted by samples; the online probe."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import average_precision_score, mean_absolute_error, r2_score, roc_auc_score

from ecgcmr.metrics.survival import concordance
from ecgcmr.stages.metrics import ClassificationScores, ConcordanceScores, RegressionScores, WeightedMeans
from ecgcmr.stages.whole_split import cross_fitted_scores


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.6])
def test_regression_scores_equal_scikit_learn(missing: float) -> None:
    random = np.random.default_rng(1)
    label = random.normal(size=(80, 4))
    prediction = label + random.normal(size=label.shape)
    label[random.random(label.shape) < missing] = np.nan
    label[:, 3] = np.nan  # a target nobody knows is left out, not counted as 0
    scores = RegressionScores()
    for start in range(0, 80, 32):
        scores.update(torch.tensor(prediction[start : start + 32]), torch.tensor(label[start : start + 32]))
    got = scores.compute()
    known = [np.isfinite(label[:, k]) for k in range(3)]
    pairs = [(label[k, i], prediction[k, i]) for i, k in enumerate(known)]
    assert float(got["r2"]) == pytest.approx(np.mean([r2_score(*p) for p in pairs]), abs=1e-5)
    assert float(got["pearson"]) == pytest.approx(np.mean([pearsonr(*p)[0] for p in pairs]), abs=1e-5)
    assert float(got["mae"]) == pytest.approx(np.mean([mean_absolute_error(*p) for p in pairs]), abs=1e-5)


def test_classification_scores_equal_scikit_learn() -> None:
    random = np.random.default_rng(2)
    label = (random.random((100, 3)) < 0.3).astype(float)
    prediction = label + random.normal(size=label.shape)
    label[random.random(label.shape) < 0.4] = np.nan
    label[:, 2] = 0.0  # one class only: no AUROC
    scores = ClassificationScores()
    scores.update(torch.tensor(prediction), torch.tensor(label))
    got = scores.compute()
    pairs = [(label[k, i], prediction[k, i]) for i, k in enumerate(np.isfinite(label[:, :2]).T)]
    assert float(got["auroc"]) == pytest.approx(np.mean([roc_auc_score(*p) for p in pairs]), abs=1e-6)
    assert float(got["auprc"]) == pytest.approx(np.mean([average_precision_score(*p) for p in pairs]), abs=1e-6)


def test_nothing_to_score_is_nan() -> None:
    scores = RegressionScores()
    scores.update(torch.zeros(4, 2), torch.full((4, 2), float("nan")))
    assert all(torch.isnan(value) for value in scores.compute().values())


def test_correlation_is_not_misled_by_constants() -> None:
    """A constant that float32 cannot average exactly is constant; small changes far from zero are changes."""
    label = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
    prediction = label.clone()
    label[:, 1] = 120.3
    prediction[:, 2] = 61.7
    label[:, 3] = 500.0 + label[:, 3].mul(1000).round() / 1000
    prediction[:, 3] = 60.0 + 1e-3 * (label[:, 3] - 500.0)
    scores = RegressionScores()
    scores.update(prediction, label)
    assert float(scores.compute()["pearson"]) == pytest.approx(1.0, abs=1e-3)  # of the first and the last
    assert scores.unscored == {1: "constant"}
    scores.reset()
    scores.update(prediction[:, 1:3], label[:, 1:3])
    assert scores.compute()["pearson"].isnan()


def test_concordance_is_the_mean_over_diseases_that_have_one() -> None:
    random = np.random.default_rng(3)
    years, event = random.exponential(5.0, (60, 4)), (random.random((60, 4)) < 0.4).astype(float)
    years[random.random(years.shape) < 0.3] = np.nan
    event[:, 2] = 0.0
    event[:, 3] = np.nan
    risk = random.normal(size=years.shape) - np.nan_to_num(years) / 5
    scores = ConcordanceScores()
    label = torch.tensor(np.stack([event, years], axis=2))
    for rows in (slice(0, 40), slice(40, 60)):
        scores.update(torch.tensor(risk)[rows], label[rows])
    twin = np.mean([concordance(years[:, k], event[:, k], risk[:, k]) for k in range(2)])
    assert float(scores.compute()["concordance"]) == pytest.approx(float(twin), abs=1e-6)
    assert scores.unscored == {2: "no event", 3: "no value"}


def test_means_weigh_samples_not_batches() -> None:
    means = WeightedMeans(["loss"])
    means.update({"loss": torch.tensor(1.0)}, weight=3)
    means.update({"loss": torch.tensor(5.0)}, weight=1)
    assert float(means.compute()["loss"]) == pytest.approx(2.0)
    means.reset()
    means.update({"loss": torch.tensor(7.0)}, weight=2)
    assert float(means.compute()["loss"]) == pytest.approx(7.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_mean_over_a_number_that_is_not_finite_says_so(value: float) -> None:
    means = WeightedMeans(["loss"])
    for number in (1.0, value, 2.0):
        means.update({"loss": torch.tensor(number)}, weight=3)
    assert str(means.compute()["loss"].item()) == str(value)


def test_online_probe_finds_what_is_linear_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 10, generator=generator)
    labels = torch.stack(
        [
            features @ torch.randn(10, generator=generator),
            torch.randn(200, generator=generator),
            torch.full((200,), float("nan")),
        ],
        dim=1,
    )
    labels[::7, 0] = float("nan")
    scores = cross_fitted_scores(features, labels, penalty=1e-3)["r2"]
    assert scores[0] > 0.98
    assert scores[1] < 0.1
    assert torch.isnan(scores[2])
