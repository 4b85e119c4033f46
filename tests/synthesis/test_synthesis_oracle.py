"""The oracle: a ceiling that models cannot beat, made only of what the ECG shows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from true_beats import r_peak_times

from ecgcmr.phenotypes import phenotypes
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.events import sample_events
from ecgcmr.synthesis.oracle import Oracle, expressed_features, fit_oracle, oracle_table
from ecgcmr.synthesis.state import CardiacState, sample_states

POPULATION = 12_000


@pytest.fixture(scope="module")
def state() -> CardiacState:
    return sample_states(1500, 21)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return fit_oracle(21, POPULATION)


def r2(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    known = np.isfinite(truth)
    error = np.where(known, truth - prediction, 0)
    spread = np.where(known, truth - np.nanmean(truth, 0), 0)
    return 1 - (error**2).sum(0) / (spread**2).sum(0)


def test_the_ceiling_of_the_ventricles_is_high_but_not_complete(state: CardiacState, oracle: Oracle) -> None:
    score = r2(state.observed_phenotypes, oracle.phenotypes(state))
    assert 0.60 < score[:10].mean() < 0.75
    assert score[:10].min() > 0.4
    assert (score > -0.02).all()
    distensibility = [k for k, p in enumerate(phenotypes()) if p.name.endswith("distensibility")]
    assert score[distensibility].max() < 0.25  # hardly in the ECG


def test_probabilities_rank_and_are_calibrated(state: CardiacState, oracle: Oracle) -> None:
    labels = sample_events(state, 21).labels()
    probability = oracle.diseases(state)
    assert probability.shape == (1500, 3)
    for column, (name, least) in enumerate((("cad", 0.72), ("af", 0.70), ("dm", 0.57))):
        ever = labels[f"{name}_ever"]
        assert roc_auc_score(ever, probability[:, column]) > least
        assert probability[:, column].mean() == pytest.approx(ever.mean(), rel=0.25)


def test_nothing_but_the_ecg_is_used(state: CardiacState, oracle: Oracle) -> None:
    order = np.random.default_rng(0).permutation(len(state))
    chambers = dataclasses.replace(
        state.chambers,
        **{
            field.name: getattr(state.chambers, field.name)[order]
            for field in dataclasses.fields(state.chambers)
            if "scending" in field.name or field.name in ("la_min", "ra_min")
        },
    )
    anatomy = dataclasses.replace(
        state.anatomy,
        circumferential_strain=state.anatomy.circumferential_strain[order],
        radial_strain=state.anatomy.radial_strain[order],
        longitudinal_strain=state.anatomy.longitudinal_strain[order],
    )
    disease = dataclasses.replace(state.disease, athletic=state.disease.athletic[order])
    shuffled = dataclasses.replace(
        state,
        chambers=chambers,
        anatomy=anatomy,
        disease=disease,
        phenotypes=state.phenotypes[order],
        observed_phenotypes=state.observed_phenotypes[order],
    )
    np.testing.assert_array_equal(oracle.phenotypes(shuffled), oracle.phenotypes(state))
    np.testing.assert_array_equal(oracle.diseases(shuffled), oracle.diseases(state))
    rows, stream = np.arange(3), np.random.default_rng(1)
    np.testing.assert_array_equal(render_ecgs(shuffled, rows, stream), render_ecgs(state, rows, stream))
    # The converse: what the ECG does show moves the oracle.
    louder = dataclasses.replace(
        state, chambers=dataclasses.replace(state.chambers, lv_mass=1.3 * state.chambers.lv_mass)
    )
    mass = [p.name for p in phenotypes()].index("lv_mass")
    assert (oracle.phenotypes(louder) - oracle.phenotypes(state))[:, mass].mean() > 5


def test_features_do_not_depend_on_the_overall_gain(state: CardiacState) -> None:
    quiet = dataclasses.replace(
        state, recording=dataclasses.replace(state.recording, habitus_gain=0.5 * state.recording.habitus_gain)
    )
    difference = expressed_features(quiet) - expressed_features(state)
    changed = np.abs(difference).max(0) > 1e-9
    assert changed.sum() == 1  # the log size itself, which a z-scored ECG has lost
    np.testing.assert_allclose(difference[:, changed], np.log(0.5))


@pytest.mark.slow
@pytest.mark.long
def test_a_regression_on_waveforms_stays_below_the_oracle(state: CardiacState, oracle: Oracle) -> None:
    rows, stream = np.arange(700), np.random.default_rng(2)
    ecgs = render_ecgs(state, rows, stream) / 1000
    beats = np.stack(
        [_median_beat(ecg, peaks) for ecg, peaks in zip(ecgs, r_peak_times(state, rows, stream), strict=True)]
    )
    targets = state.phenotypes[rows, :10]
    train, test = slice(0, 500), slice(500, 700)
    scale = beats[train].std(0) + 0.02
    model = RidgeCV(np.logspace(2, 5, 7)).fit(beats[train] / scale, targets[train])
    reached = r2(targets[test], model.predict(beats[test] / scale)).mean()
    ceiling = r2(targets[test], oracle.phenotypes(state.take(rows))[test, :10]).mean()
    assert 0.2 < reached < ceiling


def _median_beat(ecg: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    window = np.arange(-130, 230)
    start = np.round(peaks * 500).astype(int)
    start = start[(start > 130) & (start < ecg.shape[1] - 230)]
    beat = np.median(ecg[:, start[:, None] + window], 1)
    beat = beat - beat[:, 60:80].mean(1, keepdims=True)
    beat = beat.reshape(12, 72, 5).mean(2)
    return (beat / beat.std()).ravel()


def test_tables_and_arrays_agree(state: CardiacState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecgcmr.synthesis.oracle.fit_oracle", lambda seed: fit_oracle(seed, 2000))
    part = state.take(slice(0, 20))
    table = oracle_table(part, 4)
    assert list(table) == [*(p.name for p in phenotypes()), "cad_ever", "af_ever", "dm_ever"]
    np.testing.assert_array_equal(fit_oracle(4, 2000).phenotypes(part), np.stack(list(table.values())[:82], 1))
    probability = np.stack(list(table.values())[82:])
    assert ((probability > 0) & (probability < 1)).all()
