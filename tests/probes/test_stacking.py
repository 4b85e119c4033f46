"""Stacking: a slow twin in NumPy, folds by subject, no leak, and no stack worse than its best part on validation."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from ecgcmr.metrics.tasks import TASKS, Task
from ecgcmr.probes.baselines import BaselineOutcome, baseline_predictions
from ecgcmr.probes.boosting import boosting_predictions
from ecgcmr.probes.folds import MOST_FOLDS, deal_folds
from ecgcmr.probes.linear_probe import RIDGE_PENALTIES
from ecgcmr.probes.score_units import ScoreUnit, can_judge, loss
from ecgcmr.probes.stacking import EQUAL, SHARES, Part, StackOutcome, out_of_fold, stack_predictions

pytestmark = pytest.mark.slow

KINDS = list(TASKS)
NO_SKILL = {"regression": 0.0, "classification": 0.5, "time_to_event": 0.5}


def made(kind: str, rows: int, seed: int = 0, targets: int = 2) -> tuple[list[np.ndarray], np.ndarray]:
    """Return features of two parts, of which each has half of the signal, and targets with gaps."""
    draw = np.random.default_rng(seed)
    parts = [draw.normal(size=(rows, 4)), draw.normal(size=(rows, 3))]
    signal = parts[0][:, :1] + parts[1][:, :1] + 0.5 * draw.normal(size=(rows, targets))
    if kind == "regression":
        y = 10.0 + 3.0 * signal
        y[draw.random(y.shape) < 0.1] = np.nan
    elif kind == "classification":
        y = (signal > 0.5).astype(float)
        y[draw.random(y.shape) < 0.1] = np.nan
    else:
        onset, lost = draw.exponential(9.0 * np.exp(-1.5 * signal)), draw.uniform(3, 9, (rows, 1))
        y = np.stack([(onset <= lost).astype(float), np.minimum(onset, lost)], axis=2)
        y[draw.random(y.shape[:2]) < 0.1] = np.nan
    return parts, y


def stacked(
    task: Task,
    parts: list[np.ndarray],
    y: np.ndarray,
    train: np.ndarray,
    val: np.ndarray,
    test: np.ndarray,
    **given: Any,
) -> tuple[StackOutcome, list[Part]]:
    """Fit a stack of linear probes on features of the parts."""
    subjects = given.get("subjects", np.arange(len(y)))
    folds = deal_folds(task, y[train], subjects[train], np.random.default_rng(5))
    own = []
    for number, x in enumerate(parts):
        rows = (x[train], y[train]), (x[val], y[val])
        whole = baseline_predictions(task, *rows, x[test])
        folded = out_of_fold(task, baseline_predictions, *rows, folds)
        own.append(Part(f"part {number}", folded, whole.validation, whole.prediction))
    return stack_predictions(task, own, y[train], y[val]), own


def score(task: Task, y: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return task.score(y, prediction)[task.primary]


SPLITS = np.split(np.arange(600), [200, 400])


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_joins_what_its_parts_know(kind: str) -> None:
    task, (parts, y) = TASKS[kind], made(kind, 600)
    found, own = stacked(task, parts, y, *SPLITS)
    best = np.max([score(task, y[SPLITS[2]], part.prediction) for part in own], axis=0)
    assert (score(task, y[SPLITS[2]], found.prediction) > best + 0.08).all()
    assert found.notes == {}
    assert found.unavailable == {}
    if task.binary:
        assert 0.0 < found.prediction.min() < found.prediction.max() < 1.0
        assert abs(found.prediction.mean() - np.nanmean(y[SPLITS[2]])) < 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [8, 28, 80])
def test_on_validation_rows_no_stack_is_worse_than_its_best_part_or_their_mean(kind: str, count: int) -> None:
    task = TASKS[kind]
    for seed in range(2):
        parts, y = made(kind, 600, seed)
        parts[1] = np.random.default_rng(seed).normal(size=(600, 3))  # knows nothing
        train, val, test = SPLITS[0][:count], SPLITS[1], SPLITS[2]
        found, own = stacked(task, parts, y, train, val, test)
        for k in range(y.shape[1]):
            able = [part.validation[:, k] for part in own if np.isfinite(part.validation[:, k]).all()]
            if not able:
                continue  # too few events for any model
            scores = [ScoreUnit.of(task, part).scores(part) for part in able]
            ours = ScoreUnit.of(task, found.validation[:, k]).scores(found.validation[:, k])
            least = min(loss(task, values, y[val, k]) for values in [*scores, np.mean(scores, axis=0)])
            assert loss(task, ours, y[val, k]) <= least + 1e-9


def test_a_stack_of_numbers_is_what_its_slow_twin_says() -> None:
    """Ridge by scikit-learn, fold by fold and penalty by penalty, for one target."""
    task, (parts, y) = TASKS["regression"], made("regression", 180, 3, 1)
    train, val, test = np.split(np.arange(180), [60, 120])
    subjects = np.arange(180) // 2  # two recordings each
    found, _ = stacked(task, parts, y, train, val, test, subjects=subjects)

    def ridge(x: np.ndarray, own: np.ndarray, x_val: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
        """Return predictions of the validation and other rows with the penalty that is best on the former."""
        known = np.isfinite(own)
        mean, scale = x.mean(axis=0), x.std(axis=0)
        middle, spread = own[known].mean(), own[known].std()
        truth, best = y[val, 0], (np.inf, [np.empty(0)])
        for penalty in RIDGE_PENALTIES:
            model = Ridge(alpha=penalty).fit((x[known] - mean) / scale, (own[known] - middle) / spread)
            rows = [model.predict((z - mean) / scale) * spread + middle for z in (x_val, *others)]
            best = min(best, (float(np.nanmean((rows[0] - truth) ** 2)), rows), key=lambda pair: pair[0])
        return best[1]

    folds = deal_folds(task, y[train], subjects[train], np.random.default_rng(5)).number[:, 0]
    folded, whole = np.empty((60, 2)), []
    for p, x in enumerate(parts):
        for fold in range(5):
            out = folds == fold
            folded[out, p] = ridge(x[train][~out], y[train, 0][~out], x[val], x[train][out])[1]
        whole.append(ridge(x[train], y[train, 0], x[val], x[test]))
    z_val, z_test = (np.column_stack([rows[i] for rows in whole]) for i in (0, 1))
    known = np.isfinite(y[train, 0])
    line = ridge(folded[known], y[train, 0][known], z_val, z_test)
    candidates = {EQUAL: (z_val.mean(axis=1), z_test.mean(axis=1))}
    for share in SHARES:
        candidates[f"{share:.0%} fitted weights"] = tuple(  # type: ignore[assignment]
            (1 - share) * z.mean(axis=1) + share * own for z, own in zip((z_val, z_test), line, strict=True)
        )
    candidates |= {f"part {p}": (z_val[:, p], z_test[:, p]) for p in range(2)}
    errors = {name: np.nanmean((rows[0] - y[val, 0]) ** 2) for name, rows in candidates.items()}
    best = min(errors, key=lambda name: errors[name])
    assert found.chosen == (best,)
    np.testing.assert_allclose(found.validation[:, 0], candidates[best][0], rtol=1e-6)
    np.testing.assert_allclose(found.prediction[:, 0], candidates[best][1], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_subjects_are_dealt_out_whole_and_positives_evenly(kind: str) -> None:
    task, (_, y) = TASKS[kind], made(kind, 300)
    subjects = np.arange(300) // 3
    folds = deal_folds(task, y, subjects, np.random.default_rng(0))
    again = deal_folds(task, y, subjects, np.random.default_rng(0))
    assert np.array_equal(folds.number, again.number)
    assert not np.array_equal(folds.number, deal_folds(task, y, subjects, np.random.default_rng(1)).number)
    assert folds.notes == {}
    for k in range(y.shape[1]):
        number = folds.number[:, k]
        assert set(number) == set(range(MOST_FOLDS))
        assert all(len(set(number[subjects == subject])) == 1 for subject in range(100))
        if kind != "regression":
            positive = {subjects[i] for i in np.flatnonzero((y[..., 0] if task.followed else y)[:, k] == 1)}
            each = Counter(number[3 * subject] for subject in positive)
            assert max(each.values()) - min(each.values()) <= 1


@pytest.mark.parametrize(("positives", "folds"), [(3, 0), (4, 2), (7, 3), (9, 4), (10, 5), (40, 5)])
def test_rare_classes_have_fewer_folds_or_none(positives: int, folds: int) -> None:
    y = np.zeros((60, 1))
    y[:positives] = 1.0
    for kind, truth in (("classification", y), ("time_to_event", np.stack([y, np.ones_like(y)], axis=2))):
        dealt = deal_folds(TASKS[kind], truth, np.arange(60), np.random.default_rng(0))
        assert len(set(dealt.number[:, 0]) - {-1}) == folds
        assert (0 in dealt.notes) == (folds < 5)
        for fold in range(folds):
            assert y[dealt.number[:, 0] == fold].sum() >= 2
    few = np.full((60, 1), np.nan)
    few[:positives] = np.arange(positives)[:, None]
    dealt = deal_folds(TASKS["regression"], few, np.arange(60), np.random.default_rng(0))
    assert len(set(dealt.number[:, 0]) - {-1}) == folds


@pytest.mark.parametrize("kind", KINDS)
def test_no_model_predicts_a_row_whose_label_it_saw(kind: str) -> None:
    """Out of fold is what it says: every fit is asked for rows that are not among those that it was given."""
    task, (parts, y) = TASKS[kind], made(kind, 120)
    train, val = np.arange(80), np.arange(80, 120)
    subjects = np.arange(80) // 2
    folds = deal_folds(task, y[train], subjects, np.random.default_rng(0))
    x = np.column_stack([np.arange(120.0), parts[0]])
    asked = list[np.ndarray]()

    def watched(task: Task, fitted: Any, validation: Any, rows: Any) -> BaselineOutcome:
        assert not set(subjects[fitted[0][:, 0].astype(int)]) & set(subjects[rows[:, 0].astype(int)])
        asked.append(rows[:, 0])
        return baseline_predictions(task, fitted, validation, rows)

    scores = out_of_fold(task, watched, (x[train], y[train]), (x[val], y[val]), folds)
    assert np.isfinite(scores).all()
    shared = len({folds.number[:, k].tobytes() for k in range(y.shape[1])})
    assert Counter(np.concatenate(asked)) == dict.fromkeys(np.arange(80.0), shared)
    # Whatever the labels of one subject were, its own scores are the same.
    other = y.copy()
    other[0] = other[0] if kind == "regression" else y[0]
    if kind == "regression":
        other[:2] += 100.0
        changed = out_of_fold(task, baseline_predictions, (x[train], other[train]), (x[val], y[val]), folds)
        np.testing.assert_array_equal(changed[:2], scores[:2])
        assert not np.allclose(changed[2:], scores[2:])


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_labels_give_chance(kind: str) -> None:
    task, (parts, y) = TASKS[kind], made(kind, 600)
    train, val, test = SPLITS
    shuffled = np.random.default_rng(2).permutation(y)
    found, _ = stacked(task, parts, shuffled, train, val, test)
    honest, _ = stacked(task, parts, y, train, val, test)
    chance = NO_SKILL[kind]
    assert (np.abs(score(task, shuffled[test], found.prediction) - chance) < 0.15).all()
    assert (score(task, y[test], honest.prediction) > chance + 0.25).all()


@pytest.mark.parametrize("kind", KINDS)
def test_truth_in_the_features_of_training_rows_alone_does_not_pass_for_skill(kind: str) -> None:
    """A part that knows its training rows by heart has weight only for what it says out of fold."""
    task, (parts, y) = TASKS[kind], made(kind, 600)
    train, val, test = SPLITS
    draw = np.random.default_rng(0)
    by_heart = partial(boosting_predictions, seed=0, most_trees=20)
    noise = draw.normal(size=(600, 6))
    folds = deal_folds(task, y[train], train, np.random.default_rng(1))
    rows = (noise[train], y[train]), (noise[val], y[val])
    whole = by_heart(task, *rows, noise[np.concatenate([test, train])])
    folded = out_of_fold(task, by_heart, *rows, folds)
    again = score(task, y[train], whole.prediction[200:])
    first = NO_SKILL[kind] + 0.1
    assert (again > first).any() or not task.binary  # it does know them by heart
    truth = y[train] if not task.followed else y[train][..., 0]
    for k in range(y.shape[1]):
        known = np.isfinite(truth[:, k])
        assert abs(np.corrcoef(folded[known, k], truth[known, k])[0, 1]) < 0.3
    good = baseline_predictions(task, (parts[0][train], y[train]), (parts[0][val], y[val]), parts[0][test])
    kept = out_of_fold(task, baseline_predictions, (parts[0][train], y[train]), (parts[0][val], y[val]), folds)
    both = [
        Part("heart", folded, whole.validation, whole.prediction[:200]),
        Part("good", kept, good.validation, good.prediction),
    ]
    found = stack_predictions(task, both, y[train], y[val])
    assert (score(task, y[test], found.prediction) > score(task, y[test], good.prediction) - 0.05).all()


def test_what_cannot_be_learnt_or_judged_is_told_apart() -> None:
    task, (parts, y) = TASKS["classification"], made("classification", 600, targets=4)
    train, val, test = SPLITS
    y[train, 1] = 0.0  # nothing to learn
    y[val, 2] = 0.0  # nothing to judge by
    y[train, 3] = 0.0
    y[train[:3], 3] = 1.0  # too few for folds
    found, own = stacked(task, parts, y, train, val, test)
    assert list(found.unavailable) == [1]
    assert np.isnan(found.prediction[:, 1]).all()
    assert np.isnan(found.validation[:, 1]).all()
    assert list(found.notes) == [2]
    assert found.chosen[1:3] == ("", EQUAL)
    assert found.chosen[3] in (EQUAL, "part 0", "part 1")
    assert all(np.isnan(part.folded[:, 1:]).all() for part in own)
    assert np.isfinite(found.prediction[:, [0, 2, 3]]).all()


def test_a_part_without_prediction_leaves_the_others() -> None:
    task, (parts, y) = TASKS["regression"], made("regression", 600)
    _, own = stacked(task, parts, y, *SPLITS)
    gone = np.full_like(own[0].prediction, np.nan)
    found = stack_predictions(
        task, [Part("none", np.full((200, 2), np.nan), gone, gone), own[1]], y[SPLITS[0]], y[SPLITS[1]]
    )
    assert set(found.chosen) <= {EQUAL, "part 1"}
    np.testing.assert_allclose(found.prediction, own[1].prediction)


@pytest.mark.parametrize(
    ("kind", "truth", "able"),
    [
        ("regression", [np.nan, 2.0], True),
        ("regression", [np.nan, np.nan], False),
        ("classification", [0.0, 1.0], True),
        ("classification", [1.0, 1.0], False),
        ("time_to_event", [[1.0, 2.0], [0.0, 3.0]], True),
        ("time_to_event", [[0.0, 2.0], [0.0, 3.0]], False),
        ("time_to_event", [[1.0, 3.0], [0.0, 2.0]], False),
    ],
)
def test_rows_judge_where_they_tell_scores_apart(kind: str, truth: list, able: bool) -> None:
    assert can_judge(TASKS[kind], np.array(truth)) is able


def test_log_odds_are_in_units_of_their_models_spread() -> None:
    task, chance = TASKS["classification"], np.array([0.2, 0.5, 0.9])
    unit = ScoreUnit.of(task, chance)
    scores = unit.scores(chance)
    assert (scores.mean(), scores.std()) == pytest.approx((0.0, 1.0))
    np.testing.assert_allclose(unit.prediction(scores), chance)
    constant = ScoreUnit.of(task, np.full(3, 0.3))
    np.testing.assert_allclose(constant.scores(np.full(3, 0.3)), 0.0)
    assert np.isfinite(constant.scores(np.array([0.0, 1.0]))).all()
