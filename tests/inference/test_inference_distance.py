"""Distance to the training data: the definition, its threshold, and what the state does not give away."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcmr.inference.distance import TrainingDistance


def embeddings(draw, n, width=12):
    mixing = np.random.default_rng(0).normal(size=(width, width))
    return draw.normal(size=(n, width)) @ mixing + 3.0


def test_distance_is_that_of_the_shrunk_covariance():
    draw = np.random.default_rng(1)
    train, new = embeddings(draw, 400), embeddings(draw, 30)
    fitted = TrainingDistance.fit(train, embeddings(draw, 100), np.arange(100))
    # Ledoit and Wolf's rule, by their formula (Journal of Multivariate Analysis 2004).
    x = train - train.mean(axis=0)
    n, width = x.shape
    sample = x.T @ x / n
    target = np.trace(sample) / width * np.eye(width)
    spread = sum(np.sum((np.outer(row, row) - sample) ** 2) for row in x) / n**2
    shrinkage = min(1.0, spread / np.sum((sample - target) ** 2))
    covariance = (1 - shrinkage) * sample + shrinkage * target
    expected = [
        np.sqrt((row - train.mean(axis=0)) @ np.linalg.solve(covariance, row - train.mean(axis=0)) / width)
        for row in new
    ]
    np.testing.assert_allclose(fitted.distance(new), expected, rtol=1e-8)


def test_one_in_a_hundred_new_subjects_lies_outside_and_strangers_do():
    draw = np.random.default_rng(2)
    fitted = TrainingDistance.fit(embeddings(draw, 800), embeddings(draw, 600), np.arange(600))
    assert (fitted.level, fitted.subjects) == (0.99, 600)
    assert 0.975 <= fitted.is_inside(embeddings(draw, 5000)).mean() <= 0.998
    assert not fitted.is_inside(embeddings(draw, 200) + 15.0).any()


def test_a_subject_with_many_recordings_does_not_move_the_threshold():
    draw = np.random.default_rng(3)
    train, validation = embeddings(draw, 300), embeddings(draw, 120)
    once = TrainingDistance.fit(train, validation, np.arange(120))
    nearest = validation[[0]]
    many = np.concatenate([validation, np.repeat(nearest, 400, axis=0)])
    subjects = np.concatenate([np.arange(120), np.zeros(400, dtype=int)])
    assert TrainingDistance.fit(train, many, subjects).threshold == once.threshold


def test_few_validation_subjects_bear_a_lower_level_or_none():
    draw = np.random.default_rng(4)
    train = embeddings(draw, 300)
    some = TrainingDistance.fit(train, embeddings(draw, 49), np.arange(49))
    assert (some.level, some.subjects) == (0.98, 49)
    none = TrainingDistance.fit(train, embeddings(draw, 19), np.arange(19))
    assert (none.threshold, none.level, none.subjects) == (np.inf, 1.0, 0)
    assert none.is_inside(train).all()


def test_more_dimensions_than_subjects_and_dead_features_have_a_distance():
    draw = np.random.default_rng(5)
    train = np.concatenate([draw.normal(size=(40, 60)), np.zeros((40, 4))], axis=1)
    fitted = TrainingDistance.fit(train, train[:20], np.arange(20))
    assert np.isfinite(fitted.distance(train)).all()
    constant = TrainingDistance.fit(np.ones((30, 3)), np.ones((30, 3)), np.arange(30))
    assert constant.distance(np.ones((2, 3))).tolist() == [0.0, 0.0]


def test_embeddings_that_are_no_numbers_are_outside_and_other_widths_refused():
    draw = np.random.default_rng(6)
    fitted = TrainingDistance.fit(embeddings(draw, 100), embeddings(draw, 50), np.arange(50))
    strange = embeddings(draw, 2)
    strange[0, 3] = np.nan
    assert fitted.distance(strange)[0] == np.inf
    assert fitted.is_inside(strange).tolist()[0] is False
    with pytest.raises(ValueError, match="are not"):
        fitted.distance(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="finite"):
        TrainingDistance.fit(strange, strange, np.arange(2))


def test_the_state_holds_no_row_of_the_training_data():
    draw = np.random.default_rng(7)
    train = embeddings(draw, 200)
    fitted = TrainingDistance.fit(train, embeddings(draw, 100), np.arange(100))
    kept = np.concatenate([fitted.mean[None], fitted.factor])
    assert kept.shape == (13, 12)
    assert np.abs(kept[:, None] - train[None]).max(axis=2).min() > 0.1
